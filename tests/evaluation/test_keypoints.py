import copy
import json
from pathlib import Path

import numpy as np
import pytest

from bottomup import COCO, Skeleton
from bottomup.evaluation.keypoints import (
    evaluate,
    match_results,
    only_visible,
    precision_recall,
    summarise,
)
from tests.support.golden_files import assert_equal

DATA = Path(__file__).parents[1] / "golden" / "evaluation"
COCO_FIGURES = ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]
CROWDPOSE_FIGURES = [
    "AP", "AP50", "AP75", "AR", "AR50", "AR75", "AP_easy", "AP_medium", "AP_hard",
]  # fmt: skip


def load(name):
    return json.loads((DATA / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def coco():
    return load("coco_results"), load("coco_gt")


@pytest.fixture(scope="module")
def crowdpose():
    return load("crowdpose_results"), load("crowdpose_gt")


def square_file(points, *, names=("a", "b", "c"), **person):
    """Annotations of two images: a person of three joints in the first, nobody in the second."""
    keypoints = [value for x, y in points for value in (x, y, 2)]
    person = {"id": 0, "image_id": 1, "category_id": 1, "keypoints": keypoints} | person
    category = {"id": 1, "name": "person", "keypoints": list(names)}
    images = [
        {"id": number, "file_name": f"{number}.jpg", "width": 640, "height": 480}
        for number in (1, 2)
    ]
    return {"images": images, "categories": [category], "annotations": [person]}


def result(points, *, image_id=1, score=1.0):
    keypoints = [value for x, y in points for value in (x, y, 0.5)]
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "score": score}


POINTS = [(0, 0), (100, 0), (0, 100)]


def test_figures_are_those_of_the_reference_evaluations(golden):
    assert_equal(golden, "evaluation")


def test_figures_have_names(coco, crowdpose):
    assert list(evaluate(*coco)) == COCO_FIGURES
    assert list(evaluate(*crowdpose)) == CROWDPOSE_FIGURES


def test_inputs_are_left_as_they_were(coco):
    before = copy.deepcopy(coco)
    evaluate(*coco)
    assert coco == before


def test_a_perfect_result_has_precision_one():
    figures = evaluate([result(POINTS)], square_file(POINTS))
    assert figures["AP"] == pytest.approx(1)
    assert figures["AR"] == pytest.approx(1)


def test_an_absent_range_of_areas_is_nan():
    figures = evaluate(
        [result(POINTS)], square_file(POINTS)
    )  # 0.53 * 100 * 100 square pixels: medium
    assert figures["APM"] == pytest.approx(1)
    assert np.isnan(figures["APL"])
    assert np.isnan(figures["ARL"])


def test_no_results_at_all_is_precision_zero(coco):
    figures = evaluate([], coco[1])
    assert set(figures) == set(COCO_FIGURES)
    assert set(figures.values()) == {0.0}


def test_images_without_people_only_add_false_alarms():
    truth = square_file(POINTS)
    right, alarm = result(POINTS, score=0.5), result(POINTS, image_id=2, score=0.9)
    assert evaluate([right, alarm], truth)["AP"] == pytest.approx(0.5)


def test_nobody_to_find_is_nan():
    truth = square_file(POINTS) | {"annotations": []}
    assert np.isnan(evaluate([result(POINTS)], truth)["AP"])
    assert np.isnan(evaluate([], truth)["AP"])


def test_a_missing_area_and_box_follow_from_the_joints():
    moved = [(x + 5, y) for x, y in POINTS]
    whole = square_file(POINTS, bbox=[0, 0, 100, 100], area=5300.0, num_keypoints=3, iscrowd=0)
    assert evaluate([result(moved)], square_file(POINTS)) == pytest.approx(
        evaluate([result(moved)], whole), nan_ok=True
    )


def test_an_annotation_without_joints_does_not_count():
    truth = square_file(POINTS)
    truth["annotations"].append(
        {"id": 5, "image_id": 2, "category_id": 1, "bbox": [0, 0, 100, 100], "area": 5300}
    )
    assert evaluate([result(POINTS), result(POINTS, image_id=2, score=2.0)], truth)[
        "AP"
    ] == pytest.approx(1)


def test_sigmas_of_own_joints():
    moved = [(x + 5, y) for x, y in POINTS]
    strict = square_file(POINTS)
    strict["categories"][0]["sigmas"] = [0.01] * 3
    assert evaluate([result(moved)], square_file(POINTS))["AP50"] == pytest.approx(1)
    assert evaluate([result(moved)], strict)["AP50"] == 0
    with pytest.raises(ValueError, match="annotations have 3 joints, the skeleton has 17"):
        evaluate([], square_file(POINTS), skeleton=COCO)
    tight = Skeleton(("a", "b", "c"), (), (0.01,) * 3, (0, 1, 2))
    assert evaluate([result(moved)], square_file(POINTS), skeleton=tight)["AP50"] == 0


def test_weights_leave_images_out_and_count_them_twice(coco):
    results, truth = coco
    matches = match_results(results, truth)
    kept = np.arange(len(matches.image_ids)) % 2 == 0
    ids = set(matches.image_ids[kept].tolist())
    half = {
        "images": [image for image in truth["images"] if image["id"] in ids],
        "annotations": [person for person in truth["annotations"] if person["image_id"] in ids],
        "categories": truth["categories"],
    }
    expected = evaluate([entry for entry in results if entry["image_id"] in ids], half)
    assert summarise(matches, kept.astype(float)) == pytest.approx(expected)
    assert summarise(matches, np.full(len(kept), 2.0)) == pytest.approx(summarise(matches))


def test_pycocotools_own_sums_agree(coco, capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results, truth = copy.deepcopy(coco)
    reference = COCO()
    reference.dataset = truth
    reference.createIndex()
    evaluation = COCOeval(reference, reference.loadRes(results), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    assert list(evaluate(*coco).values()) == pytest.approx(evaluation.stats.tolist(), abs=1e-12)


def change(entry, **values):
    return [entry | values]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"annotations": []}, "holds a dict, not a list of results: is it an annotation file"),
        ([7], r"results\.json: result 0: is 7, not an object"),
        ([{"image_id": 1, "category_id": 1}], "result 0: lacks keypoints, score: pass a COCO"),
        (
            change(result(POINTS), image_id=77),
            r"result 0: image_id 77 is not an image of the annotations: let `bottomup predict",
        ),
        (
            [result(POINTS), result(POINTS, image_id=[1])],
            r"result 1: image_id \[1\] is not an image",
        ),
        (change(result(POINTS), image_id=True), "image_id True is not an image"),
        (change(result(POINTS), image_id="1"), "image_id '1' is not an image"),
        (change(result(POINTS), category_id=3), "category_id 3 is not the keypoint category"),
        (change(result(POINTS), category_id=None), "category_id None is not the"),
        (
            change(result(POINTS), keypoints=[1, 2, 3]),
            "keypoints has 3 numbers, and the annotations' 3 joints need 9",
        ),
        (change(result(POINTS), keypoints={"x": 1}), r"keypoints has \{'x': 1\} numbers"),
        (change(result(POINTS), keypoints=[None] * 9), "not finite numbers"),
        (change(result(POINTS), keypoints=[True] * 9), "not finite numbers"),
        (change(result(POINTS), keypoints=["1"] * 9), "not finite numbers"),
        (change(result(POINTS), keypoints=[float("nan")] * 9), "not finite numbers"),
        (change(result(POINTS), keypoints=[1e300] * 9), "of a sensible size"),
        (change(result(POINTS), score=float("nan")), "score is nan, not a finite number"),
        (change(result(POINTS), score=None), "score is None, not a finite number"),
        (change(result(POINTS), score=True), "score is True, not a finite number"),
        (change(result(POINTS), score="0.9"), "score is '0.9', not a finite number"),
        (change(result(POINTS), score=10**400), "not a finite number"),
    ],
)
def test_results_that_do_not_fit(tmp_path, results, message):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    with pytest.raises(ValueError, match=message):
        evaluate(path, square_file(POINTS))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ([], "holds a list, not annotations: is it a results file"),
        (
            square_file(POINTS, id=4, keypoints=[1, 2, 2]),
            r"\(id 4\): keypoints has 3 numbers, not 9",
        ),
        (square_file(POINTS, id=4, bbox={"a": 1}), r"annotations\[0\] \(id 4\): bbox must be four"),
    ],
)
def test_annotations_that_do_not_fit(tmp_path, truth, message):
    """The rest is in tests/data/test_keypoint_files.py: there is one reader."""
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    with pytest.raises(ValueError, match=message):
        evaluate([], path)


