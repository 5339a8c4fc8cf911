"""Lightning modules: the training step, the validation and the optimiser of a network."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
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
from bottomup.training.loss_watch import LossWatch
from bottomup.training.parameters import check_names, freeze, make_optimizer
from bottomup.weights.description import describe


class Estimator(LightningModule):
    """A network, its losses and its optimiser; subclasses define `validation_step` and `evaluate`.

    Checkpoints store no settings, so the recipe and the command line alone define them.

    Args:
        network: the network to train.
        criterion: computes unweighted named losses from outputs, keypoints, mask and boxes.
        weights: the weight of each loss in the total, by name.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        frozen: modules of the network that are not trained, by their dotted names.
        rates: of modules by their dotted names, as multiples of the optimiser's learning rate. Of a
            module within another, the inner one's counts.

    Attributes:
        found: COCO results of the images that this process has validated in this epoch.
        seen: ids of these images.

    Raises:
        ValueError: the network has no module of a name in `frozen` or `rates`.
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
        rates: Mapping[str, float] | None = None,
    ):
        super().__init__()
        freeze(network, frozen)
        self.frozen = tuple(frozen)
        check_names(network, rates or {})
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion, self.weights = criterion, weights
        self.optimizer, self.schedule = optimizer, schedule
        self.schedule_interval, self.rates = schedule_interval, rates or {}
        self.found: list[dict[str, Any]] = []
        self.seen: list[int] = []
        self._watch = LossWatch()

    def take_skeleton(self, skeleton: Skeleton) -> None:
        """Give the network the skeleton of the data, with its sigmas and limbs.

        Raises:
            ValueError: the joints of data and network differ.
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
        optimizer = make_optimizer(self.optimizer, self.network, self.rates)
        if self.schedule is None:
            return optimizer
        scheduler = {"scheduler": self.schedule(optimizer), "interval": self.schedule_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Keep the statistics of frozen modules, as their batch norms have them."""
        for name in self.frozen:
            self.network.get_submodule(name).eval()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the weighted sum of the losses in float32; log each, unweighted and weighted.

        Raises:
            FloatingPointError: the sum is not finite (on a GPU: that of the previous batch); the
                message names the images.
        """
        outputs = self.network(batch.image.contiguous(memory_format=torch.channels_last))
        with torch.autocast(self.device.type, enabled=False):
            losses = self.criterion(outputs, batch.keypoints, batch.mask, batch.boxes)
        weighted = {name: self.weights[name] * loss for name, loss in losses.items()}
        total = torch.stack(list(weighted.values())).sum()
        failed = self._watch(total.detach(), batch_idx, is_delayed=total.device.type != "cpu")
        self._stop_unless_finite(failed)
        logged = {f"train/{name}": loss.detach() for name, loss in losses.items()}
        logged |= {f"train/weighted_{name}": loss.detach() for name, loss in weighted.items()}
        self.log_dict(logged, batch_size=len(batch.image))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch.image))
        return total

    def _stop_unless_finite(self, failed: tuple[float, int] | None) -> None:
        if failed is None:
            return
        value, number = failed
        loader = self.trainer.train_dataloader
        names = loader.names(number) if isinstance(loader, ResumableLoader) else ["unknown"]
        images = "\n  ".join(names)
        raise FloatingPointError(
            f"the loss is {value} in epoch {self.current_epoch}, batch {number}; "
            f"its images:\n  {images}\nlook at their annotations, or lower the learning rate"
        )

    def on_train_epoch_start(self) -> None:
        """Let the last epoch end with a validation, whatever the interval between them is."""
        trainer = self.trainer
        is_last = trainer.should_stop or self.current_epoch + 1 == trainer.max_epochs
        if is_last and trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1

    on_train_start = on_train_epoch_start  # where a training goes on within an epoch

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """The same for the last step, also amid an epoch."""
        is_end = self.trainer.is_last_batch and self.current_epoch + 1 == self.trainer.max_epochs
        self.trainer.should_stop |= is_end or self.trainer.global_step == self.trainer.max_steps
        if self.trainer.should_stop:
            self.on_train_epoch_start()

    def on_train_epoch_end(self) -> None:
        """Check the last loss of the epoch, of which no later batch is in time."""
        self._stop_unless_finite(self._watch.last())

    def on_validation_epoch_start(self) -> None:
        """Discard the results of the previous validation."""
        self.found, self.seen = [], []

    def on_validation_epoch_end(self) -> None:
        """Evaluate the results of all processes, and log the figures."""
        evaluation_set = self.trainer.datamodule.evaluation_set  # type: ignore[attr-defined]
        found, seen = join_processes(self.found, self.seen)
        found = [person | {"category_id": evaluation_set.category_id} for person in found]
        figures = self.evaluate(found, evaluation_set.ground_truth(seen))
        prefix = "test" if self.trainer.testing else "val"
        for name, value in figures.items():
            # NaN: nobody to find. Callbacks that monitor it need it; loggers complain about it.
            self.log(f"{prefix}/{name}", value, logger=not math.isnan(value), prog_bar=name == "AP")

    def evaluate(self, found: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
        """Compute figures such as AP, by name.

        Args:
            found: COCO results on some images.
            truth: COCO annotations of these images.
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
        """Store a description of the network, so that `load_model` needs only the checkpoint.

        Raises:
            FloatingPointError: the last loss is not finite.
        """
        self._stop_unless_finite(self._watch.last())
        checkpoint["bottomup"] = describe(self.network)


