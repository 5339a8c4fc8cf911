"""Drawn images as samples without any augmentation, as each kind of network learns from them."""

from collections.abc import Iterable

import numpy as np

from bottomup.data.augment import Augment
from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.samples import Batch, LabelledImage, collate
from bottomup.skeleton import COCO
from bottomup.topdown.samples import BoxAugment, CropAugment

STILL = {"scale": (1.0, 1.0), "rotation": 0.0, "flip": 0.0}


def labelled(images: DrawnEvaluation, indices: Iterable[int]) -> list[LabelledImage]:
    scenes = map(images.scene, indices)
    return [LabelledImage(s.image, s.keypoints, s.mask, s.boxes) for s in scenes]


def whole_images(images: DrawnEvaluation, indices: Iterable[int]) -> Batch:
    return collate(labelled(images, indices))


def boxes(images: DrawnEvaluation, indices: Iterable[int]) -> Batch:
    augment = BoxAugment(Augment(images.crowd.width, translation=0.0, **STILL))
    rng = np.random.default_rng(0)
    return collate([augment(one, COCO.flip_indices, rng) for one in labelled(images, indices)])


def crops(images: DrawnEvaluation, indices: Iterable[int], height: int) -> Batch:
    """A crop of every person who is annotated and labelled, in their order."""
    augment = CropAugment(height, shift=0.0, colour=0.0, blur=0.0, grey=0.0, **STILL)
    rng = np.random.default_rng(0)
    return collate(
        [
            augment(
                image._replace(keypoints=keypoints[None], boxes=box[None]), COCO.flip_indices, rng
            )
            for image in labelled(images, indices)
            for keypoints, box in zip(image.keypoints, image.boxes, strict=True)
            if (keypoints[:, 2] > 0).any()
        ]
    )