def test_a_file_is_crowdpose_if_every_image_has_a_crowd_index():
    truth = square_file(POINTS)
    truth["images"][0]["crowdIndex"] = 0.5
    assert list(evaluate([result(POINTS)], truth)) == COCO_FIGURES
    truth["images"][1]["crowdIndex"] = None
    assert list(evaluate([result(POINTS)], truth)) == COCO_FIGURES
    truth["images"][1]["crowdIndex"] = 0
    assert list(evaluate([result(POINTS)], truth)) == CROWDPOSE_FIGURES


@pytest.mark.parametrize("area", [None, 0, -5, float("nan"), [], ""])
@pytest.mark.parametrize(
    "box", [None, [], [0, 0, 0, 0], [0, 0, -1, 100], [0, 0, float("nan"), 100], [None] * 4]
)
def test_an_unknown_area_or_box_does_not_cost_precision(area, box):
    moved = [result([(x + 5, y) for x, y in POINTS])]
    expected = evaluate(moved, square_file(POINTS, bbox=[0, 0, 100, 100], area=5300.0))
    assert expected["AP"] > 0.5
    for unknown in (
        {"area": area, "bbox": [0, 0, 100, 100]},  # the box serves
        {"area": 5300.0, "bbox": box},
        {"area": area, "bbox": box},  # the joints serve
    ):
        figures = evaluate(moved, square_file(POINTS, **unknown))
        assert figures == pytest.approx(expected, nan_ok=True)


