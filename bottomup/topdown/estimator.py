"""Training of top-down methods: of networks for one person in a crop, and of detectors."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from bottomup.data.datamodule import PoseData
from bottomup.data.people import corners_of
from bottomup.data.samples import EvaluationImage
from bottomup.evaluation import keypoints
from bottomup.topdown import box_metrics
from bottomup.topdown.detectors import Boxes, CenterDetector
from bottomup.topdown.losses import DetectorCriterion, PersonCriterion
from bottomup.topdown.person_detector import DetectorNet
from bottomup.topdown.person_net import PersonNet
from bottomup.topdown.predictor import TopDownPredictor
from bottomup.training.estimator import Estimator


class TopDownEstimator(Estimator):
    """A network of a top-down method, with its losses, optimiser and validation.

    A network for one person is validated on the annotated boxes, by the average precision of its
    people. A detector is validated by the average precision of its boxes. No setting is stored in
    checkpoints, so those of the recipe and the command line always hold.

    Args:
        network: what is trained.
        criterion: the losses, of the network's kind; None is that kind with its defaults.
        optimizer: makes the optimiser.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        frozen: modules of the network that are not trained, such as "trunk".

    Raises:
        ValueError: the criterion is of the other kind, or there is no such module.
    """

    def __init__(
        self,
        network: PersonNet | DetectorNet,
        criterion: PersonCriterion | DetectorCriterion | None = None,
        *,
        optimizer: Callable[[Iterable], Optimizer] = torch.optim.AdamW,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        schedule_interval: Literal["epoch", "step"] = "step",
        frozen: Sequence[str] = (),
    ):
        fitting = PersonCriterion if isinstance(network, PersonNet) else DetectorCriterion
        if criterion is not None and not isinstance(criterion, fitting):
            raise ValueError(
                f"a {type(network).__name__} is trained with a {fitting.__name__}: "
                "set model.criterion"
            )
        criterion = criterion or fitting()
        super().__init__(
            network,
            criterion,
            criterion.weights,
            optimizer=optimizer,
            schedule=schedule,
            schedule_interval=schedule_interval,
            frozen=frozen,
        )

    def setup(self, stage: str) -> None:
        """Check that data and network have the same joints.

        Raises:
            ValueError: they have not.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, PoseData) and isinstance(self.network, PersonNet):
            self.take_skeleton(data.skeleton)

    def validation_step(self, batch: list[EvaluationImage], batch_idx: int) -> None:
        """Find the people of some images in float32, as prediction does."""
        with torch.autocast(self.device.type, enabled=False):
            for image in batch:
                self.seen.append(image.image_id)
                self.found += self._predict(image)

    def _predict(self, image: EvaluationImage) -> list[dict[str, Any]]:
        """COCO results of one image."""
        if isinstance(self.network, DetectorNet):
            boxes = CenterDetector(self.network, device=self.device, min_score=0.02)(image.image)
            return box_metrics.to_coco(boxes.boxes, boxes.scores, image.image_id)

        # a network for one person gets the annotated boxes
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        truth = data.evaluation_set.ground_truth({image.image_id})["annotations"]
        corners = np.array([corners_of(person) for person in truth]).reshape(-1, 4)
        boxes = Boxes(corners, np.ones(len(corners)))
        predictor = TopDownPredictor(self.network, lambda image, name: boxes, device=self.device)
        return predictor.predict(image.image).to_coco(image.image_id)

    def evaluate(self, found: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
        """Average precision of people, or of their boxes."""
        if isinstance(self.network, DetectorNet):
            return box_metrics.evaluate(found, truth)
        return keypoints.evaluate(found, truth, skeleton=self.network.skeleton)
