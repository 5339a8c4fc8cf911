"""Drawn crowds: a source of training samples, and an evaluation set."""

import dataclasses
from typing import Any

import numpy as np

from bottomup.data.samples import Augmentation, EvaluationImage, LabelledImage, Samples
from bottomup.data.scenes.crowd import Crowd, Scene, draw_scene
from bottomup.skeleton import COCO


@dataclasses.dataclass(frozen=True, eq=False)
class Drawings:
    """Drawn crowds, a new one at each load; a `Source`.

    Attributes:
        crowd: how hard the images are.
        length: the number of images in an epoch.
    """

    crowd: Crowd
    length: int

    skeleton = COCO

    def __len__(self) -> int:
        return self.length

    def load(self, position: int, rng: np.random.Generator) -> LabelledImage:
        """Draw an image; the position does not matter."""
        scene = draw_scene(self.crowd, rng)
        return LabelledImage(scene.image, scene.keypoints, scene.mask, scene.boxes)

    def name(self, position: int, seed: int) -> str:
        """Which drawing."""
        return f"drawn image {position} of seed {seed}"


def draw_samples(
    crowd: Crowd,
    length: int,
    augmentation: Augmentation | None = None,
    *,
    seed: int = 0,
    repeat: int = 1,
) -> Samples:
    """A training set of whole drawn images.

    Evaluation sets draw from (seed, index), which is (seed, index, 0, 0) to numpy. A stream above
    0 keeps the drawings apart.

    Args:
        crowd: how hard the images are.
        length: the number of images in an epoch.
        augmentation: see `Samples`.
        seed: see `Samples`.
        repeat: the number of epochs in which the same drawings come again.
    """
    return Samples(
        Drawings(crowd, length), augmentation, seed, stream=2, augmentation_stream=1, repeat=repeat
    )


class DrawnEvaluation:
    """A fixed set of drawn crowds to evaluate on. Image ids count from 1.

    Each image is drawn once and kept in memory.

    Args:
        crowd: how hard the images are.
        length: the number of images.
        seed: of the set.
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
        """An image with its labels."""
        if index not in self._scenes:
            self._scenes[index] = draw_scene(self.crowd, np.random.default_rng((self.seed, index)))
        return self._scenes[index]

    def ground_truth(self, image_ids: set[int]) -> dict[str, Any]:
        """Annotations of some of the images, in COCO's format."""
        people = [
            {"image_id": image_id} | person
            for image_id in sorted(image_ids)
            for person in _annotate(self.scene(image_id - 1))
        ]
        return {
            "images": [
                {
                    "id": image_id, "file_name": f"{image_id:06}.png",
                    "width": self.crowd.width, "height": self.crowd.height,
                }
                for image_id in sorted(image_ids)
            ],
            "annotations": [person | {"id": number} for number, person in enumerate(people, 1)],
            "categories": [{
                "id": self.category_id, "name": "person", "keypoints": list(COCO.keypoints),
                "skeleton": [[a + 1, b + 1] for a, b in COCO.edges],
            }],
        }  # fmt: skip


def _annotate(scene: Scene) -> list[dict[str, Any]]:
    """COCO annotations; area and box are those of the visible pixels of each person."""
    boxes = scene.boxes.astype(int).tolist()
    return [
        {
            "category_id": 1, "iscrowd": 0,
            "area": int(np.count_nonzero(scene.owner == number)),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            "keypoints": [round(float(value), 3) for value in keypoints.reshape(-1)],
        }
        for number, keypoints, (x0, y0, x1, y1) in zip(
            range(1, len(boxes) + 1), scene.keypoints, boxes, strict=True
        )
        if x1 > x0
    ]  # fmt: skip