def test_people_of_unknown_size_do_not_count_and_are_warned_of(tmp_path, caplog):
    truth = square_file([(5, 5)], names=("a",))
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert np.isnan(evaluate([result([(5, 6)])], tmp_path / "truth.json")["AP"])
    assert "do not tell how large 1 annotated people are" in caplog.text
    sized = square_file([(5, 5)], names=("a",), bbox=[0, 0, 100, 100])
    assert evaluate([result([(5, 6)])], sized)["AP"] == pytest.approx(1)


def test_what_is_harmless_changes_no_figure():
    results, truth = [result([(x + 5, y) for x, y in POINTS])], square_file(POINTS)
    expected = evaluate(results, truth)
    harmless = square_file(
        POINTS, id=0.0, image_id=1.0, category_id=1.0, iscrowd=None, num_keypoints=3.0,
        keypoints=[value for x, y in POINTS for value in (float(x), y, 2.0)], segmentation=[],
    )  # fmt: skip
    harmless["images"][0] |= {"id": 1.0, "width": 640.0}
    harmless["categories"][0] |= {"id": 1.0, "skeleton": [], "sigmas": None}
    harmless["annotations"].append({"id": 1, "image_id": 2, "category_id": 1, "keypoints": []})
    results[0] |= {"image_id": 1.0, "category_id": 1.0}
    assert evaluate(results, harmless) == pytest.approx(expected, nan_ok=True, abs=0)


def test_where_an_unlabelled_joint_is_does_not_matter():
    points = [*POINTS, (3, 3)]
    truth = square_file(points, names="abcd")
    results = [result([(x + 5, y) for x, y in points])]
    truth["annotations"][0]["keypoints"][-1] = 0
    expected = evaluate(results, truth)
    for joint in ([None, None, 0], [float("nan"), 1, 0], [1e30, -1, 0.0], [None] * 3):
        truth["annotations"][0]["keypoints"][-3:] = joint
        assert evaluate(results, truth) == pytest.approx(expected, nan_ok=True, abs=0)


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"\xff\xd8\xff"])
def test_a_file_that_is_not_json(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"results '.*results\.json' is not JSON"):
        evaluate(path, square_file(POINTS))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        evaluate(tmp_path / "missing.json", square_file(POINTS))


def test_other_ranges_of_areas_and_more_people_than_the_standard_counts():
    truth = square_file(POINTS)
    truth["annotations"] = [
        truth["annotations"][0]
        | {"id": i, "keypoints": [v for x, y in POINTS for v in (x + 200 * i, y, 2)]}
        for i in range(25)
    ]
    results = [result([(x + 200 * i, y) for x, y in POINTS], score=1 - i / 100) for i in range(25)]
    assert summarise(match_results(results, truth))["AR"] == pytest.approx(20 / 25)
    matches = match_results(
        results, truth, areas={"tiny": (0, 5299), "fit": (5300, 1e10)}, max_people=25
    )
    ones = np.ones(2)
    assert precision_recall(matches.ranges["fit"], ones)[1].mean() == pytest.approx(1)
    assert matches.ranges["tiny"].num_people.sum() == 0


def test_hidden_joints_can_be_left_out():
    """A hidden joint that is off costs nothing; a person of hidden joints alone does not count."""
    entry = {"image_id": 1, "category_id": 1, "iscrowd": 0, "area": 900, "bbox": [0, 0, 30, 30]}
    seen = entry | {"id": 1, "num_keypoints": 2, "keypoints": [5, 5, 2, 20, 20, 1]}
    hidden = entry | {"id": 2, "num_keypoints": 1, "keypoints": [90, 90, 1, 0, 0, 0]}
    truth = {
        "images": [{"id": 1, "file_name": "1.png", "width": 99, "height": 99}],
        "annotations": [seen, hidden],
        "categories": [{"id": 1, "name": "person", "keypoints": ["a", "b"], "skeleton": []}],
    }
    found = [{"image_id": 1, "category_id": 1, "score": 1.0, "keypoints": [5, 5, 2, 60, 60, 2]}]
    assert evaluate(found, truth)["AP"] < 0.5
    assert evaluate(found, only_visible(truth))["AP"] == pytest.approx(1)
    assert truth["annotations"][0] is seen
    assert seen["keypoints"][5] == 1
