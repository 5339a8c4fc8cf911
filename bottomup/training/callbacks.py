"""Callbacks of training: averaged weights, and images of the network's predictions."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from bottomup.geometry import Transform
from bottomup.images.drawing import draw
from bottomup.method.aggregation import Maps, combine
from bottomup.models.heads import resize_tags
from bottomup.training.estimator import PoseEstimator

Image = UInt8[np.ndarray, "H W 3"]


class AveragedWeights(WeightAveraging):
    """Exponential moving average of the weights, for validation and checkpoints.

    Args:
        decay: see `moving_average`.
    """

    def __init__(self, decay: float = 0.999):
        super().__init__(avg_fn=functools.partial(moving_average, decay=decay))
        self._is_swapped = False  # whether the network holds the average
        self._last: dict[str, Tensor] | None = None  # the weights after the last step

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        """Start a new average for every training."""
        # the average is a copy of the module, and what makes the optimiser may not be copied
        recipe = pl_module.optimizer, pl_module.schedule
        pl_module.optimizer = pl_module.schedule = None  # type: ignore[assignment]
        super().setup(trainer, pl_module, stage)
        pl_module.optimizer, pl_module.schedule = recipe  # type: ignore[assignment]
        self._last = None if stage == "fit" else self._last

    def _swap_models(self, pl_module: LightningModule) -> None:
        super()._swap_models(pl_module)
        self._is_swapped = not self._is_swapped

    def on_train_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """Leave the average in the network; the last weights stay for checkpoints."""
        self._last = {name: tensor.clone() for name, tensor in pl_module.state_dict().items()}
        super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the weights, and what training goes on from beside them."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._last is not None:
            checkpoint["current_model_state"] = self._last
        elif self._is_swapped:
            average, current = checkpoint["current_model_state"], checkpoint["state_dict"]
            checkpoint |= {"state_dict": average, "current_model_state": current}


def moving_average(
    averaged: Tensor, current: Tensor, num_averaged: Tensor | int, *, decay: float
) -> Tensor:
    """One step of an exponential moving average, which is shorter while weights still change a lot.

    Args:
        averaged: the average so far.
        current: the new values.
        num_averaged: n, the number of steps so far.
        decay: the share of the average that stays at a step; at most (1 + n) / (10 + n).
    """
    count = torch.as_tensor(num_averaged, dtype=torch.float32)
    keep = ((1 + count) / (10 + count)).clamp(max=decay).to(averaged.device)
    return (current + (averaged - current) * keep).to(averaged.dtype)


class LogPictures(Callback):
    """Logs pictures of people, heatmaps and tags on a few images of the validation.

    They are made with the weights that are validated. They go to TensorBoard or any logger with
    `log_image`, else to files in the folder of the log.

    Args:
        num_images: the number of images.
        every_n_validations: 1 for every validation, 2 for every other one, and so on.
    """

    def __init__(self, num_images: int = 4, every_n_validations: int = 1):
        self.num_images, self.every_n_validations = num_images, every_n_validations
        self._count = 0

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and log after the first batch.

        At the end of the validation the averaged weights may no longer be in the network.
        """
        if batch_idx > 0 or trainer.sanity_checking:
            return
        self._count += 1
        folder = trainer.log_dir  # all processes must ask for it
        if not trainer.is_global_zero or (self._count - 1) % self.every_n_validations:
            return
        assert isinstance(pl_module, PoseEstimator)
        images = trainer.datamodule.evaluation_set  # type: ignore[attr-defined]
        chosen = (images[number] for number in range(min(self.num_images, len(images))))
        for number, one in enumerate(chosen):
            if one is None:  # a broken photo
                continue
            log_picture(
                trainer.loggers,
                f"image_{number}",
                picture_of(pl_module, one.image),
                step=trainer.global_step,
                folder=folder,
            )


def picture_of(estimator: PoseEstimator, image: Image) -> UInt8[np.ndarray, "h w 3"]:
    """Three pictures side by side: people, heatmaps and tags.

    Each pixel shows the joint whose heatmap is the highest there: how high it is, and its tag.
    """
    poses = estimator.predictor(1)(image)
    network = estimator.network

    # the maps of the image at one scale
    wanted = network.preprocessing
    image_wh = (image.shape[1], image.shape[0])
    transform = Transform.fit(image_wh, wanted.size, side=wanted.side, multiple=wanted.multiple)
    warped = transform.warp(image)
    with torch.inference_mode(), torch.autocast(estimator.device.type, enabled=False):
        images = torch.from_numpy(warped.transpose(2, 0, 1))[None].to(estimator.device)
        maps = combine(network.read(network(images)))

    # all in the size of the network's input
    height, width = warped.shape[:2]
    panels = [cv2.resize(panel, (width, height)) for panel in (_heat(maps), _tag_colours(maps))]
    people = transform.warp(draw(image, poses))  # type: ignore[arg-type]
    return np.concatenate(
        [people, *(cv2.addWeighted(warped, 0.3, panel, 0.7, 0) for panel in panels)], axis=1
    )


def _heat(maps: Maps) -> Image:
    """The highest heatmap at every cell, as colour."""
    strongest = maps.heatmaps[0].amax(0).clamp(0, 1).float().cpu().numpy()
    return cv2.cvtColor(
        cv2.applyColorMap((strongest * 255).astype(np.uint8), cv2.COLORMAP_INFERNO),
        cv2.COLOR_BGR2RGB,
    )


def _tag_colours(maps: Maps) -> Image:
    """The first tag dimension as hue, the highest heatmap as brightness."""
    strength, joint = maps.heatmaps[0].max(0)
    all_tags = resize_tags(maps.tags, maps.heatmaps.shape[2:])
    tags: Float[Tensor, "H W"] = all_tags[0, ..., 0].gather(0, joint[None])[0]

    # the hues span the tags of joints
    is_joint = strength > 0.1
    shown = tags[is_joint] if bool(is_joint.any()) else tags
    low, high = shown.amin(), shown.amax()
    hue = ((tags - low) / (high - low).clamp(min=1e-6) * 160).clamp(0, 160)
    planes: Any = [hue, torch.full_like(hue, 255), strength.clamp(0, 1) * 255]
    return cv2.cvtColor(torch.stack(planes, -1).byte().cpu().numpy(), cv2.COLOR_HSV2RGB)


def log_picture(
    loggers: Sequence[Any],
    name: str,
    picture: UInt8[np.ndarray, "h w 3"],
    *,
    step: int,
    folder: str | None,
) -> None:
    """Log a picture to TensorBoard, to a logger with `log_image`, or else to a file.

    Args:
        loggers: of the trainer.
        name: of the picture.
        picture: RGB.
        step: of the training.
        folder: for the files; None writes none.
    """
    for logger in loggers:
        board = getattr(logger, "experiment", None)
        if hasattr(board, "add_image"):
            board.add_image(name, picture, step, dataformats="HWC")  # type: ignore[union-attr]
        elif hasattr(logger, "log_image"):
            logger.log_image(name, [picture], step=step)
        elif folder is not None:
            path = Path(folder) / "pictures" / f"{name}_step{step:07}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture[..., ::-1])
