"""Training the two parts of top-down methods: networks for one person in a crop, and detectors of people."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from bottomup import box_metrics, metrics
from bottomup.data.datamodule import PoseData
from bottomup.data.evaluation_sets import EvaluationImage
from bottomup.data.loader import ResumableLoader
from bottomup.data.sample import Batch
from bottomup.detectors import Boxes, CenterDetector
from bottomup.estimator import _gather, _module
from bottomup.models.description import describe
from bottomup.models.person_detector import DetectorNet
from bottomup.models.person_net import PersonNet
from bottomup.topdown import TopDownPredictor
from bottomup.topdown_losses import DetectorCriterion, PersonCriterion


class TopDownEstimator(LightningModule):
    """A network of a top-down method, what it is trained with, and how it is validated.

    A network for one person is validated on the annotated boxes, by the average precision of its people; a detector by
    that of its boxes. No setting is stored in checkpoints, so those of the config and the command line always hold.

    Args:
        network: what is trained.
        criterion: the losses, those of the network's kind; None takes that kind's with its defaults.
        optimizer: makes the optimiser.
        schedule: makes the learning rate schedule; None keeps the rate.
        schedule_interval: whether the schedule counts epochs or steps.
        frozen: modules of the network that are not trained, such as "trunk".
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
        super().__init__()
        fitting = PersonCriterion if isinstance(network, PersonNet) else DetectorCriterion
        if criterion is not None and not isinstance(criterion, fitting):
            raise ValueError(f"a {type(network).__name__} is trained with a {fitting.__name__}: set model.criterion")
        for name in frozen:
            _module(network, name).requires_grad_(False)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion: Any = criterion or fitting()
        self.optimizer, self.schedule, self.schedule_interval = optimizer, schedule, schedule_interval
        self.found: list[dict[str, Any]] = []
        self.seen: list[int] = []

    def setup(self, stage: str) -> None:
        """Check that data and network speak of the same joints.

        Raises:
            ValueError: they do not.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, PoseData) or not isinstance(self.network, PersonNet):
            return
        if data.skeleton.keypoints != self.network.skeleton.keypoints:
            raise ValueError(
                f"the data have the joints {', '.join(data.skeleton.keypoints)}, the network "
                f"{', '.join(self.network.skeleton.keypoints)}: set model.network.skeleton to the annotation file"
            )
        self.network.skeleton = data.skeleton

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
        output = self.network(batch.image.contiguous(memory_format=torch.channels_last))
        losses = self.criterion(output, batch.keypoints, batch.mask)
        total = torch.stack(list(losses.values())).sum()
        self._stop_unless_finite(total, batch_idx)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=len(batch.image))
        self.log("train/loss", total.detach(), prog_bar=True, batch_size=len(batch.image))
        return total

    def _stop_unless_finite(self, total: Tensor, batch_idx: int) -> None:
        if torch.isfinite(total.detach()):
            return
        loader = self.trainer.train_dataloader
        names = loader.names(batch_idx) if isinstance(loader, ResumableLoader) else []
        images = "\n  ".join(names) or "unknown"
        raise FloatingPointError(
            f"the loss is {total.item()} in epoch {self.current_epoch}, batch {batch_idx}; its images:\n  {images}\n"
            "look at their annotations, or lower the learning rate"
        )

    def on_validation_epoch_start(self) -> None:
        """Get ready to find people with the weights as they are (averaged ones, if they are averaged)."""
        self.found, self.seen = [], []

    def validation_step(self, batch: list[EvaluationImage], batch_idx: int) -> None:
        """Find the people of some images, in float32, exactly as prediction does."""
        with torch.autocast(self.device.type, enabled=False):
            for image in batch:
                self.seen.append(image.image_id)
                self.found += self._look(image)

    def _look(self, image: EvaluationImage) -> list[dict[str, Any]]:
        """COCO results of one image."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        category_id = data.evaluation_set.category_id
        if isinstance(self.network, DetectorNet):
            boxes = CenterDetector(self.network, device=self.device, min_score=0.02)(image.image)
            return box_metrics.to_coco(boxes.boxes, boxes.scores, image.image_id, category_id)
        truth = data.evaluation_set.ground_truth({image.image_id})["annotations"]
        corners = np.array([box_metrics.corners(person) for person in truth], np.float64).reshape(-1, 4)
        boxes = Boxes(corners, np.ones(len(corners))).within(image.image.shape[1], image.image.shape[0])
        poses = TopDownPredictor(self.network, _no_detector, device=self.device).look_at(image.image, boxes)
        return [person | {"category_id": category_id} for person in poses.to_coco(image.image_id)]

    def on_validation_epoch_end(self) -> None:
        """Compute average precision from the images of all processes, each image once, and log it."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        found, seen = _gather(self.found, self.seen)
        truth = data.evaluation_set.ground_truth(seen)
        if isinstance(self.network, DetectorNet):
            figures = box_metrics.evaluate(found, truth)
        else:
            figures = metrics.evaluate(found, truth, skeleton=self.network.skeleton)
        prefix = "test" if self.trainer.testing else "val"
        self.log_dict({f"{prefix}/{name}": value for name, value in figures.items()})

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint what the network is, so that `load_network` takes it."""
        checkpoint["bottomup"] = describe(self.network)


def _no_detector(image: np.ndarray, name: str, /) -> Boxes:
    """Stands where the annotated boxes make a detector needless."""
    raise AssertionError
