"""From the bytes of an image file to pixels, safely.

OpenCV decodes, but it is not handed everything. It allocates whatever a header claims, and it gives
a file that ends too early as an image that is grey from there on. So the header's size is read here
first, for every kind of file, and a file without its end is refused.

Every image becomes 8-bit RGB: grayscale and palettes are spread to three channels, 16 bits are
scaled to 8, CMYK is converted, an alpha channel is dropped, an animation gives its first frame.
"""

import math
import re
import struct

import cv2
import numpy as np
from jaxtyping import UInt8

from bottomup.images import MAX_PIXELS

KINDS = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF"

Size = tuple[int, int]


class DecodingError(ValueError):
    """Why a file cannot be decoded, in words for its owner."""


def decode(
    data: bytes, *, exif: bool = True, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an image file.

    A file that ends too early is refused, since people would be lost silently. A JPEG that has its
    end but is damaged within is decoded as far as the decoder gets.

    Args:
        data: the whole content of the file.
        exif: turn the image as its EXIF orientation says.
        max_pixels: an image whose header claims more is refused before it is decoded.

    Returns:
        RGB.

    Raises:
        DecodingError: it is not an image of a known kind, is damaged, or is too large.
    """
    size = declared_size(data)
    if min(size) < 1:
        raise DecodingError(f"its header claims {size[0]} x {size[1]} pixels")
    if size[0] * size[1] > max_pixels:
        raise DecodingError(
            f"its header claims {size[0]} x {size[1]} pixels, more than {max_pixels:,}"
        )
    if _is_cut_short(data):
        raise DecodingError("truncated: the file ends before its image does")
    flags = cv2.IMREAD_COLOR if exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DecodingError(f"cannot be decoded: {error.err or error}") from error
    if image is None:
        raise DecodingError("cannot be decoded: it is damaged, or of an unusual variety")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def declared_size(data: bytes) -> Size:
    """Width and height as the header states them, before any EXIF rotation.

    Raises:
        DecodingError: the header is of no known kind, or incomplete.
    """
    if not data:
        raise DecodingError("empty: the file has 0 bytes")
    for signature, read_size in _HEADERS:
        if re.match(signature, data, re.DOTALL):
            try:
                return read_size(data)
            except (struct.error, LookupError, ValueError) as error:
                raise DecodingError("truncated or damaged: its header is incomplete") from error
    if re.match(rb"....ftyp(hei|hev|mif1|msf1)", data, re.DOTALL):
        raise DecodingError("HEIC, which cannot be read: convert it to JPEG or PNG")
    raise DecodingError(f"not an image: neither {KINDS}")


def _is_cut_short(data: bytes) -> bool:
    """Whether the end is missing, for the kinds that mark it or state their length."""
    if data.startswith(b"\xff\xd8"):
        # the end of a thumbnail comes before the frame header
        return data.rfind(b"\xff\xd9") < _jpeg_frame_header(data)
    if data.startswith(b"\x89PNG"):
        return not _png_is_whole(data)
    if data.startswith(b"RIFF"):
        # some writers forget the byte of padding
        return struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1
    return False


def _jpeg_size(data: bytes) -> Size:
    height, width = struct.unpack_from(">HH", data, _jpeg_frame_header(data) + 5)
    return width, height


def _jpeg_frame_header(data: bytes) -> int:
    """Where the frame header (SOFn) begins, found from segment to segment past thumbnails.

    Raises:
        IndexError: there is none.
    """
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0xD9, 0xDA):
            raise IndexError("no frame header")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return at
        has_length = marker != 0x01 and not 0xD0 <= marker <= 0xD8
        at += 2 + (int.from_bytes(data[at + 2 : at + 4]) if has_length else 0)


def _png_size(data: bytes) -> Size:
    return struct.unpack_from(">II", data, data.index(b"IHDR", 12, 16) + 4)


def _png_is_whole(data: bytes) -> bool:
    """Whether all chunks lie within the file; libpng would allocate whatever a chunk claims."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == b"IEND":
            return at <= len(data)
    return False


def _bmp_size(data: bytes) -> Size:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the oldest header
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


def _webp_size(data: bytes) -> Size:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, data.index(b"VP8 ", 12, 16) + 14)
    return width & 0x3FFF, height & 0x3FFF


def _tiff_size(data: bytes) -> Size:
    """From the first directory, in the byte order that the first two bytes name."""
    order = "<" if data[:2] == b"II" else ">"
    directory = struct.unpack_from(order + "I", data, 4)[0]
    found: dict[int, int] = {}
    for entry in range(struct.unpack_from(order + "H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag in (256, 257):
            found[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
    return found[256], found[257]


def _pnm_size(data: bytes) -> Size:
    gap = rb"(?:\s|#[^\n]*\n)+"
    pattern = rb"\AP[1-6]" + gap + rb"(\d{1,9})" + gap + rb"(\d{1,9})\s"
    ((width, height),) = re.findall(pattern, data[:65536])  # ValueError if it does not match
    return int(width), int(height)


def _avif_size(data: bytes) -> Size:
    """The largest of the stated extents, since an image may be made of tiles."""
    places = [match.end() + 4 for match in re.finditer(b"ispe", data[:65536])]
    extents = [struct.unpack_from(">II", data, place) for place in places]
    return max(extents, key=math.prod)


# What files of each kind begin with, and how to read the size that they state. A reader raises
# struct.error, LookupError or ValueError if the header is incomplete.
_HEADERS = (
    (rb"\xff\xd8\xff", _jpeg_size),
    (rb"\x89PNG\r\n\x1a\n", _png_size),
    (rb"GIF8[79]a", lambda data: struct.unpack_from("<HH", data, 6)),
    (rb"BM", _bmp_size),
    (rb"RIFF....WEBP", _webp_size),
    (rb"II\*\0|MM\0\*", _tiff_size),
    (rb"P[1-6]\s", _pnm_size),
    (rb"....ftyp(avif|avis)", _avif_size),
)
