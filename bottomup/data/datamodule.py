"""Data for training and validation, as configs name it: annotated photos, or drawn crowds."""

from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from bottomup.data.augment import Augment
from bottomup.data.coco import Annotations, read_annotations
from bottomup.data.evaluation_sets import (
    DrawnEvaluation,
    EvaluationImage,
    EvaluationSet,
    PhotoEvaluation,
)
from bottomup.data.loader import EpochSampler, ResumableLoader
from bottomup.data.scenes.crowd import Crowd
from bottomup.data.training_sets import DrawnTraining, PhotoTraining, Together, TrainingSet
from bottomup.skeleton import Skeleton


class PoseData(LightningDataModule):
    """Loaders over a training set and a set to evaluate on; the two kinds of data below fill them in.

    Args:
        batch_size: training images per step and process.
        num_workers: processes that make samples.
        seed: of the order of the images and of all augmentation.
        eval_batch_size: images that validation hands to the network together, where their sizes
            allow it.
    """

    def __init__(self, batch_size: int, num_workers: int, seed: int, eval_batch_size: int):
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.eval_batch_size = eval_batch_size
        self.training_set: TrainingSet | None = None
        self.evaluation_set: EvaluationSet | None = None

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the data.

        Raises:
            ValueError: `setup` has not been called, or there is no data at all.
        """
        data = self.training_set or self.evaluation_set
        if data is None:
            raise ValueError("there are no data: set them up first")
        return data.skeleton

    def train_dataloader(self) -> ResumableLoader:
        """Batches of image, keypoints and mask; in distributed training, this process's share."""
        assert self.training_set is not None
        rank, num_ranks = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        sampler = EpochSampler(
            len(self.training_set), self.batch_size, seed=self.seed, rank=rank, num_ranks=num_ranks
        )
        return ResumableLoader(
            self.training_set,
            sampler,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[EvaluationImage] | list[DataLoader[EvaluationImage]]:
        """Lists of images of this process's share, equally many in all processes; no loader where there is no set."""
        if self.evaluation_set is None:
            return []
        rank, num_ranks = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        total = len(self.evaluation_set)
        per_rank = -(
            -total // num_ranks
        )  # all ranks take equally many steps: the first images come twice
        mine = [(rank + num_ranks * i) % total for i in range(per_rank)]
        return DataLoader(
            self.evaluation_set,  # type: ignore[arg-type]  # any sequence will do
            batch_size=self.eval_batch_size,
            sampler=mine,
            num_workers=min(self.num_workers, 2),
            collate_fn=list,
        )

    def test_dataloader(self) -> DataLoader[EvaluationImage] | list[DataLoader[EvaluationImage]]:
        """The same images as validation."""
        return self.val_dataloader()

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move training batches; images to evaluate stay on the host, where they are resized."""
        if isinstance(batch, list):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)


class PhotoData(PoseData):
    """Annotated photos: COCO, CrowdPose, or any file in their format with joints of its own.

    Args:
        train_annotations: JSON file of the training photos; None where there is nothing to train.
        train_images: folder of the training photos.
        val_annotations: JSON file of the photos to validate and test on; None for no validation.
        val_images: folder of these photos.
        missing: "error" or "skip": what to do about photos that are not there; both list them.
        augment: how photos become training samples.
        copy_paste: how likely people of another photo are pasted in.
        empty_images: also learn from photos without labelled people.
        sigmas: OKS tolerances of the joints, where their names are not COCO's or CrowdPose's
            (default 0.05 each).
        batch_size: training images per step and process.
        num_workers: processes that make samples.
        seed: of the order of the images and of all augmentation.
        eval_batch_size: images that validation hands to the network together, where their sizes
            allow it.
        drawn_images: drawn crowds to mix in, this many per epoch.
        crowd: how hard the drawn crowds are.
    """

    def __init__(
        self,
        train_annotations: str | None = None,
        train_images: str | None = None,
        val_annotations: str | None = None,
        val_images: str | None = None,
        *,
        missing: Literal["error", "skip"] = "error",
        augment: Augment = Augment(),  # noqa: B008  frozen
        copy_paste: float = 0.0,
        empty_images: bool = False,
        sigmas: list[float] | None = None,
        batch_size: int = 12,
        num_workers: int = 4,
        seed: int = 0,
        eval_batch_size: int = 8,
        drawn_images: int = 0,
        crowd: Crowd = Crowd(),  # noqa: B008  frozen
    ):
        super().__init__(batch_size, num_workers, seed, eval_batch_size)
        self.train_files = (train_annotations, train_images)
        self.val_files = (val_annotations, val_images)
        self.missing, self.sigmas = missing, tuple(sigmas) if sigmas else None
        self.augment, self.copy_paste, self.empty_images = augment, copy_paste, empty_images
        self.drawn_images, self.crowd = drawn_images, crowd

    def setup(self, stage: str) -> None:
        """Read and check the annotation files.

        Raises:
            ValueError: a file is wrong, or there is nothing in it.
            FileNotFoundError: a file is not there.
        """
        if self.evaluation_set is None and (stage != "fit" or self.val_files != (None, None)):
            annotations = self._read("val", *self.val_files)
            if not annotations.records:
                raise ValueError(f"the validation set {annotations.path} has no images")
            self.evaluation_set = PhotoEvaluation(annotations)
        if stage == "fit" and self.training_set is None:
            photos = PhotoTraining(
                self._read("train", *self.train_files),
                self.augment,
                self.seed,
                self.copy_paste,
                self.empty_images,
            )
            if len(photos) == 0:
                raise ValueError(
                    f"the training set {self.train_files[0]} has no images with labelled people"
                )
            self.training_set = photos
            if self.drawn_images:
                drawn = DrawnTraining(self.crowd, self.drawn_images, self.augment, self.seed)
                self.training_set = Together((photos, drawn), (1, 1))

    def _read(self, kind: str, annotations: str | None, images: str | None) -> Annotations:
        if annotations is None or images is None:
            raise ValueError(f"pass --data.{kind}_annotations FILE and --data.{kind}_images DIR")
        return read_annotations(annotations, images, missing=self.missing, sigmas=self.sigmas)


class DrawnData(PoseData):
    """Drawn crowds with exact labels: nothing to download.

    Args:
        crowd: how hard the images are, in training and validation alike.
        train_length: images of an epoch; every epoch has new ones.
        repeat: epochs in which the same drawings come again.
        augment: further augmentation of the drawings; None takes them as they are.
        val_length: images to validate and test on, always the same ones.
        val_seed: of these images.
        batch_size: training images per step and process.
        num_workers: processes that make samples.
        seed: of the training images and their order.
        eval_batch_size: images that validation hands to the network together.
    """

    def __init__(
        self,
        crowd: Crowd = Crowd(),  # noqa: B008  frozen
        *,
        train_length: int = 2000,
        repeat: int = 1,
        augment: Augment | None = None,
        val_length: int = 200,
        val_seed: int = 0,
        batch_size: int = 8,
        num_workers: int = 1,
        seed: int = 0,
        eval_batch_size: int = 8,
    ):
        super().__init__(batch_size, num_workers, seed, eval_batch_size)
        self.crowd, self.train_length, self.repeat, self.augment = (
            crowd,
            train_length,
            repeat,
            augment,
        )
        self.val_length, self.val_seed = val_length, val_seed

    def setup(self, stage: str) -> None:
        """Make the two sets; images are drawn when they are asked for.

        Raises:
            ValueError: there is nothing to validate on.
        """
        if self.val_length < 1:
            raise ValueError(f"the validation set has no images: val_length is {self.val_length}")
        if self.evaluation_set is None:
            self.evaluation_set = DrawnEvaluation(self.crowd, self.val_length, self.val_seed)
        if stage == "fit" and self.training_set is None:
            self.training_set = DrawnTraining(
                self.crowd, self.train_length, self.augment, self.seed, self.repeat
            )
