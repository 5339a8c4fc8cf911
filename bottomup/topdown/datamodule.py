"""Data for top-down methods, as configs name them: crops of single people, or images with everybody's box."""

from typing import Literal

from bottomup.data.augment import Augment
from bottomup.data.coco import Annotations, read_annotations
from bottomup.data.datamodule import PoseData
from bottomup.data.evaluation_sets import DrawnEvaluation, EvaluationSet, PhotoEvaluation
from bottomup.data.scenes.crowd import Crowd
from bottomup.data.training_sets import Together, TrainingSet
from bottomup.topdown.samples import CropAugment, DrawnBoxes, DrawnCrops, PhotoBoxes, PhotoCrops


class _PhotosAndDrawings(PoseData):
    """What the two kinds of data below have in common; each says how photos and drawings become samples."""

    drawn_argument: str

    def __init__(
        self,
        train_files: tuple[str | None, str | None],
        val_files: tuple[str | None, str | None],
        missing: Literal["error", "skip"],
        photo_turns: int,
        crowd: Crowd,
        val_length: int,
        **loading: int,
    ):
        super().__init__(**loading)
        self.train_files, self.val_files = train_files, val_files
        self.missing: Literal["error", "skip"] = missing
        self.photo_turns, self.crowd, self.val_length = photo_turns, crowd, val_length

    def setup(self, stage: str) -> None:
        """Read and check the annotation files.

        Raises:
            ValueError: a file is wrong, or there is nothing to train or validate on.
            FileNotFoundError: a file is not there.
        """
        if self.evaluation_set is None:
            self.evaluation_set = _evaluation(
                *self.val_files, self.missing, self.crowd, self.val_length
            )
        if stage == "fit" and self.training_set is None:
            annotations = _read("train", *self.train_files, self.missing)
            photos = None if annotations is None else self._photos(annotations)
            self.training_set = _together(
                photos, self.photo_turns, self._drawings(), self.drawn_argument
            )

    def _photos(self, annotations: Annotations) -> TrainingSet:
        raise NotImplementedError

    def _drawings(self) -> TrainingSet | None:
        raise NotImplementedError


class CropData(_PhotosAndDrawings):
    """Crops of single people of annotated photos and of drawn crowds; validation looks at whole images.

    Args:
        train_annotations: JSON file of the training photos; None to learn from drawings alone.
        train_images: folder of the training photos.
        val_annotations: JSON file of the photos to validate and test on; None for drawings.
        val_images: folder of these photos.
        missing: "error" or "skip": what to do about photos that are not there; both list them.
        augment: how a person becomes a crop.
        photo_turns: how often each person of the photos is seen in an epoch.
        drawn_crops: crops of drawn people in an epoch.
        crowd: how hard the drawings are.
        val_length: drawings to validate on where there are no photos.
        batch_size: crops per step and process.
        num_workers: processes that make samples.
        seed: of the order of the crops and of all augmentation.
        eval_batch_size: images that validation takes together.
    """

    drawn_argument = "drawn_crops"

    def __init__(
        self,
        train_annotations: str | None = None,
        train_images: str | None = None,
        val_annotations: str | None = None,
        val_images: str | None = None,
        *,
        missing: Literal["error", "skip"] = "error",
        augment: CropAugment = CropAugment(),  # noqa: B008  frozen
        photo_turns: int = 1,
        drawn_crops: int = 0,
        crowd: Crowd = Crowd(),  # noqa: B008  frozen
        val_length: int = 100,
        batch_size: int = 32,
        num_workers: int = 2,
        seed: int = 0,
        eval_batch_size: int = 8,
    ):
        super().__init__(
            (train_annotations, train_images), (val_annotations, val_images), missing, photo_turns, crowd, val_length,
            batch_size=batch_size, num_workers=num_workers, seed=seed, eval_batch_size=eval_batch_size,
        )  # fmt: skip
        self.augment, self.drawn_crops = augment, drawn_crops

    def _photos(self, annotations: Annotations) -> TrainingSet:
        return PhotoCrops(annotations, self.augment, self.seed)

    def _drawings(self) -> TrainingSet | None:
        return (
            DrawnCrops(self.crowd, self.drawn_crops, self.augment, self.seed)
            if self.drawn_crops
            else None
        )


