"""Run the cases of a folder through the command line: scripts/check_cases.py CASES.

To add cases, write a generator of `Case` and add it to `GROUPS`. It gets the folder of the cases
and an empty folder to work in. `scripts/benchmark.py threads` is the case of a busy machine.
"""

import argparse
import json
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import check_habits
import cv2
import numpy as np
from check_habits import SAMPLE, Case, bottomup, recipe_of

from bottomup.data.coco import read_annotations

THROUGH_FIT = ("good", "area_and_box_zero", "categories_object", "image_id_missing")
PREDICTED = ("category_0", "category_2_of_two")


def annotation_cases(cases: Path, work: Path) -> Iterator[Case]:
    """The files of CASES/annotations, by data check, evaluate, fit and predict."""
    folder = cases / "annotations"
    photos = work / "photos"
    photos.mkdir()
    picture = cv2.imread(str(SAMPLE))
    assert picture is not None
    picture = cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA)
    for info in json.loads((folder / "good.json").read_text())["images"]:
        cv2.imwrite(str(photos / info["file_name"]), picture)
    for entry in json.loads((folder / "index.json").read_text()):
        name, wanted = entry["case"], entry["expected"]
        path, results = folder / f"{name}.json", folder / f"{name}.results.json"
        if name in PREDICTED:
            results = results_as_predicted(path, results, photos, work / name)
        problem, got = one_verdict(path, results, photos)
        if not problem and name in THROUGH_FIT:
            problem = fit_problem(path, photos, work)
        is_right = not problem and is_as_wanted(wanted, got)
        yield Case(f"annotations/{name}", wanted, problem or got, is_right)


def is_as_wanted(wanted: str, got: str) -> bool:
    """Whether a verdict is what the index asks for."""
    if "evaluated, or one clear line" in wanted:
        return True
    if "one clear line" in wanted:
        return got.startswith("one line")
    return got.startswith("AP 1.0000" if wanted.startswith("AP 1") else "AP ")


def one_verdict(path: Path, results: Path, photos: Path) -> tuple[str, str]:
    """What is wrong with how the verbs judge a file, "" if nothing; and their verdict."""
    check_code, _, check = bottomup("data", "check", path)
    code, output, error = bottomup("evaluate", results, path, "--json")
    try:
        read_annotations(path, photos)
        fit = ""
    except ValueError as fault:
        fit = str(fault)
    if "Traceback" in check + error or not {check_code, code} <= {0, 2}:
        return f"exit codes {check_code} and {code}: {check} {error}", ""
    if fit != check or bool(check) != (check_code == 2):
        return f"data check says {check!r}, fit {fit!r}", ""
    if check and error != check:
        return f"data check says {check!r}, evaluate {error!r}", ""
    if code:
        count = len(error.splitlines())
        return ("", f"one line: {error}") if count == 1 else (f"{count} lines: {error}", "")
    return "", f"AP {json.loads(output)['AP']:.4f}"


def fit_problem(path: Path, photos: Path, work: Path) -> str:
    """What is wrong with `bottomup fit` on a file, against `bottomup data check`."""
    recipe = recipe_of(work, path)
    images = [f"--data.{kind}_images={photos}" for kind in ("train", "val")]
    code, _, error = bottomup("fit", "--config", recipe, *images)
    check_code, _, check = bottomup("data", "check", path)
    if code != check_code or check not in error or "Traceback" in error:
        return f"fit ends with {code}: {error[-300:]!r}, data check with {check_code}: {check!r}"
    return ""


def results_as_predicted(path: Path, results: Path, photos: Path, out: Path) -> Path:
    """The results with the category that `predict --annotations` writes in place of their own."""
    bottomup("predict", photos, "--out", out, "--annotations", path)
    (category_id,) = {
        entry["category_id"] for entry in json.loads((out / "results.json").read_text())
    }
    entries = [entry | {"category_id": category_id} for entry in json.loads(results.read_text())]
    (out / "results.json").write_text(json.dumps(entries))
    return out / "results.json"


NAMES = {  # of the annotated image: of the file
    "images/a.jpg": "a.jpg",
    "..\\..\\media\\a.jpg": "a.jpg",
    "D:\\media\\a.jpg": "a.jpg",
    "/home/somebody/a.jpg": "a.jpg",
    "a%20b.jpg": "a b.jpg",
    unicodedata.normalize("NFD", "é.jpg"): unicodedata.normalize("NFC", "é.jpg"),
    "D.JPG": "d.jpg",
}


def name_cases(cases: Path, work: Path) -> Iterator[Case]:
    """Annotations whose file names are not spelled like the files."""
    for number, (annotated, name) in enumerate(NAMES.items()):
        code, error, ids = predict_names(work / f"{number}", [annotated], [name])
        got = f"id {ids.get(name)}" if code == 0 else f"exit code {code}: {error}"
        yield Case(f"names/{annotated!r} for {name!r}", "id 70", got, got == "id 70" and not error)
    code, error, ids = predict_names(work / "few", ["a.jpg", "c.jpg"], ["a.jpg", "b.jpg"])
    is_right = code == 0 and "names 1 of 2 images" in error and "'b.jpg'" in error
    yield Case("names/one of two", "a warning with a count and a name", error, is_right)
    for title, annotated, names in (
        ("none", ["b.jpg"], ["a.jpg"]),
        ("ambiguous", ["x/a.jpg", "y/a.jpg"], ["a.jpg"]),
        ("ambiguous files", ["a.jpg"], ["x/a.jpg", "y/a.jpg"]),
    ):
        code, error, _ = predict_names(work / title, annotated, names)
        is_right = code == 2 and repr(annotated[0]) in error and repr(names[0]) in error
        yield Case(f"names/{title}", "exit code 2, two spellings", f"{code}: {error}", is_right)


def predict_names(
    work: Path, annotated: list[str], names: list[str]
) -> tuple[int, str, dict[str, int]]:
    """Predict small images; returns exit code, errors, and ids by file name."""
    for name in names:
        (work / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tofile(work / "photos" / name)
    images = [{"id": 70 + k, "file_name": name} for k, name in enumerate(annotated)]
    (work / "a.json").write_text(json.dumps({"images": images}))
    words = ["predict", work / "photos", "--out", work / "out", "--annotations", work / "a.json"]
    code, _, error = bottomup(*words, "--size", 64)
    content: dict[str, Any] = {"images": []}
    if code == 0:
        content = json.loads((work / "out" / "images.json").read_text())
    return code, error, {image["file_name"]: image["id"] for image in content["images"]}


GROUPS: tuple[Callable[[Path, Path], Iterator[Case]], ...] = (
    annotation_cases,
    name_cases,
    *check_habits.GROUPS,
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path, metavar="CASES", help="the folder of the cases")
    cases = parser.parse_args().cases
    num_right = num_cases = 0
    for group in GROUPS:
        with tempfile.TemporaryDirectory() as work:
            for case in group(cases, Path(work)):
                num_cases, num_right = num_cases + 1, num_right + case.is_right
                mark = "ok   " if case.is_right else "WRONG"
                print(f"{mark} {case.name}\n      wanted {case.wanted}\n      got    {case.got}")
    print(f"{num_right} of {num_cases} as wanted")
    return 0 if num_right == num_cases else 1


if __name__ == "__main__":
    sys.exit(main())
