"""The folder of a run while it is written: images with their people become records and overlays."""

import base64
import dataclasses
import errno
import os
import re
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.coordinates import map_points
from bottomup.files import write_whole
from bottomup.images import KEYPOINT_THRESHOLD, SCORE_THRESHOLD
from bottomup.images.drawing import draw
from bottomup.images.formats import SUFFIXES
from bottomup.inference import gallery
from bottomup.inference.journal import JOURNAL, Record
from bottomup.inference.lists import LISTS
from bottomup.inference.prediction import Prediction
from bottomup.poses import Poses

OVERLAYS = "overlays"
JPEG_QUALITY = 90
THUMBNAIL_QUALITY = 75
MAX_JPEG_SIDE = 65500  # of libjpeg; a larger image becomes a PNG
# errors that the name of an overlay may cause; any other, such as a full disk, ends the run
NAME_ERRORS = frozenset(
    (
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.EILSEQ,
        errno.EINVAL,
        errno.ENOENT,
    )
)


class Renderer:
    """Turns predictions into records, and writes overlays.

    Args:
        folder: of the run.
        overlays: whether to draw every image.
        score_threshold: people below it are not drawn or counted; a record has them all.
        keypoint_threshold: joints below it are not drawn.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        overlays: bool = True,
        score_threshold: float = SCORE_THRESHOLD,
        keypoint_threshold: float = KEYPOINT_THRESHOLD,
    ) -> None:
        self.folder = Path(folder)
        self._overlays = overlays
        self._thresholds = {
            "score_threshold": score_threshold,
            "keypoint_threshold": keypoint_threshold,
        }

    def __call__(self, prediction: Prediction, index: int) -> Record:
        """Draw an image and write its overlay; may be called in several threads at once.

        Args:
            prediction: the image and its people.
            index: of the image in the run; the first ones get thumbnails.

        Raises:
            OSError: the disk is full, or the like.
        """
        name, image, poses = prediction.name, prediction.image, prediction.poses
        width, height = (None, None) if image is None else image.shape[1::-1]
        width, height = prediction.full_wh or (width, height)
        record = Record(
            name, width=width, height=height, error=prediction.error, warning=prediction.warning
        )
        if image is None or poses is None:
            return record
        # in pixels of the image, which may be smaller than in its file
        keypoints = (poses.keypoints + 0.5) / prediction.reduction - 0.5
        shown = dataclasses.replace(poses, keypoints=keypoints)
        thumbnail = self._thumbnail(image, shown) if index < gallery.MAX_THUMBNAILS else None
        overlay = error = None
        if self._overlays:
            is_large = max(image.shape[:2]) > MAX_JPEG_SIDE
            overlay = f"{OVERLAYS}/{overlay_name(name, is_large=is_large)}"
            try:
                _write_image(self.folder / overlay, draw(image, shown, **self._thresholds))
            except OSError as problem:
                if problem.errno not in NAME_ERRORS:
                    raise
                overlay, error = None, f"its overlay cannot be written: {problem.strerror}"
        return dataclasses.replace(
            record,
            people=poses.to_coco(image_id=0),
            shown=len(poses.filter(self._thresholds["score_threshold"])),
            overlay=overlay,
            thumbnail=thumbnail,
            error=error,
        )

    def _thumbnail(self, image: UInt8[np.ndarray, "H W 3"], poses: Poses) -> str:
        """The image is reduced before people are drawn on it, so that lines stay visible."""
        height, width = image.shape[:2]
        scale = min(gallery.THUMBNAIL_SIDE / max(height, width), 1.0)
        wh = (max(round(width * scale), 1), max(round(height * scale), 1))
        # means of whole pixels, then interpolation: a fraction of the time of exact means
        step = min(int(1 / scale), height, width)
        blocks = image[: height // step * step, : width // step * step]
        means_wh = (width // step, height // step)
        means = cv2.resize(blocks, means_wh, interpolation=cv2.INTER_AREA)
        small = cv2.resize(means, wh, interpolation=cv2.INTER_LINEAR)
        reduced = dataclasses.replace(
            poses, keypoints=map_points(poses.keypoints, (width, height), wh)
        )
        data = _encode(draw(small, reduced, **self._thresholds), ".jpg", THUMBNAIL_QUALITY)
        return base64.b64encode(data).decode()


def holds_overlays(folder: str | Path) -> bool:
    """Whether a run wrote its overlays to this folder, or is about to."""
    real = Path(os.path.realpath(folder))
    has_lists = all((real.parent / name).is_file() for name in LISTS)  # of before 0.2.0
    return real.name == OVERLAYS and (has_lists or (real.parent / JOURNAL).is_file())


def overlay_name(name: str, *, is_large: bool = False) -> str:
    """The file name of an overlay, different for different images.

    A JPEG keeps its name, others get .jpg behind it.

    Args:
        name: of the image within the source.
        is_large: the image is too large for a JPEG and becomes a PNG.
    """
    path = PurePosixPath(re.sub(r"(^|/)(\.\./|/)+", r"\1", name))
    inner = PurePosixPath(path.stem).suffix.lower()
    if path.suffix.lower() not in SUFFIXES:
        kept = f"{path}.image.jpg"
    elif path.suffix.lower() in (".jpg", ".jpeg") and inner not in SUFFIXES and inner != ".image":
        kept = str(path)
    else:
        kept = f"{path}.jpg"
    return f"{kept}.png" if is_large else kept


def _write_image(path: Path, image: UInt8[np.ndarray, "H W 3"]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path, sync=False) as file:
        file.write(_encode(image, path.suffix.lower(), JPEG_QUALITY))


def _encode(image: UInt8[np.ndarray, "H W 3"], suffix: str, quality: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix != ".png" else []
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()
