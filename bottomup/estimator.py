"""Training a network: what Lightning has to know about the method, and nothing else."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from bottomup import metrics
from bottomup.data.datamodule import PoseData
from bottomup.data.evaluation_sets import EvaluationImage
from bottomup.data.loader import ResumableLoader
from bottomup.data.sample import Batch
from bottomup.grouping import Grouper
from bottomup.losses import Criterion
from bottomup.models.description import describe
from bottomup.models.pose_net import PoseNet
from bottomup.predictor import Predictor
from bottomup.targets import EXACT
from bottomup.voting_losses import VotingCriterion


class PoseEstimator(LightningModule):
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
        freeze_norm: keep the running statistics of batch norm, and use them: for fine-tuning with small batches.
        frozen: modules of the network that are not trained, such as "trunk.stem"; a step is faster for it.
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
        super().__init__()
        if isinstance(criterion, Criterion) and (criterion.centres == EXACT) != (network.keypoint_offset == 0):
            raise ValueError(
                f"targets with {criterion.centres} centres do not go with a keypoint_offset of "
                f"{network.keypoint_offset}: set model.network.keypoint_offset (0 for exact ones) or "
                "model.criterion.centres"
            )
        anchor = getattr(network.head, "tag_anchor", 0.0)
        if isinstance(criterion, Criterion) and criterion.place_weight and criterion.tag_anchor != anchor:
            raise ValueError(
                f"model.criterion.tag_anchor is {criterion.tag_anchor}, but the network's tags are anchored by {anchor}"
            )
        for name in frozen:
            _module(network, name).requires_grad_(False)
        self.network = network.to(memory_format=_layout(channels_last))  # type: ignore[call-overload]
        self.criterion = criterion
        self.optimizer, self.schedule, self.schedule_interval = optimizer, schedule, schedule_interval
        self.mode: Literal["robust", "official"] = mode
        self.scales, self.flip = scales, flip
        self.grouper = Grouper(
            mode=mode,
            detection_threshold=detection_threshold,
            tag_threshold=tag_threshold,
            max_candidates=30 if mode == "official" else None,
            skeleton=network.skeleton,
        )
        self.channels_last, self.freeze_norm = channels_last, freeze_norm
        self.run = torch.compile(network.forward) if compile else network.forward
        self.found: list[dict[str, Any]] = []
        self.seen: list[int] = []
        self._previous: tuple[Tensor, int] | None = None

    def setup(self, stage: str) -> None:
        """Check that data and network speak of the same joints; tolerances and limbs are then those of the data.

        Raises:
            ValueError: they do not.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, PoseData):
            return
        if data.skeleton.keypoints != self.network.skeleton.keypoints:
            raise ValueError(
                f"the data have the joints {', '.join(data.skeleton.keypoints)}, the network "
                f"{', '.join(self.network.skeleton.keypoints)}: set model.network.skeleton to the annotation file"
            )
        self.network.skeleton = data.skeleton
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

    def configure_optimizers(self) -> Any:
        """The optimiser and, if there is one, the schedule."""
        optimizer = self.optimizer([weight for weight in self.network.parameters() if weight.requires_grad])
        if self.schedule is None:
            return optimizer
        scheduler = {"scheduler": self.schedule(optimizer), "interval": self.schedule_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the losses of a batch; each is logged.

        Raises:
            FloatingPointError: the sum is not finite; the message names the images.
        """
        outputs: Any = self.run(batch.image.contiguous(memory_format=_layout(self.channels_last)))
        losses = self.criterion(outputs, batch.keypoints, batch.mask)
        total = torch.stack(list(losses.values())).sum()
        self._stop_unless_finite(total.detach(), batch_idx)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=len(batch.image))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch.image))
        return total

    def _stop_unless_finite(self, total: Tensor, batch_idx: int) -> None:
        """On a GPU the previous step's loss is looked at, which is there by now: nothing waits for it."""
        previous, self._previous = self._previous, (total, batch_idx)
        value, number = (total, batch_idx) if total.device.type == "cpu" else previous or (torch.zeros(()), 0)
        if torch.isfinite(value):
            return
        loader = self.trainer.train_dataloader
        names = loader.names(number) if isinstance(loader, ResumableLoader) and number <= batch_idx else []
        images = "\n  ".join(names) or "unknown"
        raise FloatingPointError(
            f"the loss is {value.item()} in epoch {self.current_epoch}, batch {number}; its images:\n  {images}\n"
            "look at their annotations, or lower the learning rate"
        )

    def on_validation_epoch_start(self) -> None:
        """Get ready to find people with the weights as they are (averaged ones, if they are averaged)."""
        self.found, self.seen = [], []

    def validation_step(self, batch: list[EvaluationImage], batch_idx: int) -> None:
        """Find the people of some images, in float32, exactly as prediction does."""
        with torch.autocast(self.device.type, enabled=False):
            people = self.predictor(len(batch))([image.image for image in batch])
        assert isinstance(people, list)
        for image, poses in zip(batch, people, strict=True):
            self.seen.append(image.image_id)
            self.found += poses.to_coco(image.image_id)

    def on_validation_epoch_end(self) -> None:
        """Compute average precision from the images of all processes, each image once, and log it."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, PoseData)
        assert data.evaluation_set is not None
        found, seen = _gather(self.found, self.seen)
        found = [person | {"category_id": data.evaluation_set.category_id} for person in found]
        truth = data.evaluation_set.ground_truth(seen)
        figures = metrics.evaluate(found, truth, skeleton=self.network.skeleton)
        prefix = "test" if self.trainer.testing else "val"
        self.log_dict({f"{prefix}/{name}": value for name, value in figures.items()})
        if not self.channels_last:
            self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint what the network is, so that `load_model` and `convert` take it."""
        checkpoint["bottomup"] = describe(self.network)


def _module(network: torch.nn.Module, name: str) -> torch.nn.Module:
    """A part of the network by its dotted name.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        known = ", ".join(
            f"{part}.{child}" for part in ("trunk", "head") for child, _ in network.get_submodule(part).named_children()
        )
        raise ValueError(f"the network has no {name!r} to freeze; it has {known}") from error


def _layout(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def _gather(found: list[dict[str, Any]], seen: list[int]) -> tuple[list[dict[str, Any]], set[int]]:
    """People and images of all processes; an image that several have seen counts once."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return found, set(seen)
    everything: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everything, (found, seen))
    people: list[dict[str, Any]] = []
    images: set[int] = set()
    for their_people, their_images in everything:
        new = set(their_images) - images
        people += [person for person in their_people if person["image_id"] in new]
        images |= new
    return people, images
