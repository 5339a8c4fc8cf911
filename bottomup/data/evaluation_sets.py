"""Images to evaluate on, and what is true of them: annotated photos or a fixed set of drawn crowds."""

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from bottomup.data.coco import Annotations
from bottomup.data.scenes.crowd import Crowd, Scene, draw_scene
from bottomup.data.training_sets import read_image
from bottomup.skeleton import COCO, Skeleton


class EvaluationImage(NamedTuple):
    """An image to find people in."""

    image_id: int
    image: UInt8[np.ndarray, "H W 3"]


@runtime_checkable
class EvaluationSet(Protocol):
    """What validation needs."""

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all images."""
        ...

    @property
    def category_id(self) -> int:
        """What the ground truth calls a person."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> EvaluationImage: ...

    def ground_truth(self, image_ids: set[int]) -> dict[str, Any]:
        """Annotations in COCO's format of some of the images."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoEvaluation:
    """Annotated photos as they are."""

    annotations: Annotations

    @property
    def skeleton(self) -> Skeleton:
        """The joints of all images."""
        return self.annotations.skeleton

    @property
    def category_id(self) -> int:
        """What the annotation file calls a person."""
        return self.annotations.category_id

    def __len__(self) -> int:
        return len(self.annotations.records)

    def __getitem__(self, index: int) -> EvaluationImage:
        record = self.annotations.records[index]
        return EvaluationImage(record.image_id, read_image(record))

    def ground_truth(self, image_ids: set[int]) -> dict[str, Any]:
        """The part of the annotation file about some of the images."""
        raw = self.annotations.raw
        return {
            "images": [info for info in raw["images"] if info["id"] in image_ids],
            "annotations": [
                person for person in raw["annotations"] if person["image_id"] in image_ids
            ],
            "categories": raw["categories"],
        }


class DrawnEvaluation:
    """A fixed set of drawn crowds; image ids count from 1. Drawn once, kept in memory.

    Args:
        crowd: how hard the images are.
        length: how many.
        seed: of the set; training sets draw from other numbers even with the same seed.
    """

    def __init__(self, crowd: Crowd, length: int, seed: int = 0):
        self.crowd, self.length, self.seed = crowd, length, seed
        self.skeleton, self.category_id = COCO, 1
        self._scenes: dict[int, Scene] = {}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> EvaluationImage:
        return EvaluationImage(index + 1, self.scene(index).image)

    def scene(self, index: int) -> Scene:
        """Image `index` with its labels."""
        if index not in self._scenes:
            self._scenes[index] = draw_scene(self.crowd, np.random.default_rng((self.seed, index)))
        return self._scenes[index]

    def ground_truth(self, image_ids: set[int]) -> dict[str, Any]:
        """Annotations in COCO's format of some of the images."""
        people = [
            person
            for image_id in sorted(image_ids)
            for person in _annotate(self.scene(image_id - 1), image_id)
        ]
        return {
            "images": [
                {"id": i, "file_name": f"{i:06}.png", "width": self.crowd.width, "height": self.crowd.height}
                for i in sorted(image_ids)
            ],
            "annotations": [person | {"id": number} for number, person in enumerate(people, 1)],
            "categories": [{
                "id": 1, "name": "person", "keypoints": list(COCO.keypoints),
                "skeleton": [[a + 1, b + 1] for a, b in COCO.edges],
            }],
        }  # fmt: skip


def _annotate(scene: Scene, image_id: int) -> list[dict[str, Any]]:
    """COCO annotations of a drawn image: area and box of what can be seen of each person."""
    people = []
    for number, keypoints in enumerate(scene.keypoints, 1):
        y, x = np.nonzero(scene.owner == number)
        if len(x) == 0:
            continue
        x0, y0 = int(x.min()), int(y.min())
        people.append({
            "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": len(x),
            "bbox": [x0, y0, int(x.max()) - x0 + 1, int(y.max()) - y0 + 1],
            "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            "keypoints": [round(float(value), 3) for value in keypoints.reshape(-1)],
        })  # fmt: skip
    return people
