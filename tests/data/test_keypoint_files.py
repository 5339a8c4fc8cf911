"""One reader for all verbs: what it takes, what it refuses, and that nothing else ever happens."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bottomup.cli import main
from bottomup.data.coco import read_annotations
from bottomup.data.image_ids import read_annotated
from bottomup.data.keypoint_files import read_images, read_keypoints, read_results
from bottomup.evaluation.keypoints import evaluate

POINTS = (10, 10, 2, 60, 10, 2, 10, 80, 1, 70, 70, 2)
RESULTS = [
    {"image_id": number, "category_id": 1, "keypoints": [*POINTS], "score": 0.9}
    for number in (1, 2)
]


def annotations() -> dict:
    person = {
        "category_id": 1, "iscrowd": 0, "num_keypoints": 4,
        "bbox": [5, 5, 70, 80], "area": 3000.0, "segmentation": [[5, 5, 75, 5, 75, 85]],
    }  # fmt: skip
    crowd = {"keypoints": [0] * 12, "num_keypoints": 0, "iscrowd": 1}
    return {
        "images": [
            {"id": number, "file_name": f"{number}.jpg", "width": 100, "height": 90}
            for number in (1, 2)
        ],
        "annotations": [
            person | {"id": 1, "image_id": 1, "keypoints": [*POINTS]},
            person | {"id": 2, "image_id": 2, "keypoints": [*POINTS]},
            person | crowd | {"id": 3, "image_id": 2,
                              "segmentation": {"size": [90, 100], "counts": [9000]}},
        ],
        "categories": [
            {"id": 1, "name": "fish", "keypoints": ["tip", "tail", "left_fin", "right_fin"],
             "skeleton": [[1, 2]], "sigmas": [0.1] * 4},
            {"id": 2, "name": "boat"},
        ],
    }  # fmt: skip


def verdict(read) -> str | None:
    try:
        read()
    except ValueError as error:
        return str(error)
    return None


def verdicts(content, folder) -> list[str | None]:
    """What data check, evaluate, fit and predict say of a file; None if they take it."""
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return [
        verdict(lambda: read_keypoints(path)),
        verdict(lambda: evaluate([], path)),
        verdict(lambda: read_annotations(path, folder, missing="skip")),
        verdict(lambda: read_images(path)),
    ]


STRANGE = st.sampled_from(
    [
        None, True, False, 0, -1, 1, 2, 1.0, 2.5, -0.0, 1e30, 1e308, 10**30, 10**400, float("nan"),
        float("inf"), float("-inf"), "", "1", "x" * 500, "\ud800", [], [[]], [None], [1],
        {}, {"a": 1}, [0] * 4, [None] * 4, [0, 0, -1, 5], [0] * 12, [1e6] * 12,
        {"size": [90, 100], "counts": "o" * 99},
    ]
)  # fmt: skip
DELETE = object()


@st.composite
def mutations(draw, content):
    """A good file in which some values, at any depth, are strange, missing or doubled."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        here = content
        while True:
            places = list(here) if isinstance(here, dict) else range(len(here))
            if not places:
                break
            place = draw(st.sampled_from(list(places)))
            deeper = isinstance(here[place], (dict, list)) and here[place]
            if deeper and draw(st.integers(0, 4)):
                here = here[place]
                continue
            value = draw(STRANGE | st.just(DELETE))
            if value is DELETE:
                del here[place]
            else:
                here[place] = copy.deepcopy(value)
            break
    return content


@settings(max_examples=300)
@given(mutations(annotations()))
def test_all_verbs_say_the_same_of_any_file(tmp_path_factory, content):
    check, evaluated, fit, predicted = verdicts(content, tmp_path_factory.getbasetemp())
    assert check == evaluated == fit
    assert check is None or len(check.splitlines()) == 1
    names_joints = isinstance(content.get("categories"), list) and any(
        isinstance(category, dict) and category.get("keypoints")
        for category in content["categories"]
    )
    assert predicted == check or not names_joints  # predict also takes lists of images alone


@settings(max_examples=300)
@given(mutations(RESULTS))
def test_results_are_evaluated_or_refused_in_one_line(tmp_path_factory, results):
    path = tmp_path_factory.getbasetemp() / "results.json"
    path.write_text(json.dumps(results))
    error = verdict(lambda: evaluate(path, annotations()))
    assert error is None or len(error.splitlines()) == 1
    if error is None:
        assert 0 <= evaluate(path, annotations())["AP"] <= 1


