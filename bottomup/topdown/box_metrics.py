"""Average precision of boxes: COCO's detection figures for people."""

import contextlib
import io
import operator
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float

from bottomup.data.people import area_of, box_of

MAX_BOXES = 100  # per image, as in COCO's evaluation
FIGURES = ("AP", "AP50", "AP75", "AR", "AR50")


def evaluate(results: list[dict[str, Any]], annotations: dict[str, Any]) -> dict[str, float]:
    """Average precision and recall of boxes.

    Args:
        results: COCO detection results: image_id, category_id, bbox, score.
        annotations: the content of a COCO file. The box of a person without a bbox is the one
            around the labelled joints.

    Returns:
        AP, AP50, AP75, AR (at 100 boxes an image) and AR50, the share of people whom some box
        overlaps by half; NaN where there is nobody to find.

    Source: the COCO detection evaluation (pycocotools).
    """
    from pycocotools import coco, cocoeval  # slow to import, and only this function needs it

    people = [
        {"iscrowd": 0} | person | {"id": number, "bbox": box_of(person), "area": area_of(person)}
        for number, person in enumerate(annotations["annotations"], 1)
    ]
    if not results:
        return dict.fromkeys(FIGURES, 0.0 if people else float("nan"))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth: Any = coco.COCO()
        truth.dataset = {**annotations, "annotations": people}
        truth.createIndex()
        evaluation: Any = cocoeval.COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MAX_BOXES]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (
        evaluation.eval["precision"],
        evaluation.eval["recall"],
    )  # T R 1 1 1, T 1 1 1
    parts = (precision, precision[0], precision[5], recall, recall[0])
    # -1 stands for nobody to find
    means = (np.where(part < 0, np.nan, part).mean() for part in parts)
    return dict(zip(FIGURES, map(float, means), strict=True))


def to_coco(
    boxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    image_id: SupportsIndex,
    category_id: SupportsIndex = 1,
) -> list[dict[str, Any]]:
    """COCO detection results from boxes x0, y0, x1, y1."""
    return [
        {
            "image_id": operator.index(image_id),
            "category_id": operator.index(category_id),
            "bbox": [round(float(value), 2) for value in (x0, y0, x1 - x0, y1 - y0)],
            "score": float(score),
        }
        for (x0, y0, x1, y1), score in zip(boxes, scores, strict=True)
    ]
