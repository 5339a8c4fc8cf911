"""What every training here has in common: optimiser, step, evaluation of what was found, checkpoint."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from bottomup.data.loader import ResumableLoader
from bottomup.data.samples import Batch
from bottomup.skeleton import Skeleton
from bottomup.weights.description import describe


class Estimator(LightningModule):
    """A network, its losses, and how they are brought down; subclasses say how it is validated.

    No setting is stored in checkpoints, so those of the config and the command line always hold.

    Args:
        network: what is trained.
        criterion: from the network's outputs, keypoints and mask to named losses.
        optimizer: makes the optimiser.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        channels_last: keep pixels' channels together in memory.
        frozen: modules of the network that are not trained, by their dotted names.

    Attributes:
        run: what a training step calls in place of the network.
        found: COCO results of the evaluation that is going on.
        seen: ids of the images that it has looked at.
    """

    network: Any

    def __init__(
        self,
        network: nn.Module,
        criterion: Callable[..., dict[str, Tensor]],
        *,
        optimizer: Callable[[Iterable], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None,
        schedule_interval: Literal["epoch", "step"],
        channels_last: bool,
        frozen: Sequence[str],
    ):
        super().__init__()
        for name in frozen:
            _module(network, name).requires_grad_(False)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.criterion = criterion
        self.optimizer, self.schedule, self.schedule_interval = (
            optimizer,
            schedule,
            schedule_interval,
        )
        self.run: Callable[..., Any] = network.forward
        self.found: list[dict[str, Any]] = []
        self.seen: list[int] = []
        self._previous: tuple[Tensor, int] | None = None

    def take_skeleton(self, skeleton: Skeleton) -> None:
        """Check that data and network speak of the same joints; tolerances and limbs are then those of the data.

        Raises:
            ValueError: they do not.
        """
        if skeleton.keypoints != self.network.skeleton.keypoints:
            raise ValueError(
                f"the data have the joints {', '.join(skeleton.keypoints)}, the network "
                f"{', '.join(self.network.skeleton.keypoints)}: set model.network.skeleton to the annotation file"
            )
        self.network.skeleton = skeleton

    def configure_optimizers(self) -> Any:
        """The optimiser and, if there is one, the schedule."""
        optimizer = self.optimizer(
            [weight for weight in self.network.parameters() if weight.requires_grad]
        )
        if self.schedule is None:
            return optimizer
        scheduler = {"scheduler": self.schedule(optimizer), "interval": self.schedule_interval}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The sum of the losses of a batch; each is logged.

        Raises:
            FloatingPointError: the sum is not finite; the message names the images.
        """
        outputs = self.run(batch.image.contiguous(memory_format=self.layout))
        losses = self.criterion(outputs, batch.keypoints, batch.mask)
        total = torch.stack(list(losses.values())).sum()
        self._stop_unless_finite(total.detach(), batch_idx)
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in losses.items()},
            batch_size=len(batch.image),
        )
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch.image))
        return total

    def _stop_unless_finite(self, total: Tensor, batch_idx: int) -> None:
        """On a GPU the previous step's loss is looked at, which is there by now: nothing waits for it."""
        previous, self._previous = self._previous, (total, batch_idx)
        value, number = (
            (total, batch_idx) if total.device.type == "cpu" else previous or (torch.zeros(()), 0)
        )
        if torch.isfinite(value):
            return
        loader = self.trainer.train_dataloader
        names = (
            loader.names(number)
            if isinstance(loader, ResumableLoader) and number <= batch_idx
            else []
        )
        images = "\n  ".join(names) or "unknown"
        raise FloatingPointError(
            f"the loss is {value.item()} in epoch {self.current_epoch}, batch {number}; its images:\n  {images}\n"
            "look at their annotations, or lower the learning rate"
        )

    def on_validation_epoch_start(self) -> None:
        """Get ready to find people with the weights as they are (averaged ones, if they are averaged)."""
        self.found, self.seen = [], []

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the images of all processes, each image once."""
        evaluation_set = self.trainer.datamodule.evaluation_set  # type: ignore[attr-defined]
        found, seen = _gather(self.found, self.seen)
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
        """Say in the checkpoint what the network is, so that it can be loaded from it alone."""
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
            f"{part}.{child}"
            for part in ("trunk", "head")
            for child, _ in network.get_submodule(part).named_children()
        )
        raise ValueError(f"the network has no {name!r} to freeze; it has {known}") from error


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