@settings(max_examples=100)
@given(mutations(annotations()))
def test_a_file_that_was_taken_is_whole(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    if verdicts(content, folder)[0] is not None:
        return
    file = read_keypoints(folder / "annotations.json")
    assert read_keypoints(file.raw).raw == file.raw
    json.dumps(file.raw["annotations"])
    for person in file.people:
        assert len(person["keypoints"]) == 3 * file.skeleton.num_keypoints
        assert person["area"] >= 0


def _change(path, value):
    def change(content):
        *before, last = path
        for key in before:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change(["annotations"], None), "has no list 'annotations'"),
        (_change(["images"], {}), "has no list 'images'"),
        (_change(["categories"], {"id": 1}), "has no list 'categories'"),
        (_change(["categories"], [{"id": 1, "name": "person"}]),
         "needs one category that names keypoints, and has 0 among ['person']"),
        (_change(["categories", 1, "keypoints"], ["bow"]), "and has 2 among ['fish', 'boat']"),
        (_change(["categories", 0, "sigmas"], ["a"] * 4), "categories[0] (id 1): 'sigmas' must be"),
        (_change(["categories", 1, "id"], 1),
         "categories[1] (id 1): categories[0] has the same id"),
        (_change(["images", 0, "id"], "1"), "images[0] (id '1'): 'id' is '1', not a whole number"),
        (_change(["annotations", 1, "image_id"], [2]),
         "annotations[1] (id 2): image_id [2] is not among the images"),
        (_change(["annotations", 0, "keypoints", 0], float("nan")),
         "annotations[0] (id 1): joint 1: [nan, 10] are not finite numbers"),
        (_change(["annotations", 0], "x" * 999), "annotations[0]: is 'xxx"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named_by_all_verbs_in_one_line(tmp_path, capsys, change, message):
    content = annotations()
    change(content)
    lines = set(verdicts(content, tmp_path))
    path = str(tmp_path / "annotations.json")
    (tmp_path / "results.json").write_text("[]")
    assert main(["data", "check", path]) == 2
    lines.add(capsys.readouterr().err.removeprefix("bottomup: ").rstrip("\n"))
    assert main(["evaluate", str(tmp_path / "results.json"), path]) == 2
    lines.add(capsys.readouterr().err.removeprefix("bottomup: ").rstrip("\n"))
    if "has 0 among" in message:
        lines.remove(None)  # predict takes it as a list of images
    (line,) = lines
    assert message in line
    assert len(line) < len(path) + 200


HOSTILE = {
    "nothing": b"",
    "binary": bytes(range(256)),
    "half": b'{"images": [',
    "latin-1": '{"images": "é"}'.encode("latin-1"),
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "huge integer": b'{"images": [{"id": ' + b"9" * 10_000 + b"}]}",
    "gigantic exponent": b'{"images": [{"id": 1e999999}], "annotations": [], "categories": []}',
    "number": b"5",
    "text": b'"images"',
    "null": b"null",
    "list": b"[]",
    "duplicate keys": b'{"images": [], "images": 5}',
    "nested id": b'{"images": [{"id": ' + b"[" * 300 + b"]" * 300 + b"}]}",
    "surrogate": b'{"images": [{"id": "\\ud800"}], "annotations": [], "categories": []}',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_one_line(tmp_path, capsys, content):
    (tmp_path / "bad.json").write_bytes(content)
    (tmp_path / "good.json").write_text(json.dumps(annotations()))
    bad, good = str(tmp_path / "bad.json"), str(tmp_path / "good.json")
    commands = [["data", "check", bad], ["evaluate", good, bad]]
    if content != b"[]":  # no results are results
        commands.append(["evaluate", bad, good])
    commands.append(["predict", str(tmp_path), "--out", str(tmp_path / "o"), "--annotations", bad])
    for words in commands:
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith("bottomup: ")
        assert len(error.splitlines()) == 1
    with pytest.raises(ValueError):  # noqa: PT011  any line will do
        read_annotations(bad, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_of_json_is_read(tmp_path, encoding):
    content = annotations()
    content["images"][0]["file_name"] = "ünï.jpg"
    path = tmp_path / "annotations.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_keypoints(path).images[1]["file_name"] == "ünï.jpg"


def test_content_is_left_as_it_was():
    content = annotations()
    before = copy.deepcopy(content)
    read_keypoints(content)
    assert content == before


def test_lists_of_images_give_ids_too():
    images = [{"id": 5, "file_name": "a.jpg"}, {"id": 6.0, "file_name": "b.jpg"}]
    for content in ({"images": images}, {"images": images, "categories": [{"id": 3}]}):
        assert read_images(content) == ({5: "a.jpg", 6: "b.jpg"}, 1)
    assert read_images(annotations()) == ({1: "1.jpg", 2: "2.jpg"}, 1)


@pytest.mark.parametrize("number", [0, 2, 7.0])
def test_the_category_of_results_is_that_of_the_file(tmp_path, number):
    content = annotations()
    content["categories"][0]["id"], content["categories"][1]["id"] = number, 99
    for person in content["annotations"]:
        person["category_id"] = number
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    assert read_annotated(path).category_id == number
    assert type(read_annotated(path).category_id) is int
    results = [result | {"category_id": int(number)} for result in RESULTS]
    assert evaluate(results, path)["AP"] == pytest.approx(1)


def test_files_and_their_content_are_read_alike(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(annotations()))
    assert read_keypoints(tmp_path / "a.json").raw == read_keypoints(annotations()).raw
    assert read_keypoints(annotations()).raw == annotations()
    (tmp_path / "r.json").write_text(json.dumps(RESULTS))
    assert read_results(tmp_path / "r.json") == read_results(RESULTS) == RESULTS
    with pytest.raises(ValueError, match=r"boxes '.*\.json' holds a dict, not a list of results"):
        read_results(tmp_path / "a.json", "boxes")