class BoxData(_PhotosAndDrawings):
    """Annotated photos and drawn crowds with the boxes of their people, for a detector.

    Args:
        train_annotations: JSON file of the training photos; None to learn from drawings alone.
        train_images: folder of the training photos.
        val_annotations: JSON file of the photos to validate and test on; None for drawings.
        val_images: folder of these photos.
        missing: "error" or "skip": what to do about photos that are not there; both list them.
        augment: how an image becomes a sample; boxes stay upright, so its rotation must be 0.
        empty_images: also learn from photos without labelled people.
        photo_turns: how often each photo is seen in an epoch.
        drawn_images: drawn crowds in an epoch.
        crowd: how hard the drawings are.
        val_length: drawings to validate on where there are no photos.
        batch_size: images per step and process.
        num_workers: processes that make samples.
        seed: of the order of the images and of all augmentation.
        eval_batch_size: images that validation takes together.

    Raises:
        ValueError: the augmentation rotates.
    """

    drawn_argument = "drawn_images"

    def __init__(
        self,
        train_annotations: str | None = None,
        train_images: str | None = None,
        val_annotations: str | None = None,
        val_images: str | None = None,
        *,
        missing: Literal["error", "skip"] = "error",
        augment: Augment = Augment(rotation=0.0),  # noqa: B008  frozen
        empty_images: bool = True,
        photo_turns: int = 1,
        drawn_images: int = 0,
        crowd: Crowd = Crowd(),  # noqa: B008  frozen
        val_length: int = 100,
        batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 0,
        eval_batch_size: int = 8,
    ):
        super().__init__(
            (train_annotations, train_images), (val_annotations, val_images), missing, photo_turns, crowd, val_length,
            batch_size=batch_size, num_workers=num_workers, seed=seed, eval_batch_size=eval_batch_size,
        )  # fmt: skip
        if augment.rotation:
            raise ValueError(
                f"boxes stay upright: set data.augment.rotation to 0, not {augment.rotation}"
            )
        self.augment, self.empty_images, self.drawn_images = augment, empty_images, drawn_images

    def _photos(self, annotations: Annotations) -> TrainingSet:
        return PhotoBoxes(annotations, self.augment, self.seed, self.empty_images)

    def _drawings(self) -> TrainingSet | None:
        return (
            DrawnBoxes(self.crowd, self.drawn_images, self.augment, self.seed)
            if self.drawn_images
            else None
        )


def _read(
    kind: str, annotations: str | None, images: str | None, missing: Literal["error", "skip"]
) -> Annotations | None:
    """The annotated photos of one kind; None if no file is given."""
    if annotations is None and images is None:
        return None
    if annotations is None or images is None:
        raise ValueError(
            f"pass both --data.{kind}_annotations FILE and --data.{kind}_images DIR, or neither"
        )
    return read_annotations(annotations, images, missing=missing)


def _evaluation(
    annotations: str | None,
    images: str | None,
    missing: Literal["error", "skip"],
    crowd: Crowd,
    length: int,
) -> EvaluationSet:
    photos = _read("val", annotations, images, missing)
    if photos is None:
        if length < 1:
            raise ValueError(f"the validation set has no images: val_length is {length}")
        return DrawnEvaluation(crowd, length)
    if not photos.records:
        raise ValueError(f"the validation set {photos.path} has no images")
    return PhotoEvaluation(photos)


def _together(
    photos: TrainingSet | None, turns: int, drawn: TrainingSet | None, drawn_argument: str
) -> TrainingSet:
    """What there is to train on."""
    if photos is not None and len(photos) == 0:
        raise ValueError(
            "the training set has no labelled people: give another --data.train_annotations"
        )
    parts = [(part, share) for part, share in ((photos, turns), (drawn, 1)) if part is not None]
    if not parts:
        raise ValueError(
            f"there is nothing to train on: pass --data.train_annotations or --data.{drawn_argument}"
        )
    return Together([part for part, _ in parts], [share for _, share in parts])
