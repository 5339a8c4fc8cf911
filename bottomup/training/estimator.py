"""Training a network: what Lightning has to know about the method, and nothing else."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from bottomup.data.datamodule import PoseData
from bottomup.data.loader import ResumableLoader
from bottomup.data.samples import Batch, EvaluationImage
from bottomup.evaluation import keypoints
from bottomup.inference.predictor import Predictor
from bottomup.method.grouping import RULES, Grouper
from bottomup.method.losses import Criterion
from bottomup.method.voting_losses import VotingCriterion
from bottomup.models.network import Network
from bottomup.models.pose_net import PoseNet
from bottomup.skeleton import Skeleton
from bottomup.weights.description import describe


class Estimator(LightningModule):
    """A network, its losses, and how they are minimised; subclasses say how it is validated.

    No setting is stored in checkpoints, so those of the config and the command line always hold.

    Args:
        network: what is trained.
        criterion: from outputs, keypoints and mask to unweighted named losses.
        weights: of each loss in the total, by name.
        optimizer: makes the optimiser.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        frozen: modules of the network that are not trained, by their dotted names.

    Attributes:
        found: COCO results of the validation so far.
        seen: ids of the images validated so far.
    """

    network: Any

    def __init__(
        self,
        network: Network,
        criterion: Callable[..., dict[str, Tensor]],
        weights: dict[str, float],
        *,
        optimizer: Callable[[Iterable], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None,
        schedule_interval: Literal["epoch", "step"],
        frozen: Sequence[str],
    ):
        super().__init__()
        for name in frozen:
            _submodule(network, name).requires_grad_(False)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion, self.weights = criterion, weights
        self.optimizer, self.schedule = optimizer, schedule
        self.schedule_interval = schedule_interval
        self.found: list[dict[str, Any]] = []
        self.seen: list[int] = []
        self._watch = LossWatch()

    def take_skeleton(self, skeleton: Skeleton) -> None:
        """Check that data and network have the same joints; sigmas and limbs are then the data's.

        Raises:
            ValueError: the joints differ.
        """
        if skeleton.keypoints != self.network.skeleton.keypoints:
            raise ValueError(
                f"the data have the joints {', '.join(skeleton.keypoints)}, the network "
                f"{', '.join(self.network.skeleton.keypoints)}: "
                "set model.network.skeleton to the annotation file"
            )
        self.network.skeleton = skeleton

    def configure_optimizers(self) -> Any:
        """The optimiser and, if there is one, the schedule."""
        optimizer = self.optimizer([w for w in self.network.parameters() if w.requires_grad])
        if self.schedule is None:
            return optimizer
        scheduler = {"scheduler": self.schedule(optimizer), "interval": self.schedule_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The weighted sum of the losses of a batch. Each loss is logged, with and without weight.

        Raises:
            FloatingPointError: the sum is not finite; the message names the images.
        """
        outputs = self.network(batch.image.contiguous(memory_format=torch.channels_last))
        losses = self.criterion(outputs, batch.keypoints, batch.mask)
        weighted = {name: self.weights[name] * loss for name, loss in losses.items()}
        total = torch.stack(list(weighted.values())).sum()
        self._stop_unless_finite(total.detach(), batch_idx)
        logged = {f"train/{name}": loss.detach() for name, loss in losses.items()}
        logged |= {f"train/weighted_{name}": loss.detach() for name, loss in weighted.items()}
        self.log_dict(logged, batch_size=len(batch.image))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch.image))
        return total

    def _stop_unless_finite(self, total: Tensor, batch_idx: int) -> None:
        failed = self._watch(total, batch_idx, is_delayed=total.device.type != "cpu")
        if failed is None:
            return
        value, number = failed
        loader, names = self.trainer.train_dataloader, ["unknown"]
        if isinstance(loader, ResumableLoader) and number <= batch_idx:  # of this epoch
            names = loader.names(number)
        images = "\n  ".join(names)
        raise FloatingPointError(
            f"the loss is {value} in epoch {self.current_epoch}, batch {number}; "
            f"its images:\n  {images}\nlook at their annotations, or lower the learning rate"
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the results of the validation before."""
        self.found, self.seen = [], []

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the images of all processes, each image once."""
        evaluation_set = self.trainer.datamodule.evaluation_set  # type: ignore[attr-defined]
        found, seen = join_processes(self.found, self.seen)
        found = [person | {"category_id": evaluation_set.category_id} for person in found]
        figures = self.evaluate(found, evaluation_set.ground_truth(seen))
        prefix = "test" if self.trainer.testing else "val"
        self.log_dict({f"{prefix}/{name}": value for name, value in figures.items()})

    def evaluate(self, found: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
        """Figures of COCO results, by name.

        Args:
            found: on some images.
            truth: COCO annotations of those images.
        """
        raise NotImplementedError

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """As in validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """As in validation."""
        self.on_validation_epoch_end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the network in the checkpoint, so that it can be loaded from it alone."""
        checkpoint["bottomup"] = describe(self.network)


class PoseEstimator(Estimator):
    """A network that finds everybody, its criterion, and how its people are read in validation.

    Args:
        network: what is trained.
        criterion: the losses and their weights, those of the network's kind of head.
        optimizer: makes the optimiser.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        mode: of decoding at validation, "robust" or "official".
        scales: of each image at validation.
        flip: whether validation also takes each image mirrored.
        detection_threshold: smallest peak that is a joint at validation.
        tag_threshold: largest distance of tags within a person.
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
        freeze_norm: bool = False,
        frozen: Sequence[str] = (),
    ):
        compute: Callable[..., dict[str, Tensor]] = criterion
        if isinstance(criterion, Criterion):  # some of its losses depend on the network
            compute = functools.partial(
                criterion,
                offset=network.preprocessing.offset,
                tag_anchor=getattr(network.head, "tag_anchor", 0.0),
            )
        super().__init__(
            network,
            compute,
            criterion.weights,
            optimizer=optimizer,
            schedule=schedule,
            schedule_interval=schedule_interval,
            frozen=frozen,
        )
        self.mode: Literal["robust", "official"] = mode
        self.scales, self.flip, self.freeze_norm = scales, flip, freeze_norm
        self.grouper = Grouper(
            rules=RULES[mode],
            detection_threshold=detection_threshold,
            tag_threshold=tag_threshold,
            skeleton=network.skeleton,
        )

    def setup(self, stage: str) -> None:
        """Take the joints of the data.

        Raises:
            ValueError: the network has other ones.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, PoseData):
            self.take_skeleton(data.skeleton)
            self.grouper = dataclasses.replace(self.grouper, skeleton=data.skeleton)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Check the size of the images, and keep batch norm as it is if asked to.

        Raises:
            ValueError: the network does not take images of this size.
        """
        height, width = batch.image.shape[2:]
        multiple = self.network.preprocessing.multiple
        if height % multiple or width % multiple:
            raise ValueError(
                f"training images of {width} x {height} pixels do not fit the network: "
                "set data.augment.size (of drawn images data.crowd.width and height) to multiples "
                f"of {multiple}"
            )
        if self.freeze_norm:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
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
        return keypoints.evaluate(found, truth, skeleton=self.network.skeleton)

    def predictor(self, batch_size: int) -> Predictor:
        """A predictor with the network as it is now and the settings of validation."""
        return Predictor(
            self.network,
            device=self.device,
            mode=self.mode,
            scales=self.scales,
            flip=self.flip,
            batch_size=batch_size,
            grouper=self.grouper,
        )


class LossWatch:
    """Notices a loss that is not finite, without making a GPU wait for its value."""

    def __init__(self) -> None:
        self._before: tuple[Tensor, int] | None = None

    def __call__(self, total: Tensor, number: int, *, is_delayed: bool) -> tuple[float, int] | None:
        """The value and batch of a loss that is not finite; None if there is none.

        Args:
            total: the loss of a batch.
            number: of the batch.
            is_delayed: look at the loss of the batch before, which the device has by now.
        """
        before, self._before = self._before, (total, number)
        looked_at = before if is_delayed else self._before
        if looked_at is None or torch.isfinite(looked_at[0]):
            return None
        return looked_at[0].item(), looked_at[1]


def _submodule(network: nn.Module, name: str) -> nn.Module:
    """A part of the network by its dotted name.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        known = [
            f"{part}.{child}"
            for part in ("trunk", "head")
            for child, _ in network.get_submodule(part).named_children()
        ]
        raise ValueError(
            f"the network has no {name!r} to freeze; it has {', '.join(known)}"
        ) from error


def join_processes(
    found: list[dict[str, Any]], seen: list[int]
) -> tuple[list[dict[str, Any]], set[int]]:
    """Results and images of all processes; an image that several have seen counts once."""
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
