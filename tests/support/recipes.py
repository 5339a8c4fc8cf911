"""Recipes as they ship, over drawn people: estimator, optimiser and one fixed batch."""

from typing import Any

import torch
import yaml
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LightningArgumentParser

from bottomup.cli.configs import recipes
from bottomup.data.datamodule import PoseData
from bottomup.data.samples import Batch
from bottomup.training.estimator import Estimator

NUM_DRAWN = 16  # images or crops in an epoch


def make_recipe(name: str, **network: Any) -> tuple[Estimator, PoseData]:
    """The estimator of a recipe, and its data with drawings in place of photos, at most 8 a batch.

    Args:
        name: of the recipe.
        network: arguments of the network that differ from the recipe's.
    """
    settings = yaml.safe_load(recipes()[name].read_text())
    model, data = settings["model"], settings["data"]
    if "class_path" not in model:
        model = {"class_path": "bottomup.training.PoseEstimator", "init_args": model}
    model["init_args"]["network"]["init_args"] |= network
    arguments = data["init_args"]
    for key in ("train_annotations", "train_images", "val_annotations", "val_images"):
        arguments.pop(key, None)
    if not data["class_path"].endswith("DrawnData"):
        arguments["drawn_crops" if "CropData" in data["class_path"] else "drawn_images"] = NUM_DRAWN
        arguments["batch_size"] = min(arguments["batch_size"], 8)
    arguments["num_workers"] = 0

    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(PoseData, "data", subclass_mode=True)
    made = parser.instantiate_classes(parser.parse_object({"model": model, "data": data}))
    made.data.setup("fit")
    return made.model.train(), made.data


def total_loss(estimator: Estimator, batch: Batch) -> torch.Tensor:
    """The weighted sum of the losses, as a training step computes it."""
    outputs = estimator.network(batch.image.contiguous(memory_format=torch.channels_last))
    losses = estimator.criterion(outputs, batch.keypoints, batch.mask, batch.boxes)
    return torch.stack([estimator.weights[name] * loss for name, loss in losses.items()]).sum()
