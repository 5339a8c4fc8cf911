"""From the bytes of an image file to pixels, safely.

OpenCV decodes, but it is not handed everything. It allocates whatever a header claims, and it gives
a file that ends too early as an image that is grey from there on. So the header's size is read
first, for every kind of file, and a file whose last rows are missing is refused.

Every image becomes 8-bit RGB: grayscale and palettes are spread to three channels, 16 bits are
scaled to 8, CMYK is converted, an alpha channel is dropped, an animation gives its first frame.
"""

import contextlib
import functools
import importlib
import io
import re
import struct
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from bottomup.images import MAX_PIXELS
from bottomup.images.formats import (
    DecodingError,
    Size,
    declared_size,
    is_heic,
    jpeg_frame_header,
    jpeg_segments,
    unread,
)
from bottomup.shapes import UInt8

END_MISSING = "the end mark of the JPEG is missing; its rows are complete"
JPEG_END = b"\xff\xd9"
READ_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""How OpenCV reads an image, by its reduction."""


def decode(
    data: bytes,
    *,
    exif: bool = True,
    suffix: str = "",
    max_pixels: int = MAX_PIXELS,
    reduction: int = 1,
) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an image file.

    A file that ends too early is refused, since people would be lost silently. A JPEG whose end
    mark alone is missing is read, see `warning`. A JPEG that has its end but is damaged within is
    decoded as far as the decoder gets.

    Args:
        data: the whole content of the file.
        exif: turn the image as its EXIF orientation says.
        suffix: of the file's name, for the kinds that the content does not tell.
        max_pixels: an image whose header claims more is refused before it is decoded.
        reduction: 1, or 2, 4 or 8 for a JPEG that `can_be_reduced`: its sides are divided by it and
            rounded up. Squares of pixels are averaged, in a fraction of the time.

    Returns:
        RGB.

    Raises:
        DecodingError: it is not an image of a known kind, is damaged, or is too large.
    """
    usable_size(data, suffix, max_pixels)
    if is_heic(data):
        return _decode_heic(data, max_pixels)
    if _is_cut_short(data):
        raise DecodingError("truncated: the file ends before its image does")
    if warning(data):
        data = _with_end(data)
    image = _decode_with_opencv(data, exif=exif, reduction=reduction)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def usable_size(data: bytes, suffix: str = "", max_pixels: int = MAX_PIXELS) -> Size:
    """The size that the header states, if it can be one; see `declared_size`.

    Raises:
        DecodingError: the file is of no kind that is read, its header is incomplete, or it claims a
            size that no image has.
    """
    if is_heic(data) and _heif_package() is None:
        raise unread("a HEIC image", otherwise=", or install bottomup[heif]")
    size = declared_size(data, suffix)
    _check_size(size, max_pixels)
    return size


def warning(data: bytes) -> str | None:
    """What is wrong with a file that `decode` reads all the same; None if nothing is."""
    # the end of a thumbnail comes before the frame header
    is_jpeg = data.startswith(b"\xff\xd8")
    return END_MISSING if is_jpeg and data.rfind(JPEG_END) < jpeg_frame_header(data) else None


def can_be_reduced(data: bytes) -> bool:
    """Whether `decode` can give the image at a fraction of its size: a JPEG that is whole."""
    return data.startswith(b"\xff\xd8") and warning(data) is None


def _check_size(size: Size, max_pixels: int) -> None:
    claim = f"its header claims {size[0]} x {size[1]} pixels"
    if min(size) < 1:
        raise DecodingError(claim)
    if size[0] * size[1] > max_pixels:
        raise DecodingError(f"{claim}, more than {max_pixels:,}")


def _decode_with_opencv(
    data: bytes, *, exif: bool, reduction: int = 1
) -> UInt8[np.ndarray, "H W 3"]:
    """The image in OpenCV's order of channels."""
    flags = READ_FLAGS[reduction] | (0 if exif else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DecodingError(f"cannot be decoded: {error.err or error}") from error
    if image is None:
        raise DecodingError("cannot be decoded: it is damaged, or of an unusual variety")
    return image


def _decode_heic(data: bytes, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    """HEIC by libheif, which turns the image as the file says."""
    heif: Any = _heif_package()
    try:
        image = heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
        _check_size(image.size, max_pixels)  # of the coded image, which the header may contradict
        return np.array(image.to_pillow().convert("RGB"))
    except DecodingError:
        raise
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DecodingError(f"cannot be decoded: {reason[0]}") from error


@functools.cache
def _heif_package() -> ModuleType | None:
    """A reader of HEIC, if there is one; pillow-heif is maintained, pi-heif has fewer parts."""
    for name in ("pillow_heif", "pi_heif"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


def _with_end(data: bytes) -> bytes:
    """A JPEG without its end mark, with it.

    Different continuations are decoded. If all give the same pixels, then no row needs what is
    missing. One of them begins with the restart marker that would be next, since a decoder skips
    everything else where it expects that.

    Raises:
        DecodingError: rows are missing, or scans that refine them.
    """
    # Zeros fill what was never written. One behind FF is part of the rows.
    kept = data.rstrip(b"\0")
    kept = (
        kept + b"\0" if kept.endswith(b"\xff") and len(kept) < len(data) else kept.rstrip(b"\xff")
    )
    restarts = re.findall(rb"\xff[\xd0-\xd7]", kept)
    restart = bytes([0xFF, 0xD0 + (restarts[-1][1] - 0xD0 + 1) % 8 if restarts else 0xD0])
    if _has_all_scans(kept):
        images = (
            _decode_with_opencv(kept + bits + JPEG_END, exif=False)
            for bits in (b"U" * 64, b"\xdb" * 64, restart + b"U" * 64)
        )
        first = next(images)
        if all(np.array_equal(first, image) for image in images):
            return kept + JPEG_END
    raise DecodingError("truncated: the file ends before its image does")


def _has_all_scans(jpeg: bytes) -> bool:
    """Whether the scans of a JPEG give every coefficient of every component in full precision."""
    given: set[tuple[int, int]] = set()  # component, coefficient
    with contextlib.suppress(IndexError):  # the file ends amid a segment
        for marker, at in jpeg_segments(jpeg):
            if marker == 0xDA:
                end = at + 5 + 2 * jpeg[at + 4]
                first, last, precision = jpeg[end], jpeg[end + 1], jpeg[end + 2]
                if precision & 15 == 0:
                    components = jpeg[at + 5 : end : 2]
                    given |= {(c, k) for c in components for k in range(first, min(last, 63) + 1)}
        return len(given) >= 64 * jpeg[jpeg_frame_header(jpeg) + 9]
    return False


def _is_cut_short(data: bytes) -> bool:
    """Whether the end of a PNG or a WebP is missing: they state their length."""
    if data.startswith(b"\x89PNG"):
        return not _png_is_whole(data)
    if data.startswith(b"RIFF"):
        # some writers forget the byte of padding
        return struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1
    return False


def _png_is_whole(data: bytes) -> bool:
    """Whether all chunks lie within the file; libpng would allocate whatever a chunk claims."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == b"IEND":
            return at <= len(data)
    return False
