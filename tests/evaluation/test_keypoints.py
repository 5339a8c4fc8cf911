import copy
import json
from pathlib import Path

import numpy as np
import pytest

from bottomup import Skeleton
from bottomup.evaluation.keypoints import (
    evaluate,
    match_results,
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
    return {"images": [{"id": 1}, {"id": 2}], "categories": [category], "annotations": [person]}


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
        ([7], "result 0 lacks all, it is 7"),
        ([{"image_id": 1, "category_id": 1}], r"result 0 lacks \['keypoints', 'score'\]"),
        (
            change(result(POINTS), image_id=77),
            r"name 1 images that the annotations do not have \(77\)",
        ),
        (
            [result(POINTS, image_id=i) for i in range(10, 20)],
            r"name 10 images .* \(10, 11, 12, 13, 14, \.\.\.\)",
        ),
        (change(result(POINTS), category_id=3), r"name 1 categories .* \(3\)"),
        (
            change(result(POINTS), keypoints=[1, 2, 3]),
            "has 3 keypoint numbers, and the annotations' 3 joints need 9",
        ),
        (change(result(POINTS), score=float("nan")), "not finite"),
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
        ({"images": []}, "has no list 'categories'"),
        (
            {"images": [], "categories": [{"id": 1, "name": "person"}]},
            r"needs one category that names keypoints, and has 0 among \['person'\]",
        ),
        (
            {"images": [], "categories": square_file(POINTS)["categories"] * 2},
            r"needs one category that names keypoints, and has 2 among \['person', 'person'\]",
        ),
        (
            square_file(POINTS, id=4, keypoints=[1, 2, 2]),
            "annotation 4 has 3 keypoint numbers, not 9",
        ),
        (square_file(POINTS, id=4, keypoints=[1, 2, "x"] * 3), "annotation 4 needs numbers"),
        (
            square_file(POINTS, id=4, keypoints=["x", 2, 2] * 3, bbox=[1, 2, 3, 4], area=9),
            "annotation 4 needs numbers as keypoints",
        ),
        (square_file(POINTS, id=4, keypoints=[10**400] * 9), "annotation 4 needs numbers"),
        (square_file(POINTS, id=4, bbox=[1, 2, 3]), "bbox as x, y, width, height"),
        (square_file(POINTS, id=4, bbox={"a": 1}), "bbox as x, y, width, height"),
    ],
)
def test_annotations_that_do_not_fit(tmp_path, truth, message):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    with pytest.raises(ValueError, match=message):
        evaluate([], path)


def test_only_crowdpose_reads_crowd_indices():
    truth = square_file(POINTS)
    truth["images"][0]["crowdIndex"] = "hard"
    assert list(evaluate([result(POINTS)], truth)) == COCO_FIGURES


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
