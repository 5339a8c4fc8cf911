import json
import sys
import threading
import time

import pytest
from comparison.datasets import choose
from comparison.methods import Method
from comparison.runs import Limits, Runner, run

from tests.scripts.comparison.people import result, standing, truth, write

WRITES = """
import json, sys
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
images = json.load(open(arguments["--annotations"]))["images"]
with open(COUNT, "a") as file:
    file.write("run ")
about = {"people": 0, "ms": {"pose": 1.5}}
rows = [{"image_id": i["id"], "file_name": i["file_name"]} | about for i in images]
json.dump(RESULTS, open(arguments["--results"], "w"))
json.dump({"format": 1, "method": "m", "images": rows}, open(arguments["--timing"], "w"))
"""


@pytest.fixture
def dataset(tmp_path):
    images, annotations = write(tmp_path, truth([standing(60, 80)]))
    return choose("images", images, annotations, tmp_path / "images.json")


@pytest.fixture
def script(tmp_path):
    """Writes the script of a method, and returns the method."""

    def write_script(text=WRITES, results=()):
        path = tmp_path / "method.py"
        count = str(tmp_path / "count")
        path.write_text(text.replace("COUNT", repr(count)).replace("RESULTS", repr(list(results))))
        return Method("m", (sys.executable, str(path)))

    return write_script


def runs(tmp_path):
    return (tmp_path / "count").read_text().count("run")


def test_a_method_runs_once_until_something_changes(dataset, script, tmp_path):
    entry = result(standing(60, 80))
    outcomes = [run(script(results=[entry]), dataset, tmp_path / "m") for _ in range(2)]
    assert [outcome.status for outcome in outcomes] == ["done", "done"]
    assert runs(tmp_path) == 1
    assert outcomes[1].entries == (entry,)
    assert outcomes[1].matches.ranges["all"].right.all()
    assert outcomes[1].timing.images[0].ms == {"pose": 1.5}
    assert outcomes[0].seconds > 0 == outcomes[1].seconds
    run(script(results=[]), dataset, tmp_path / "m")  # the script is another
    assert runs(tmp_path) == 2
    run(script(results=[]), dataset, tmp_path / "m", Limits(threads=2))
    assert runs(tmp_path) == 3
    run(script(results=[]), dataset, tmp_path / "m", Limits(threads=2), again=True)
    assert runs(tmp_path) == 4
    dataset.annotations.write_text(json.dumps(dataset.load(), indent=3))
    run(script(results=[]), dataset, tmp_path / "m", Limits(threads=2))
    assert runs(tmp_path) == 5


def test_a_file_among_the_words_is_an_input(dataset, script, tmp_path):
    boxes = tmp_path / "boxes.json"
    for content, expected in (("[]", 1), ("[]", 1), ("[ ]", 2)):
        boxes.write_text(content)
        run(script(), dataset, tmp_path / "m", extra=("--boxes", str(boxes)))
        assert runs(tmp_path) == expected


def test_an_unavailable_method_says_why(dataset, script, tmp_path):
    text = "import sys; print('noise'); print('put the file there', file=sys.stderr); sys.exit(4)"
    outcome = run(script(text), dataset, tmp_path / "m")
    assert (outcome.status, outcome.reason) == ("unavailable", "put the file there")


def test_a_command_that_is_not_there(dataset, tmp_path, monkeypatch):
    outcome = run(Method("m", ("/no/such/command",)), dataset, tmp_path / "m")
    assert outcome.status == "unavailable"
    assert "'/no/such/command' cannot be started" in outcome.reason
    monkeypatch.delenv("NOBODY_SETS_THIS", raising=False)
    outcome = run(Method("m", ("$NOBODY_SETS_THIS", "x")), dataset, tmp_path / "m")
    assert "variable NOBODY_SETS_THIS is not set" in outcome.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('it broke')", "exit code 1: RuntimeError: it broke"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("pass", "timing.json' cannot be read"),
        (
            WRITES.replace("RESULTS", "[{'image_id': 1}]"),
            "results.json: result 0: lacks category_id, keypoints, score",
        ),
        (WRITES.replace("RESULTS", "[1]"), "results.json: result 0: is 1, not an object"),
        (WRITES.replace("RESULTS", "{}"), "holds a dict, not a list"),
        (WRITES + "open(arguments['--results'], 'w').write('[{')", "is not JSON"),
    ],
)
def test_a_method_that_fails_is_reported_and_runs_again(dataset, script, tmp_path, text, reason):
    outcome = run(script(text), dataset, tmp_path / "m")
    assert outcome.status == "failed"
    assert reason in outcome.reason
    assert run(script(), dataset, tmp_path / "m").status == "done"


def test_a_method_that_hangs_is_stopped(dataset, script, tmp_path):
    sleep = "import time; time.sleep(600)"
    text = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{sleep}']); {sleep}"
    start = time.monotonic()
    outcome = run(script(text), dataset, tmp_path / "m", Limits(timeout=0.3))
    assert outcome.status == "failed"
    assert "--timeout" in outcome.reason
    assert time.monotonic() - start < 60


def test_a_method_can_be_stopped(dataset, script, tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        run(script("import time; time.sleep(600)"), dataset, tmp_path / "m", Limits(stop=stop))
    assert run(script(), dataset, tmp_path / "m").status == "done"


def test_an_interruption_before_the_last_method_is_submitted_stops_the_first(
    dataset, script, tmp_path
):
    class Methods(list):
        def __iter__(self):
            yield from super().__iter__()
            while not (tmp_path / "part" / "m" / "log.txt").exists():
                time.sleep(0.01)
            raise KeyboardInterrupt

    methods = Methods([script("import time; time.sleep(600)")])
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        Runner(tmp_path, Limits()).run_all(dataset, methods, "part")
    assert time.monotonic() - start < 60
