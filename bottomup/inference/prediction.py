"""The result of an image: its people, or why it failed."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.images.frames import Frame
from bottomup.images.sources import Source, is_one_image
from bottomup.poses import Poses

# what one image may raise; it then fails alone
FAILURES = (RuntimeError, MemoryError, ValueError, cv2.error)


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The people of one image, or why it failed.

    Attributes:
        name: of the image, unique within the source, see `Frame`.
        path: the file; None for an array.
        image: (H, W, 3) uint8 RGB; None if it could not be read. With `Predictor.reduce` it may be
            smaller than in its file.
        poses: the people in pixels of the file, perhaps none; None if the image failed.
        error: why it failed; None if all is well.
        warning: what is wrong with a file that was read all the same.
        reduction: how many times smaller than in its file the image is; 1 without `reduce`.
        full_wh: width and height in the file; None where they are those of `image`.
    """

    name: str
    path: Path | None
    image: UInt8[np.ndarray, "H W 3"] | None
    poses: Poses | None = None
    error: str | None = None
    warning: str | None = None
    reduction: int = 1
    full_wh: tuple[int, int] | None = None


def poses_of(predictions: Iterable[Prediction], source: Source) -> Poses | list[Poses]:
    """The people of the one image that the source is, or a list of them for any other source.

    Raises:
        ValueError: an image cannot be read.
    """
    results = []
    for prediction in predictions:
        if prediction.poses is None:
            raise ValueError(
                f"{prediction.name}: {prediction.error} (use `stream` to go on after a bad image)"
            )
        results.append(prediction.poses)
    if not is_one_image(source):
        return results
    if not results:
        raise ValueError(f"{source}: names like this are of no image, so it was left out")
    return results[0]


def outcome(frame: Frame, poses: Poses | None = None, *, error: str | None = None) -> Prediction:
    """The prediction of a frame."""
    return Prediction(
        frame.name,
        frame.path,
        frame.image,
        poses,
        error,
        frame.warning if error is None else None,
        frame.reduction,
        frame.full_wh,
    )


def failed(frame: Frame, error: str | None) -> Prediction:
    """A prediction without people."""
    return outcome(frame, error=error)
