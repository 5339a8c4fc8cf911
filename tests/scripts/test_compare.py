"""scripts/compare.py from end to end, with methods of a few lines, and its report in a browser."""

import html
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scripts.comparison.pages import Tags
from tests.scripts.comparison.people import standing, truth, write

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"
METHOD = """
import json, pathlib, sys
name, keep, per_person = sys.argv[1:4]
arguments = dict(zip(sys.argv[4::2], sys.argv[5::2]))
with open(pathlib.Path(__file__).with_name("log"), "a") as log:
    log.write(name + " ")
truth = json.load(open(arguments["--annotations"]))
boxes = json.load(open(arguments["--boxes"])) if "--boxes" in arguments else None
results, rows = [], []
for info in truth["images"]:
    people = [e for e in truth["annotations"] if e["image_id"] == info["id"] and e["num_keypoints"]]
    there = len(people) if boxes is None else sum(box["image_id"] == info["id"] for box in boxes)
    people = people[: min(there, int(keep))]
    for entry in people:
        kept = {key: entry[key] for key in ("image_id", "category_id", "keypoints")}
        results.append(kept | {"score": 0.9})
    ms = {"read": 2.0, "detect": 20.0, "pose": float(per_person) * len(people)}
    if float(per_person) == 0:
        ms = {"read": 2.0, "pose": 60.0}
    about = {"image_id": info["id"], "file_name": info["file_name"]}
    rows.append(about | {"people": len(people), "ms": ms})
json.dump(results, open(arguments["--results"], "w"))
machine = {"python": "3", "processor": "</script><script>alert(1)</script>"}
run = {"format": 1, "method": name, "images": rows, "machine": machine}
json.dump(run, open(arguments["--timing"], "w"))
"""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Place:
    """A folder with images, methods and a report."""

    def __init__(self, folder):
        self.folder, self.out, self.log = folder, folder / "out", folder / "log"
        person, far = standing(60, 78), standing(140, 78, scale=0.9)
        self.images, self.annotations = write(folder, truth([person], [person, far], [far], []))
        (folder / "method.py").write_text(METHOD)
        (folder / "wait.py").write_text("import time; time.sleep(600)")
        run = f"{{python}} {folder / 'method.py'}"
        gone = "import sys; print('<b>get it</b> first', file=sys.stderr); sys.exit(4)"
        self.table = folder / "table.yaml"
        self.table.write_text(
            json.dumps({
                "flat": {"command": f"{run} flat 1 0", "kind": "bottom-up", "ours": True},
                "rising": {"command": f"{run} rising 99 15", "kind": "top-down", "boxes": True},
                "gone": {"command": f'{{python}} -c "{gone}"'},
                "broken": {"command": "{python} -c \"raise RuntimeError('it broke')\""},
                "slow": {"command": f"{{python}} {folder / 'wait.py'}"},
            })
        )  # fmt: skip

    def words(self, *more, methods=("flat", "rising", "gone", "broken")):
        words = ["--images", str(self.images), "--annotations", str(self.annotations)]
        words += ["--out", str(self.out), "--table", str(self.table)]
        words += ["--methods", *methods, "--quick"]
        return [*words, *more]

    def report(self):
        return json.loads((self.out / "report.json").read_text())

    def page(self):
        return (self.out / "report.html").read_text()

    def runs(self):
        return self.log.read_text().split() if self.log.exists() else []


SMALL = ["--sweep-images", "2", "--cost-people", "1", "3", "5"]
for level in ("resolution=80,40", "rotation=", "distance=", "truncation=", "blur="):
    SMALL += ["--photo-levels", level]
for level in ("occlusion=0", "poses=", "resolution=", "truncation=", "blur="):
    SMALL += ["--drawn-levels", level]


@pytest.fixture(scope="module")
def whole(script, tmp_path_factory):
    """All parts, small."""
    place = Place(tmp_path_factory.mktemp("compare"))
    assert script.main(place.words(*SMALL)) == 0
    return place


def test_methods_with_results_are_measured(whole):
    report = whole.report()
    figures = report["accuracy"]["figures"]
    assert figures["rising"]["AP"][0] == pytest.approx(1)
    assert 0.5 < figures["flat"]["AP"][0] < 0.9  # one person of each image
    difference = report["accuracy"]["differences"]["rising"]["AP"]
    assert difference[0] == pytest.approx(1 - figures["flat"]["AP"][0])
    assert report["reference"] == "flat"
    assert report["accuracy"]["errors"]["flat"]["missed"] == 1
    assert report["cost"]["flat"]["median"] == 62
    assert (report["dataset"]["images"], report["dataset"]["people"]) == (4, 4)


def test_others_are_skipped_with_the_reason(whole):
    status = {
        method["name"]: (method["status"], method["reason"]) for method in whole.report()["methods"]
    }
    assert status["gone"] == ("unavailable", "<b>get it</b> first")
    assert status["broken"][0] == "failed"
    assert "it broke" in status["broken"][1]
    assert html.escape("<b>get it</b> first") in whole.page()


