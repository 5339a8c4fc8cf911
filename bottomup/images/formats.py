"""Kinds of image files: how each begins, the size that its header states, and which are not read.

The content decides. A suffix decides only what a folder is searched for, and the kind of a file
whose content does not tell: many raw photos are TIFF files with a thumbnail in front.
"""

import math
import re
import struct
from collections.abc import Iterator

KINDS = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF"

Size = tuple[int, int]

_RAW = "a camera's raw image"
_READ_SUFFIXES = """
    .jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .avif
"""
_RAW_SUFFIXES = """
    .dng .cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .rw2 .rwl .orf .raf .pef .srw .3fr .fff .iiq .x3f
    .erf .kdc .dcr .mrw .mos .mef .gpr
"""
_OTHER_SUFFIXES = ".heic .heif .hif .jxl .jp2 .j2k .j2c .jpx .jpf .jxr .wdp .hdp .psd .psb .exr"
# the kinds that are not read and that the content alone does not tell
_UNREAD_SUFFIXES = dict.fromkeys(_RAW_SUFFIXES.split(), _RAW) | {".tga": "a TGA image"}

# what a folder is searched for: what is read, and photos that shall not vanish silently
SUFFIXES = frozenset([*_READ_SUFFIXES.split(), *_UNREAD_SUFFIXES, *_OTHER_SUFFIXES.split()])


class DecodingError(ValueError):
    """Why a file cannot be decoded, in words for its owner."""


class IncompleteHeaderError(DecodingError):
    """The bytes end before the header does."""


def declared_size(data: bytes, suffix: str = "") -> Size:
    """Width and height as the header states them, before any EXIF rotation.

    Args:
        data: the whole content of the file, or its beginning.
        suffix: of the file's name.

    Raises:
        DecodingError: the file is of no kind that is read, or its header is incomplete.
    """
    if not data:
        raise DecodingError("empty: the file has 0 bytes")
    for signature, kind in _UNREAD:
        if re.match(signature, data, re.DOTALL):
            raise unread(kind)
    unread_kind = _UNREAD_SUFFIXES.get(suffix.lower())
    for signature, read_size in _HEADERS:
        if re.match(signature, data, re.DOTALL):
            if unread_kind and read_size is _tiff_size:
                raise unread(unread_kind)
            try:
                return read_size(data)
            except DecodingError:
                raise
            except (struct.error, LookupError, ValueError) as error:
                raise IncompleteHeaderError(
                    "truncated or damaged: its header is incomplete"
                ) from error
    raise unread(unread_kind) if unread_kind else DecodingError(f"not an image: neither {KINDS}")


def unread(kind: str, *, otherwise: str = "") -> DecodingError:
    """The error for a photo of a kind that is not read; `otherwise` ends the remedy."""
    return DecodingError(f"is {kind}, which is not read: convert it to JPEG or PNG{otherwise}")


def is_heic(data: bytes) -> bool:
    """Whether it is an image of HEIF that is no AVIF."""
    return re.match(_HEIF, data, re.DOTALL) is not None and not re.match(_AVIF, data, re.DOTALL)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment of a JPEG, past thumbnails and coded rows, up to its end.

    Raises:
        IndexError: the file ends amid a segment, or there is no segment where one should be.
    """
    at = 2
    while True:
        while data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = data[at + 1]
        if data[at] != 0xFF:
            raise IndexError("no segment")
        yield marker, at
        if marker == 0xD9:
            return
        has_length = marker != 0x01 and not 0xD0 <= marker <= 0xD8
        at += 2 + (int.from_bytes(data[at + 2 : at + 4]) if has_length else 0)
        if marker == 0xDA:
            following = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]").search(data, at)
            if following is None:
                return
            at = following.start()


def jpeg_frame_header(data: bytes) -> int:
    """Where the frame header (SOFn) begins.

    Raises:
        IndexError: there is none.
    """
    for marker, at in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return at
        if marker == 0xDA:
            break
    raise IndexError("no frame header")


def _jpeg_size(data: bytes) -> Size:
    height, width = struct.unpack_from(">HH", data, jpeg_frame_header(data) + 5)
    return width, height


def _png_size(data: bytes) -> Size:
    return struct.unpack_from(">II", data, data.index(b"IHDR", 12, 16) + 4)


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
    """From the first directory, in the byte order that the first two bytes name.

    Raises:
        DecodingError: a raw photo: a DNG, or a thumbnail stands in front of the image.
    """
    order = "<" if data[:2] == b"II" else ">"
    directory = struct.unpack_from(order + "I", data, 4)[0]
    found: dict[int, int] = {}
    for entry in range(struct.unpack_from(order + "H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if tag in (254, 256, 257, 50706):
            # decoders would take the first of two, and find longer numbers elsewhere
            if tag in found or (tag in (256, 257) and (kind not in (3, 4) or count != 1)):
                raise ValueError("its size is not stated once, by one number")
            found[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
    if 50706 in found or found.get(254, 0) & 1:  # DNGVersion; a reduced copy of another image
        raise unread(_RAW)
    return found[256], found[257]


def _pnm_size(data: bytes) -> Size:
    gap = rb"(?:\s|#[^\r\n]*[\r\n])+"
    pattern = rb"\AP[1-6]" + gap + rb"(\d{1,9})" + gap + rb"(\d{1,9})\s"
    ((width, height),) = re.findall(pattern, data[:65536])  # ValueError if it does not match
    return int(width), int(height)


def _heif_size(data: bytes) -> Size:
    """The largest of the stated extents, since an image may be made of tiles."""
    places = [match.end() + 4 for match in re.finditer(b"ispe", data[:65536])]
    extents = [struct.unpack_from(">II", data, place) for place in places]
    return max(extents, key=math.prod)


# HEIF names what a file holds in a list of brands; AVIF's files often carry HEIF's brands too
_AVIF = rb"....ftyp(.{4}){0,15}?avi[fs]"
_HEIF = rb"....ftyp(.{4}){0,15}?(hei[cxms]|hev[cxms]|mif1|msf1)"

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
    (_AVIF, _heif_size),
    (_HEIF, _heif_size),
)
# what photos of other kinds begin with
_UNREAD = (
    (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL image"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"II\xbc\x01", "a JPEG XR image"),
    (rb"II\*\0....CR|....ftypcrx |II....HEAPCCDR", _RAW),
    (rb"IIR[OS]|IIU\0|MMOR|FUJIFILMCCD-RAW|FOVb|\0MRM", _RAW),
    (rb"8BPS", "a Photoshop image"),
    (rb"v/1\x01", "an OpenEXR image"),
    (rb"#\?R(ADIANC|GB)E", "a Radiance HDR image"),
)
