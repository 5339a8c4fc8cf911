"""Data for training and validation, as recipes name them: annotated photos, or drawn crowds."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule

from bottomup.data.augment import Augment
from bottomup.data.coco import Annotations, read_annotations
from bottomup.data.drawings import DrawnEvaluation, draw_samples
from bottomup.data.headers import Missing, check_headers
from bottomup.data.loader import EpochSampler, EvaluationLoader, ResumableLoader
from bottomup.data.photos import PastedPhotos, PhotoEvaluation, PhotoFiles, Photos
from bottomup.data.samples import Samples, Together
from bottomup.data.scenes.crowd import Crowd
from bottomup.skeleton import Skeleton

log = logging.getLogger(__name__)

EvaluationSet = PhotoEvaluation | DrawnEvaluation


class PoseData(LightningDataModule):
    """Loaders over a training set and an evaluation set, made of photos, drawings or both.

    Args:
        batch_size: training images per step and process.
        num_workers: the number of processes that make samples.
        seed: of the order of the images and of all augmentation.
        eval_batch_size: images that validation hands to the network together, where their sizes
            allow it.
        drawn: the training samples of drawings.
        train: annotation file and folder of the training photos; None each for no photos.
        val: the same for validation and test.
        missing: "error" or "skip": what to do about photos that do not exist or are broken.
        sigmas: OKS tolerances of the joints; None: see `Skeleton.from_category`.
        flip_pairs: pairs that change places in a mirror; None: see `Skeleton.from_category`.
        photo_samples: makes the training samples of photos.
        photo_turns: how often an epoch visits each sample of the photos.
        drawn_evaluation: what to validate on without photos; None: nothing.
    """

    train_options = (
        "--data.train_annotations FILE and --data.train_images DIR, or --data.drawn_images N"
    )

    def __init__(
        self,
        batch_size: int,
        num_workers: int,
        seed: int,
        eval_batch_size: int,
        *,
        drawn: Samples,
        train: tuple[str | None, str | None] = (None, None),
        val: tuple[str | None, str | None] = (None, None),
        missing: Missing = "error",
        sigmas: Sequence[float] | None = None,
        flip_pairs: Sequence[Sequence[int]] | None = None,
        photo_samples: Callable[[Annotations], Samples] | None = None,
        photo_turns: int = 1,
        drawn_evaluation: DrawnEvaluation | None = None,
    ):
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.eval_batch_size = eval_batch_size
        self.files = {"train": train, "val": val}
        self.missing: Missing = missing
        self.sigmas = tuple(sigmas) if sigmas else None
        self.flip_pairs = flip_pairs
        self.photo_samples, self.photo_turns = photo_samples, photo_turns
        self.drawn, self.drawn_evaluation = drawn, drawn_evaluation
        self.training_set: Together | None = None
        self.evaluation_set: EvaluationSet | None = None
        self.photos: dict[str, PhotoFiles] = {}
        self._num_annotated: dict[str, int] = {}

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

    def setup(self, stage: str) -> None:
        """Read and check annotation files and headers of photos; drawings are drawn when needed.

        Before a training, pairs and sigmas of the joints are printed.

        Raises:
            ValueError: a file is wrong, or there is nothing to train or validate on.
            FileNotFoundError: a photo does not exist, and is not to be skipped.
        """
        if self.evaluation_set is None:
            self.evaluation_set = self._make_evaluation_set(stage)
        if stage == "fit" and self.training_set is None:
            self.training_set = self._make_training_set()
            _require_equal_joints(self.training_set, self.evaluation_set)
            if self._rank()[0] == 0:
                _tell_joints(self.training_set.skeleton)

    def _read(self, kind: Literal["train", "val"]) -> Annotations | None:
        """Read and check the annotations of one kind; None for no photos."""
        annotations, images = self.files[kind]
        if annotations and images:
            found = read_annotations(
                annotations,
                images,
                missing=self.missing,
                sigmas=self.sigmas,
                flip_pairs=self.flip_pairs,
            )
            self._num_annotated[kind] = len(found.raw["images"])
            good = check_headers(found.records, images, missing=self.missing)
            return dataclasses.replace(found, records=good)
        if annotations or images:
            raise ValueError(
                f"pass both --data.{kind}_annotations FILE and --data.{kind}_images DIR, or neither"
            )
        return None

    def _make_evaluation_set(self, stage: str) -> EvaluationSet | None:
        photos, drawn = self._read("val"), self.drawn_evaluation
        if photos is not None:
            if not photos.has_people:
                raise ValueError(
                    f"the validation set {photos.path} has no images with labelled people"
                )
            evaluation = PhotoEvaluation(photos, self.missing)
            self.photos["val"] = evaluation.files
            return evaluation
        if drawn is not None and drawn.length < 1:
            raise ValueError(f"the validation set has no images: val_length is {drawn.length}")
        if drawn is None and stage != "fit":
            raise ValueError("pass --data.val_annotations FILE and --data.val_images DIR")
        return drawn

    def _make_training_set(self) -> Together:
        annotations = self._read("train")
        photos = self.photo_samples(annotations) if annotations and self.photo_samples else ()
        if annotations and not (photos and (annotations.has_people or self.drawn)):
            raise ValueError(
                f"the training set {annotations.path} has no images with labelled people: "
                "pass another --data.train_annotations"
            )
        if photos and isinstance(photos.source, Photos):
            self.photos["train"] = photos.source.files
        both = ((photos, self.photo_turns), (self.drawn, 1))
        parts = [(part, share) for part, share in both if part]
        if not parts:
            raise ValueError(f"there is nothing to train on: pass {self.train_options}")
        return Together([part for part, _ in parts], [share for _, share in parts])

    def train_dataloader(self) -> ResumableLoader:
        """Batches of labelled images; in distributed training, this process's share."""
        assert self.training_set is not None
        rank, num_ranks = self._rank()
        sampler = EpochSampler(
            len(self.training_set), self.batch_size, seed=self.seed, rank=rank, num_ranks=num_ranks
        )
        return ResumableLoader(
            self.training_set,
            sampler,
            num_workers=self.num_workers,
            photos=self.photos.get("train"),
        )

    def val_dataloader(self) -> EvaluationLoader | list[EvaluationLoader]:
        """Lists of images of this process's share; no loader without an evaluation set."""
        if self.evaluation_set is None:
            return []
        # all processes take equally many steps, so the first images may come twice
        rank, num_ranks = self._rank()
        total = len(self.evaluation_set)
        mine = [(rank + num_ranks * i) % total for i in range(-(-total // num_ranks))]
        return EvaluationLoader(
            self.evaluation_set,
            mine,
            batch_size=self.eval_batch_size,
            num_workers=min(self.num_workers, 2),
            photos=self.photos.get("val"),
        )

    test_dataloader = val_dataloader

    def left_out(self) -> Iterator[str]:
        """How many photos of each kind are missing or broken, so far as this process knows."""
        for kind, files in self.photos.items():
            total = self._num_annotated[kind]
            num_out = total - len(files.records) + files.num_broken
            if num_out:
                yield f"left out of {kind}: {num_out:,} of {total:,} photos"

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Move training batches; images to evaluate stay on the host, where they are resized."""
        on_host = isinstance(batch, list)
        return batch if on_host else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _require_equal_joints(training: Together, evaluation: EvaluationSet | None) -> None:
    if evaluation is not None and evaluation.skeleton.keypoints != training.skeleton.keypoints:
        raise ValueError(
            f"the training set has the joints {', '.join(training.skeleton.keypoints)}, the "
            f"validation set {', '.join(evaluation.skeleton.keypoints)}: both need the same, in "
            "one order"
        )


def _tell_joints(skeleton: Skeleton) -> None:
    """Print what a training takes for granted about the joints; warn where it looks wrong."""
    print(skeleton.describe())
    if skeleton.one_sided:
        log.warning(
            "without a partner on the other side, so a mirrored image keeps their place: %s; "
            "set data.flip_pairs if they have one",
            ", ".join(skeleton.one_sided),
        )


class PhotoData(PoseData):
    """Annotated photos: COCO, CrowdPose, or any file in their format with joints of its own.

    Args:
        train_annotations: JSON file of the training photos; None for no photos.
        train_images: folder of the training photos.
        val_annotations: JSON file of the photos to validate and test on; None for no validation.
        val_images: folder of these photos.
        missing: "error" or "skip": what to do about photos that do not exist or are broken; both
            name them.
        augment: how photos become training samples.
        copy_paste: probability that people of another photo are pasted into a photo.
        empty_images: also learn from photos without labelled people.
        sigmas: OKS tolerances of the joints; null: those of the category, or of COCO and CrowdPose
            by the names of the joints, or 0.05.
        flip_pairs: pairs of joints that change places in a mirror, counted from 1; null: those of
            the category, or of the names that have a left and a right.
        batch_size: training images per step and process.
        num_workers: the number of processes that make samples.
        seed: of the order of the images and of all augmentation.
        eval_batch_size: images that validation hands to the network together, where their sizes
            allow it.
        drawn_images: the number of drawn crowds in an epoch.
        crowd: how hard the drawn crowds are.
    """

    def __init__(
        self,
        train_annotations: str | None = None,
        train_images: str | None = None,
        val_annotations: str | None = None,
        val_images: str | None = None,
        *,
        missing: Missing = "error",
        augment: Augment = Augment(),  # noqa: B008  frozen
        copy_paste: float = 0.0,
        empty_images: bool = False,
        sigmas: list[float] | None = None,
        flip_pairs: list[list[int]] | None = None,
        batch_size: int = 12,
        num_workers: int = 4,
        seed: int = 0,
        eval_batch_size: int = 8,
        drawn_images: int = 0,
        crowd: Crowd = Crowd(),  # noqa: B008  frozen
    ):
        super().__init__(
            batch_size, num_workers, seed, eval_batch_size,
            drawn=draw_samples(crowd, drawn_images, augment, seed=seed),
            train=(train_annotations, train_images), val=(val_annotations, val_images),
            missing=missing, sigmas=sigmas, flip_pairs=flip_pairs,
            photo_samples=lambda annotations: Samples(
                PastedPhotos(annotations, empty_images, missing=missing, probability=copy_paste),
                augment,
                seed,
            ),
        )  # fmt: skip


class DrawnData(PoseData):
    """Drawn crowds with exact labels: nothing to download.

    Args:
        crowd: how hard the images are, in training and validation alike.
        train_length: the number of images in an epoch; every epoch has new ones.
        repeat: the number of epochs in which the same drawings come again.
        augment: further augmentation of the drawings; None takes them as they are.
        val_length: the number of images to validate and test on, the same ones every time.
        val_seed: of these images.
        batch_size: training images per step and process.
        num_workers: the number of processes that make samples.
        seed: of the training images and their order.
        eval_batch_size: images that validation hands to the network together.
    """

    train_options = "--data.train_length N"

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
        super().__init__(
            batch_size, num_workers, seed, eval_batch_size,
            drawn=draw_samples(crowd, train_length, augment, seed=seed, repeat=repeat),
            drawn_evaluation=DrawnEvaluation(crowd, val_length, val_seed),
        )  # fmt: skip
