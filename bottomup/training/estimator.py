"""Training a network: what Lightning has to know about the method, and nothing else."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from bottomup.data.datamodule import PoseData
from bottomup.data.samples import Batch, EvaluationImage
from bottomup.evaluation import keypoints as metrics
from bottomup.inference.predictor import Predictor
from bottomup.method.grouping import Grouper
from bottomup.method.losses import Criterion
from bottomup.method.targets import EXACT
from bottomup.method.voting_losses import VotingCriterion
from bottomup.models.pose_net import PoseNet
from bottomup.training.estimator_base import Estimator


class PoseEstimator(Estimator):
    """A network, what it is trained with, and how its people are read when it is validated.

    No setting is stored in checkpoints, so those of the config and the command line always hold.

    Args:
        network: what is trained.
        criterion: the losses and their weights, those of the network's kind of head.
        optimizer: makes the optimiser.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        mode: of decoding at validation, "robust" or "official".
        scales: at which validation looks at each image.
        flip: whether validation looks at each image mirrored, too.
        detection_threshold: smallest peak that is a joint at validation.
        tag_threshold: largest distance of tags within a person.
        channels_last: keep pixels' channels together in memory, faster on most devices.
        compile: compile the network for training with torch.compile.
        freeze_norm: keep the running statistics of batch norm, and use them: for fine-tuning with
            small batches.
        frozen: modules of the network that are not trained, such as "trunk.stem"; a step is faster
            for it.
    """

    def __init__(
        self,
        network: PoseNet,
        criterion: Criterion | VotingCriterion = Criterion(),  # noqa: B008  frozen
        *,
        optimizer: Callable[[Iterable], Optimizer] = torch.optim.Adam,
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        schedule_interval: Literal["epoch", "step"] = "epoch",
        mode: Literal["robust", "official"] = "robust",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        detection_threshold: float = 0.1,
        tag_threshold: float = 1.0,
        channels_last: bool = True,
        compile: bool = False,
        freeze_norm: bool = False,
        frozen: Sequence[str] = (),
    ):
        if isinstance(criterion, Criterion) and (criterion.centres == EXACT) != (
            network.keypoint_offset == 0
        ):
            raise ValueError(
                f"targets with {criterion.centres} centres do not go with a keypoint_offset of "
                f"{network.keypoint_offset}: set model.network.keypoint_offset (0 for exact ones) or "
                "model.criterion.centres"
            )
        anchor = getattr(network.head, "tag_anchor", 0.0)
        if (
            isinstance(criterion, Criterion)
            and criterion.place_weight
            and criterion.tag_anchor != anchor
        ):
            raise ValueError(
                f"model.criterion.tag_anchor is {criterion.tag_anchor}, but the network's tags are anchored by {anchor}"
            )
        super().__init__(
            network, criterion, optimizer=optimizer, schedule=schedule, schedule_interval=schedule_interval,
            channels_last=channels_last, frozen=frozen,
        )  # fmt: skip
        self.mode: Literal["robust", "official"] = mode
        self.scales, self.flip = scales, flip
        self.grouper = Grouper(
            mode=mode,
            detection_threshold=detection_threshold,
            tag_threshold=tag_threshold,
            max_candidates=30 if mode == "official" else None,
            skeleton=network.skeleton,
        )
        self.freeze_norm = freeze_norm
        if compile:
            self.run = torch.compile(network.forward)

    def setup(self, stage: str) -> None:
        """Check that data and network speak of the same joints; tolerances and limbs are then those of the data.

        Raises:
            ValueError: they do not.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, PoseData):
            self.take_skeleton(data.skeleton)
            self.grouper = dataclasses.replace(self.grouper, skeleton=data.skeleton)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Keep batch norm as it is, if asked to.

        Raises:
            ValueError: the network does not take images of this size.
        """
        height, width = batch.image.shape[2:]
        multiple = self.network.size_multiple
        if height % multiple or width % multiple:
            raise ValueError(
                f"training images of {width} x {height} pixels do not fit the network: set data.augment.size (of drawn "
                f"images data.crowd.width and height) to multiples of {multiple}"
            )
        if self.freeze_norm:
            for module in self.network.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def validation_step(self, batch: list[EvaluationImage], batch_idx: int) -> None:
        """Find the people of some images, in float32, exactly as prediction does."""
        with torch.autocast(self.device.type, enabled=False):
            people = self.predictor(len(batch))([image.image for image in batch])
        assert isinstance(people, list)
        for image, poses in zip(batch, people, strict=True):
            self.seen.append(image.image_id)
            self.found += poses.to_coco(image.image_id)

    def evaluate(self, found: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
        """Average precision of people."""
        return metrics.evaluate(found, truth, skeleton=self.network.skeleton)

    def on_validation_epoch_end(self) -> None:
        """Log average precision; prediction has put the network's pixels in its own order, which is undone."""
        super().on_validation_epoch_end()
        self.network.to(memory_format=self.layout)

    def predictor(self, batch_size: int) -> Predictor:
        """Finds people with the network as it is now and the settings of validation."""
        return Predictor(
            self.network,
            device=self.device,
            mode=self.mode,
            scales=self.scales,
            flip=self.flip,
            batch_size=batch_size,
            grouper=self.grouper,
        )
