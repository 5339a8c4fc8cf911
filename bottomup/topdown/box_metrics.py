"""Average precision of boxes: COCO's detection figures for people."""

import contextlib
import io
from typing import Any

import numpy as np
from jaxtyping import Float

MAX_BOXES = 100  # per image, as in COCO's evaluation


def evaluate(results: list[dict[str, Any]], annotations: dict[str, Any]) -> dict[str, float]:
    """Average precision and recall of boxes.

    Args:
        results: COCO detection results: image_id, category_id, bbox, score.
        annotations: a COCO file, loaded. People without a bbox take the one around their labelled
            joints.

    Returns:
        AP, AP50, AP75, AR (at 100 boxes an image) and AR50, the share of people that some box
        overlaps by half; NaN where there is nobody to find.

    Source: the COCO detection evaluation (pycocotools).
    """
    from pycocotools import coco, cocoeval  # slow to import, and only this function needs it

    people = [
        person
        | {
            "id": number,
            "bbox": _bbox(person),
            "area": _area(person),
            "iscrowd": person.get("iscrowd", 0),
        }
        for number, person in enumerate(annotations["annotations"], 1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth: Any = coco.COCO()
        truth.dataset = {**annotations, "annotations": people}
        truth.createIndex()
        if not results:
            return dict.fromkeys(
                ("AP", "AP50", "AP75", "AR", "AR50"), 0.0 if people else float("nan")
            )
        evaluation: Any = cocoeval.COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_BOXES]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (
        evaluation.eval["precision"],
        evaluation.eval["recall"],
    )  # T R 1 1 1, T 1 1 1
    precision, recall = (np.where(values < 0, np.nan, values) for values in (precision, recall))
    figures = {"AP": precision.mean(), "AP50": precision[0].mean(), "AP75": precision[5].mean()}
    figures |= {"AR": recall.mean(), "AR50": recall[0].mean()}
    return {name: float(value) for name, value in figures.items()}


def to_coco(
    boxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    image_id: int,
    category_id: int = 1,
) -> list[dict[str, Any]]:
    """COCO detection results from boxes x0, y0, x1, y1."""
    return [
        {
            "image_id": image_id,
            "category_id": category_id,
            "bbox": [round(float(value), 2) for value in (x0, y0, x1 - x0, y1 - y0)],
            "score": float(score),
        }
        for (x0, y0, x1, y1), score in zip(boxes, scores, strict=True)
    ]


def corners(person: dict[str, Any]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of an annotated person."""
    x, y, width, height = _bbox(person)
    return x, y, x + width, y + height


def _bbox(person: dict[str, Any]) -> list[float]:
    """x, y, width, height; around the labelled joints where the annotation has no box."""
    if person.get("bbox"):
        return list(person["bbox"])
    points = np.reshape(np.array(person.get("keypoints") or [0, 0, 0], float), (-1, 3))
    labelled = points[points[:, 2] > 0, :2]
    if not len(labelled):
        return [0.0, 0.0, 0.0, 0.0]
    low, high = labelled.min(0), labelled.max(0)
    return [*low.tolist(), *(high - low).tolist()]


def _area(person: dict[str, Any]) -> float:
    _, _, width, height = _bbox(person)
    return person.get("area") or width * height
