"""Boxes in place of a detector: from the results file of any detector, or as annotated."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from bottomup.data.image_ids import read_annotated
from bottomup.data.keypoint_files import read_keypoints, read_results
from bottomup.data.people import num_labelled_joints
from bottomup.topdown.detectors import Boxes


class ListedBoxes:
    """Boxes from a COCO results file of any detector.

    Args:
        results: a list of {image_id, bbox: [x, y, width, height], score, category_id}, as COCO has
            it; a score that is missing is 1.
        annotations: the COCO file that says which image has which id.
        category_id: of people; results of another are left out.
        min_score: boxes below it are left out.

    Raises:
        ValueError: a file cannot be read, or is not what it should be; names the entry.
    """

    def __init__(
        self,
        results: str | Path,
        annotations: str | Path,
        *,
        category_id: int = 1,
        min_score: float = 0.0,
    ) -> None:
        self.path, self.ids = Path(results), read_annotated(annotations).ids
        entries = read_results(self.path, "boxes")
        self._boxes = _by_image(entries, str(self.path), category_id, min_score)

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], name: str) -> Boxes:
        """The listed boxes of the image of this name, none if none is listed.

        Raises:
            ValueError: the annotations do not have the image.
        """
        return _look_up(self._boxes, self.ids, name)


class TrueBoxes:
    """The boxes of annotated people: the upper bound of what a detector can give.

    People without any labelled joint and crowds, which no evaluation of joints counts, are left
    out.

    Args:
        annotations: a COCO keypoint file; its categories may have any ids.

    Raises:
        ValueError: the file cannot be read, or is not what it should be.
    """

    def __init__(self, annotations: str | Path) -> None:
        self.ids = read_annotated(annotations).ids
        people = [
            person | {"score": 1.0, "category_id": 1}
            for person in read_keypoints(annotations).people
            if not person["iscrowd"] and num_labelled_joints(person)
        ]
        self._boxes = _by_image(people, str(annotations), 1, 0.0)

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], name: str) -> Boxes:
        """The annotated boxes of the image of this name.

        Raises:
            ValueError: the annotations do not have the image.
        """
        return _look_up(self._boxes, self.ids, name)


def _by_image(
    entries: list[Any], what: str, category_id: int, min_score: float
) -> dict[int, Boxes]:
    """Checked boxes by image id, the best first."""
    rows: dict[int, list[list[float]]] = {}
    for number, entry in enumerate(entries):
        try:
            x, y, width, height = (float(value) for value in entry["bbox"])
            score, image_id = float(entry.get("score", 1.0)), int(entry["image_id"])
            is_person = int(entry.get("category_id", category_id)) == category_id
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{what}: entry {number} is no box ({type(error).__name__}: {error}); COCO's have "
                "image_id, bbox [x, y, width, height] and score"
            ) from error
        if not np.isfinite([x, y, width, height, score]).all() or min(width, height) < 0:
            raise ValueError(
                f"{what}: entry {number} (image {image_id}) has the bbox {entry['bbox']} "
                f"and the score {score}"
            )
        if is_person and score >= min_score:
            rows.setdefault(image_id, []).append([x, y, x + width, y + height, score])
    found = {}
    for image_id, values in rows.items():
        table = np.array(sorted(values, key=lambda row: -row[4]))
        found[image_id] = Boxes(table[:, :4], table[:, 4])
    return found


def _look_up(boxes: dict[int, Boxes], ids: dict[str, int], name: str) -> Boxes:
    image_id = ids.get(name, ids.get(Path(name).name))
    if image_id is None:
        raise ValueError(f"the annotations have no image {name!r}, so its boxes are not known")
    return boxes.get(image_id, Boxes(np.zeros((0, 4)), np.zeros(0)))
