"""Where the people of an image are: by our own detector, from a results file of any other, or as annotated."""

import dataclasses
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from bottomup.data.coco import num_labelled_joints, read_raw, read_results
from bottomup.data.image_ids import read_annotated
from bottomup.geometry import Transform
from bottomup.topdown.person_detector import BUILDERS, CenterMaps, DetectorNet, read_centers
from bottomup.weights.store import load_network


@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """The people of one image as boxes; N may be 0.

    Attributes:
        boxes: (N, 4) x0, y0, x1, y1 in pixels of the image; they may reach beyond it.
        scores: (N,) one confidence per box.
    """

    boxes: Float[np.ndarray, "N 4"]
    scores: Float[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> "Boxes":
        """Some of the boxes: a slice, indices or a mask."""
        return Boxes(self.boxes[index], self.scores[index])

    def within(self, width: int, height: int) -> "Boxes":
        """The boxes that show a bit of an image of this size; those without area, or with no numbers, do not."""
        x0, y0, x1, y1 = self.boxes.T
        is_box = np.isfinite(self.boxes).all(1) & (x1 > x0) & (y1 > y0)
        return self[is_box & (x0 < width) & (y0 < height) & (x1 > 0) & (y1 > 0)]


@runtime_checkable
class Detector(Protocol):
    """Finds the people of an image; what a top-down method begins with."""

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], name: str, /) -> Boxes:
        """The boxes of one image.

        Args:
            image: RGB.
            name: what the image is called in its source; a detector that looks boxes up goes by it.
        """
        ...


class CenterDetector:
    """Our own detector.

    Args:
        weights: the name of bundled weights, a file of ours, or a network (which is moved to the
            device).
        device: to run on.
        min_score: boxes below it are left out.
        max_overlap: of two boxes that overlap by more than this (intersection over union) the
            better one stays.

    Raises:
        ValueError: the weights are those of another kind of network, or cannot be had.
    """

    def __init__(
        self,
        weights: str | Path | DetectorNet = "person_detector",
        *,
        device: str | torch.device = "cpu",
        min_score: float = 0.1,
        max_overlap: float = 0.6,
    ) -> None:
        is_net = isinstance(weights, DetectorNet)
        net = weights if is_net else load_network(weights, BUILDERS)
        self.device = torch.device(device)
        self.net = net.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.min_score, self.max_overlap = min_score, max_overlap

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "H W 3"], name: str = "") -> Boxes:
        """The boxes of one image, the best first; the name does not matter."""
        wanted = self.net.preprocessing
        image_wh = (image.shape[1], image.shape[0])
        transform = Transform.fit(image_wh, wanted.size, side=wanted.side, multiple=wanted.multiple)
        batch = (
            torch.from_numpy(transform.warp(image))[None].to(self.device).permute(0, 3, 1, 2)
        )  # 1 3 H W
        boxes, scores = [], []
        for maps in self.net(batch):
            found, score = self._read(maps)
            map_wh = (maps.center.shape[3], maps.center.shape[2])
            boxes.append(transform.to_image(found.reshape(-1, 2, 2), map_wh).reshape(-1, 4))
            scores.append(score)
        together = Boxes(np.concatenate(boxes), np.concatenate(scores))
        return together[suppress(together, self.max_overlap)]

    def _read(self, maps: CenterMaps) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = read_centers(maps, min_score=self.min_score)[0]
        return boxes.cpu().numpy().astype(np.float64), scores.cpu().numpy().astype(np.float64)


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
        self.path, self.ids = Path(results), read_annotated(annotations)
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
        self.ids = read_annotated(annotations)
        people = [
            person | {"score": 1.0, "category_id": 1}
            for person in read_raw(annotations).get("annotations", [])
            if not person.get("iscrowd") and num_labelled_joints(person)
        ]
        self._boxes = _by_image(people, str(annotations), 1, 0.0)

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], name: str) -> Boxes:
        """The annotated boxes of the image of this name.

        Raises:
            ValueError: the annotations do not have the image.
        """
        return _look_up(self._boxes, self.ids, name)


def suppress(boxes: Boxes, max_overlap: float) -> Int[np.ndarray, " M"]:
    """Non-maximum suppression.

    Returns:
        indices of the boxes that stay, the best first; of equal scores the first one.
    """
    order = np.argsort(-boxes.scores, kind="stable")
    corners = boxes.boxes[order]
    area = (corners[:, 2:] - corners[:, :2]).clip(min=0).prod(1)
    low = np.maximum(corners[:, None, :2], corners[None, :, :2])
    high = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = (high - low).clip(min=0).prod(2)
    overlap = shared / np.maximum(area[:, None] + area[None] - shared, 1e-9)
    stays = np.ones(len(order), bool)
    for i in range(len(order)):
        if stays[i]:
            stays[i + 1 :] &= overlap[i, i + 1 :] <= max_overlap
    return order[stays]


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