class PoseEstimator(Estimator):
    """A bottom-up network, its criterion, and the settings of its validation.

    Args:
        network: the network to train.
        criterion: the losses and their weights: `VotingCriterion` for `CenterVotingHead`, otherwise
            `Criterion`.
        optimizer: makes the optimiser from the parameters.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        mode: of grouping at validation, "robust" or "official".
        scales: of each image at validation.
        flip: whether to use a flip test at validation.
        detection_threshold: a peak must exceed it to be a joint at validation.
        tag_threshold: limit of the distance of a joint's tag from the person's mean, at validation.
        freeze_norm: use and keep the statistics of batch norm, for training with small batches.
        frozen: modules of the network that are not trained, such as "trunk.stem", which also makes
            training steps faster.
        rates: of modules by their dotted names, as multiples of the optimiser's learning rate, such
            as {"trunk": 0.1}. Of a module within another, the inner one's counts.

    Raises:
        ValueError: the network has no module of a name in `frozen` or `rates`.
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
        rates: Mapping[str, float] | None = None,
    ):
        # the criterion also needs facts about the network
        facts = {"offset": network.preprocessing.offset}
        if isinstance(criterion, Criterion):
            facts["tag_anchor"] = getattr(network.head, "tag_anchor", 0.0)
        super().__init__(
            network,
            functools.partial(criterion, **facts),
            criterion.weights,
            optimizer=optimizer,
            schedule=schedule,
            schedule_interval=schedule_interval,
            frozen=frozen,
            rates=rates,
        )
        self.mode: Literal["robust", "official"] = mode
        self.scales, self.flip, self.freeze_norm = scales, flip, freeze_norm
        self.grouper = Grouper(
            rules=RULES[mode],
            detection_threshold=detection_threshold,
            tag_threshold=tag_threshold,
            lower_small=network.lower_small,
            skeleton=network.skeleton,
        )

    def setup(self, stage: str) -> None:
        """Use the skeleton of the data.

        Raises:
            ValueError: the network has other joints.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, PoseData):
            self.take_skeleton(data.skeleton)
            self.grouper = dataclasses.replace(self.grouper, skeleton=data.skeleton)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Check the size of the images; all batch norms stay as they are with `freeze_norm`.

        Raises:
            ValueError: height or width is not a multiple of `preprocessing.multiple`.
        """
        super().on_train_batch_start(batch, batch_idx)
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
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def validation_step(self, batch: list[EvaluationImage], batch_idx: int) -> None:
        """Find the people of some images in float32, with the same code as prediction."""
        if not batch:  # all of its photos are left out
            return
        with torch.autocast(self.device.type, enabled=False):
            people = self.predictor(len(batch))([image.image for image in batch])
        assert isinstance(people, list)
        for image, poses in zip(batch, people, strict=True):
            self.seen.append(image.image_id)
            self.found += poses.to_coco(image.image_id)

    def evaluate(self, found: list[dict[str, Any]], truth: dict[str, Any]) -> dict[str, float]:
        """Average precision of people; `AP_visible` is that over visible joints alone."""
        figures, visible = (
            keypoints.evaluate(found, people, skeleton=self.network.skeleton)
            for people in (truth, keypoints.only_visible(truth))
        )
        return figures | {"AP_visible": visible["AP"]}

    def predictor(self, batch_size: int) -> Predictor:
        """A predictor with the network as it is now and the settings of validation."""
        return Predictor(
            self.network,
            device=self.device,
            mode=self.mode,
            size=self.network.preprocessing.size,  # fixed, so that figures can be compared
            scales=self.scales,
            flip=self.flip,
            backend="torch",  # the weights change, and a graph would be made at each validation
            precision="float32",
            batch_size=batch_size,
            grouper=self.grouper,
        )


def join_processes(
    found: list[dict[str, Any]], seen: list[int]
) -> tuple[list[dict[str, Any]], set[int]]:
    """Results and image ids of all processes; an image of several processes counts once."""
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
