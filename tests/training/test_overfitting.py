"""Every kind of network and criterion learns four drawn images by heart: AP is at least 0.9.

What cannot be learned by heart cannot be learned: targets, losses, gradients and the way from maps
to people must fit together. Each trains for minutes, so these tests are slow ones.
"""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bottomup import networks
from bottomup.data.augment import Augment
from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.samples import Batch, LabelledImage, collate
from bottomup.data.scenes.crowd import Crowd
from bottomup.method.losses import Criterion
from bottomup.method.voting_losses import VotingCriterion
from bottomup.skeleton import COCO
from bottomup.topdown.estimator import TopDownEstimator
from bottomup.topdown.samples import BoxAugment, CropAugment
from bottomup.training.estimator import Estimator, PoseEstimator
from tests.support.recipes import total_loss

pytestmark = pytest.mark.slow

SIZE = 128
CROWD = Crowd(
    SIZE,
    SIZE,
    people=(2, 3),
    sizes=(51.0, 96.0),
    overlap=0.0,
    truncation=0.0,
    blur=1.0,
    occluders=0,
)
STILL = {"scale": (1.0, 1.0), "rotation": 0.0, "flip": 0.0}  # augmentation that changes nothing
IMAGES = DrawnEvaluation(CROWD, 4, seed=10)  # people are apart: their middles by 42 pixels


def labelled_images() -> list[LabelledImage]:
    scenes = map(IMAGES.scene, range(len(IMAGES)))
    return [
        LabelledImage(scene.image, scene.keypoints, scene.mask, scene.boxes) for scene in scenes
    ]


def whole_images() -> Batch:
    return collate(labelled_images())


def boxes() -> Batch:
    augment = BoxAugment(Augment(SIZE, translation=0.0, **STILL))
    rng = np.random.default_rng(0)
    return collate([augment(image, COCO.flip_indices, rng) for image in labelled_images()])


def crops() -> Batch:
    """One of each labelled person."""
    augment = CropAugment(128, shift=0.0, colour=0.0, blur=0.0, grey=0.0, **STILL)
    samples, rng = [], np.random.default_rng(0)
    for image, n in itertools.product(labelled_images(), range(CROWD.people[1])):
        if n < len(image.boxes) and (image.keypoints[n, :, 2] > 0).any():
            one = image._replace(keypoints=image.keypoints[[n]], boxes=image.boxes[[n]])
            samples.append(augment(one, COCO.flip_indices, rng))
    return collate(samples)


def learn(estimator: Estimator, batch: Batch, steps: int, rate: float) -> float:
    """AP on the images after some steps on them."""
    estimator.train()
    optimizer = torch.optim.AdamW(estimator.network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        loss = total_loss(estimator, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(estimator.network.parameters(), 20.0)
        optimizer.step()
        schedule.step()
    trainer = SimpleNamespace(datamodule=SimpleNamespace(evaluation_set=IMAGES))
    estimator.trainer = trainer
    estimator.eval().validation_step([IMAGES[n] for n in range(len(IMAGES))], 0)
    return estimator.evaluate(estimator.found, IMAGES.ground_truth({1, 2, 3, 4}))["AP"]


def compact() -> Estimator:
    """As the recipe `synthetic`."""
    criterion = Criterion(
        heatmaps="focal", scale_aware=True, place_weight=5.0, pull_weight=0.0, push_weight=0.0
    )

    return PoseEstimator(networks.compact(width=16, input_size=SIZE), criterion)


def higherhrnet() -> Estimator:
    """As published, from random weights."""
    return PoseEstimator(networks.higherhrnet(width=8, input_size=SIZE), Criterion())


def voting() -> Estimator:
    network = networks.mobile(input_size=SIZE, weights="mobile")
    return PoseEstimator(network, VotingCriterion(displacement_weight=10.0))


def topdown(kind: str) -> Estimator:
    return TopDownEstimator(getattr(networks, kind)(height=128, weights="mobile"))


def detector() -> Estimator:
    return TopDownEstimator(networks.person_detector(input_size=SIZE, weights="mobile"))
