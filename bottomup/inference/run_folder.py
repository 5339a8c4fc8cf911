"""The folder of a run: results, images and failures as JSON, overlays, and a page to look through.

The lists are written beside their places as they grow and moved there together at the end, so
memory does not grow with the number of images, and the folder never holds half a file. Other files
in the folder are left alone.
"""

import contextlib
import dataclasses
import errno
import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.coordinates import map_points
from bottomup.files import write_whole
from bottomup.images import KEYPOINT_THRESHOLD, SCORE_THRESHOLD
from bottomup.images.drawing import draw
from bottomup.images.formats import SUFFIXES
from bottomup.inference import gallery
from bottomup.inference.predictor import Prediction
from bottomup.poses import Poses

OVERLAYS = "overlays"
LISTS = ("results.json", "images.json", "failures.json", "index.html")
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


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One image of the run, without its pixels.

    Attributes:
        name: of the image within the source.
        wh: width and height; None if it could not be read.
        poses: the people; None if the image failed.
        num_shown: the number of people above the score threshold; None if the image failed.
        overlay: path of the overlay within the folder, with forward slashes; None without one.
        thumbnail: a small overlay as a JPEG; None without one.
        error: what went wrong; None if all is well.
        warning: what is wrong with a file that was read all the same.
    """

    name: str
    wh: tuple[int, int] | None = None
    poses: Poses | None = None
    num_shown: int | None = None
    overlay: str | None = None
    thumbnail: bytes | None = None
    error: str | None = None
    warning: str | None = None


class RunFolder:
    """Writes results.json, images.json, failures.json, overlays/ and index.html.

    Args:
        folder: made if it does not exist.
        overlays: whether to draw every image.
        score_threshold: people below it are not drawn or counted; results.json has them all.
        keypoint_threshold: joints below it are not drawn.
        category_id: of the results.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        overlays: bool = True,
        score_threshold: float = SCORE_THRESHOLD,
        keypoint_threshold: float = KEYPOINT_THRESHOLD,
        category_id: int = 1,
    ) -> None:
        self.folder = Path(folder)
        self._overlays, self._category_id = overlays, category_id
        self._thresholds = {
            "score_threshold": score_threshold,
            "keypoint_threshold": keypoint_threshold,
        }
        self._num_rows = 0
        (self.folder / OVERLAYS if overlays else self.folder).mkdir(parents=True, exist_ok=True)
        self._lists: list[_GrowingList] = []
        try:
            ends = (("[", "]"), ('{"images": [', "]}"), ("[", "]"), gallery.split_page())
            for name, (start, end) in zip(LISTS, ends, strict=True):
                self._lists.append(_GrowingList(self.folder / name, start, end))
        except OSError:
            self.discard()
            raise
        self._results, self._images, self._failures, self._page = self._lists

    def render(self, prediction: Prediction, index: int) -> Row:
        """Draw an image and write its overlay; may be called in several threads at once.

        Args:
            prediction: the image and its people.
            index: of the image in the run; the first ones get thumbnails.

        Raises:
            OSError: the disk is full, or the like.
        """
        name, image, poses = prediction.name, prediction.image, prediction.poses
        wh = None if image is None else (image.shape[1], image.shape[0])
        if image is None or poses is None:
            return Row(name, wh, error=prediction.error)
        num_shown = len(poses.filter(self._thresholds["score_threshold"]))
        thumbnail = self._thumbnail(image, poses) if index < gallery.MAX_THUMBNAILS else None
        overlay = error = None
        if self._overlays:
            is_large = max(image.shape[:2]) > MAX_JPEG_SIDE
            overlay = f"{OVERLAYS}/{overlay_name(name, is_large=is_large)}"
            try:
                _write_image(self.folder / overlay, draw(image, poses, **self._thresholds))
            except OSError as problem:
                if problem.errno not in NAME_ERRORS:
                    raise
                overlay, error = None, f"its overlay cannot be written: {problem.strerror}"
        return Row(name, wh, poses, num_shown, overlay, thumbnail, error, prediction.warning)

    def add(self, row: Row, image_id: int) -> None:
        """Append a row to the lists; rows come in the order of the source."""
        if row.poses is not None and row.wh is not None:
            for person in row.poses.to_coco(image_id, self._category_id):
                self._results.add(person)
            entry = {"id": image_id, "file_name": row.name}
            entry |= {"width": row.wh[0], "height": row.wh[1]}
            self._images.add(entry | ({"warning": row.warning} if row.warning else {}))
        if row.error is not None:
            self._failures.add({"file": row.name, "reason": row.error})
        if self._num_rows < gallery.MAX_ROWS:
            self._page.add(
                gallery.entry(
                    row.name, row.num_shown, row.wh, row.overlay, row.thumbnail, row.error
                )
            )
        self._num_rows += 1

    def close(self) -> None:
        """Complete all lists, then put them in place of those of an earlier run.

        Raises:
            OSError: they cannot be completed. The lists of an earlier run are then as they were,
                and `discard` removes the new ones.
        """
        for growing in self._lists:
            growing.complete()
        for growing in self._lists:
            growing.part.replace(growing.path)

    def discard(self) -> None:
        """Remove the unfinished lists; the overlays stay. After `close` it does nothing."""
        for growing in self._lists:
            growing.discard()

    def _thumbnail(self, image: UInt8[np.ndarray, "H W 3"], poses: Poses) -> bytes:
        """The image is reduced before people are drawn on it, so that lines stay visible."""
        height, width = image.shape[:2]
        scale = min(gallery.THUMBNAIL_SIDE / max(height, width), 1.0)
        wh = (max(round(width * scale), 1), max(round(height * scale), 1))
        small = cv2.resize(image, wh, interpolation=cv2.INTER_AREA)
        reduced = dataclasses.replace(
            poses, keypoints=map_points(poses.keypoints, (width, height), wh)
        )
        return _encode(draw(small, reduced, **self._thresholds), ".jpg", THUMBNAIL_QUALITY)


def holds_overlays(folder: str | Path) -> bool:
    """Whether a run wrote its overlays to this folder, or was killed while it did."""
    real = Path(os.path.realpath(folder))
    return real.name == OVERLAYS and all(
        (real.parent / name).is_file() or _part_of(real.parent / name).is_file() for name in LISTS
    )


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


def _part_of(path: Path) -> Path:
    """Where a list is written until it is complete."""
    return path.with_name(f".{path.name}.part")


class _GrowingList:
    """A text file with a list of JSON values, written beside its place and moved there at the end.

    `write_whole` completes and moves at once; here several lists are completed before any is moved.
    """

    def __init__(self, path: Path, start: str, end: str) -> None:
        self.path, self._end = path, end
        self.part = _part_of(path)
        self._file = open(self.part, "w", encoding="utf-8", newline="\n")  # noqa: SIM115
        self._file.write(start)
        self._separator = "\n"

    def add(self, value: Any) -> None:
        # "<" could end the script of the page early; its escape means the same in JSON
        text = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        self._file.write(self._separator + text)
        self._separator = ",\n"

    def complete(self) -> None:
        self._file.write("\n" + self._end + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # what was still to be written is not wanted
            self._file.close()
        self.part.unlink(missing_ok=True)
