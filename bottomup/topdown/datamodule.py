"""Data for top-down methods, as recipes name them: crops of single people, or images with boxes."""

from bottomup.data.augment import Augment
from bottomup.data.datamodule import PoseData
from bottomup.data.drawings import Drawings, DrawnEvaluation
from bottomup.data.headers import Missing
from bottomup.data.photos import Photos
from bottomup.data.samples import Samples
from bottomup.data.scenes.crowd import Crowd
from bottomup.topdown.samples import BoxAugment, CropAugment


class CropData(PoseData):
    """Crops of single people of annotated photos and drawn crowds; validation takes whole images.

    Args:
        train_annotations: JSON file of the training photos; None to learn from drawings alone.
        train_images: folder of the training photos.
        val_annotations: JSON file of the photos to validate and test on; None for drawings.
        val_images: folder of these photos.
        missing: "error" or "skip": what to do about photos that do not exist or are broken; both
            name them.
        sigmas: as in `PhotoData`.
        flip_pairs: as in `PhotoData`.
        augment: how a person becomes a crop.
        photo_turns: how often an epoch visits each person of the photos.
        drawn_crops: the number of crops of drawn people in an epoch.
        crowd: how hard the drawings are.
        val_length: the number of drawings to validate on where there are no photos.
        batch_size: crops per step and process.
        num_workers: the number of processes that make samples.
        seed: of the order of the crops and of all augmentation.
        eval_batch_size: images that validation takes together.
    """

    train_options = (
        "--data.train_annotations FILE and --data.train_images DIR, or --data.drawn_crops N"
    )

    def __init__(
        self,
        train_annotations: str | None = None,
        train_images: str | None = None,
        val_annotations: str | None = None,
        val_images: str | None = None,
        *,
        missing: Missing = "error",
        sigmas: list[float] | None = None,
        flip_pairs: list[list[int]] | None = None,
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
            batch_size, num_workers, seed, eval_batch_size,
            drawn=Samples(Drawings(crowd, drawn_crops), augment, seed, stream=4),
            train=(train_annotations, train_images), val=(val_annotations, val_images),
            missing=missing, sigmas=sigmas, flip_pairs=flip_pairs, photo_turns=photo_turns,
            photo_samples=lambda annotations: Samples(
                Photos(annotations, one_person=True, missing=missing), augment, seed, stream=3
            ),
            drawn_evaluation=DrawnEvaluation(crowd, val_length),
        )  # fmt: skip


class BoxData(PoseData):
    """Annotated photos and drawn crowds with the boxes of their people, for a detector.

    Args:
        train_annotations: JSON file of the training photos; None to learn from drawings alone.
        train_images: folder of the training photos.
        val_annotations: JSON file of the photos to validate and test on; None for drawings.
        val_images: folder of these photos.
        missing: "error" or "skip": what to do about photos that do not exist or are broken; both
            name them.
        augment: how an image becomes a sample; boxes stay upright, so its rotation must be 0.
        empty_images: also learn from photos without labelled people.
        photo_turns: how often an epoch visits each photo.
        drawn_images: the number of drawn crowds in an epoch.
        crowd: how hard the drawings are.
        val_length: the number of drawings to validate on where there are no photos.
        batch_size: images per step and process.
        num_workers: the number of processes that make samples.
        seed: of the order of the images and of all augmentation.
        eval_batch_size: images that validation takes together.

    Raises:
        ValueError: the augmentation rotates.
    """

    def __init__(
        self,
        train_annotations: str | None = None,
        train_images: str | None = None,
        val_annotations: str | None = None,
        val_images: str | None = None,
        *,
        missing: Missing = "error",
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
        box_augment = BoxAugment(augment)
        super().__init__(
            batch_size, num_workers, seed, eval_batch_size,
            drawn=Samples(Drawings(crowd, drawn_images), box_augment, seed, stream=6),
            train=(train_annotations, train_images), val=(val_annotations, val_images),
            missing=missing, photo_turns=photo_turns,
            photo_samples=lambda annotations: Samples(
                Photos(annotations, empty_images, missing=missing), box_augment, seed, stream=5
            ),
            drawn_evaluation=DrawnEvaluation(crowd, val_length),
        )  # fmt: skip