def test_sweeps_cost_and_boxes(whole):
    report = whole.report()
    sweeps = {(sweep["family"], sweep["name"]): sweep for sweep in report["sweeps"]}
    assert set(sweeps) == {
        ("photos", "photos-resolution"),
        ("photos", "photos-occlusion"),
        ("drawn", "drawn-occlusion"),
    }
    assert set(sweeps["photos", "photos-resolution"]["ap"]) == {"flat", "rising"}
    assert set(sweeps["drawn", "drawn-occlusion"]["ap"]) == {"flat"}  # ours alone
    assert len(sweeps["photos", "photos-occlusion"]["ap"]["rising"]) == 2
    crossing = report["growth"]["crossings"]
    assert [(one["flat"], one["rising"]) for one in crossing] == [("flat", "rising")]
    # 62 ms against 22 ms and 15 ms for each person
    assert crossing[0]["fitted"] == pytest.approx(40 / 15)
    assert crossing[0]["measured"] == pytest.approx(40 / 15)
    dropped = next(kind for kind in report["boxes"]["kinds"] if kind["kind"] == "dropped")
    assert dropped["levels"] == [0, 0.5]
    assert dropped["ap"]["rising"][0][0] == pytest.approx(1)
    assert set(report["boxes"]["others"]) == {"flat"}


def test_the_page_is_well_formed_and_needs_nothing_else(whole):
    tags = Tags(whole.page())
    assert tags.seen.count("script") == 1  # none came with a file
    assert tags.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in tags.sources)
    assert "http" not in re.sub(r"data:image/jpeg;base64,[\w+/=]*", "", whole.page())
    assert "nan" not in re.sub(r"data:image/jpeg;base64,[\w+/=]*", "", whole.page()).lower()


def test_a_second_run_runs_nothing_again(whole, script):
    before, report = whole.runs(), whole.report()
    assert script.main(whole.words(*SMALL, "--parts", "--again", "flat")) == 0
    assert whole.runs() == [*before, "flat"]
    assert script.main(whole.words(*SMALL)) == 0
    assert whole.runs() == [*before, "flat"]
    again = whole.report()
    del report["seconds"], again["seconds"]
    assert again == report


def test_an_interrupted_comparison_goes_on(script, tmp_path):
    place = Place(tmp_path)
    words = [sys.executable, str(SCRIPT)]
    words += place.words("--parts", methods=("flat", "slow", "rising"))
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    slow = place.out / "runs" / "images" / "slow" / "log.txt"
    deadline = time.monotonic() + 300
    while not slow.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == script.INTERRUPTED, said
    assert "goes on where this one stopped" in said
    assert place.runs() == ["flat"]
    assert script.main(place.words("--parts", methods=("flat", "rising"))) == 0
    assert place.runs() == ["flat", "rising"]


def test_no_method_at_all(script, tmp_path, capsys):
    assert script.main(Place(tmp_path).words(methods=("gone",))) == 1
    assert "gone is unavailable: <b>get it</b> first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "nobody"], "no method ['nobody']"),
        (["--reference", "nobody"], "['nobody'] are not among the methods"),
        (["--method", "flat=x"], "every method needs a name of its own"),
        (["--method", "what"], "a method is NAME=COMMAND"),
        (["--photo-levels", "fog=1"], "levels are FACTOR=NUMBER"),
        (["--photo-levels", "blur=much"], "levels of 'blur' must be numbers"),
        (["--table", "/no/table.yaml"], "No such file"),
        (["--annotations", "/no/file.json"], "/no/file.json"),
    ],
)
def test_wrong_arguments(script, tmp_path, capsys, words, message):
    assert script.main([*Place(tmp_path).words("--parts"), *words]) == 2
    assert message in capsys.readouterr().err


def test_the_table_of_methods_is_in_order(script):
    methods = script.read_methods(script.TABLE)
    assert {"bottomup", "topdown_heatmap", "movenet_multipose"} <= methods.keys()
    for method in methods.values():
        assert Path(method.command[1]).is_file(), method.name


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), "")


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")
@pytest.mark.parametrize("scheme", [0, 1])
def test_the_page_in_a_browser(whole, tmp_path, scheme):
    """No error on the console, every plot drawn, every table sorts, methods can be hidden."""
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += ["--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path}"]
    words += [f"--blink-settings=preferredColorScheme={scheme}"]
    address = f"{(whole.out / 'report.html').as_uri()}#selftest"
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [*words, address], capture_output=True, text=True, timeout=300, env=environment
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    outcome = re.search(r'data-selftest="sorted (\d+) tables, (\d+) plots"', done.stdout)
    assert outcome, done.stdout[-2000:]
    assert int(outcome[1]) >= 8
    assert int(outcome[2]) == whole.page().count('<svg class="plot"') >= 10
