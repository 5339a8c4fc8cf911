import struct

import pytest

from bottomup.images.formats import SUFFIXES, DecodingError, declared_size


def tiff(*entries: tuple[int, int]) -> bytes:
    """A TIFF with these tags and values in its first directory."""
    packed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + b"\0" * 4


PHOTO = ((256, 60), (257, 40))
UNREAD = {
    "JPEG XL": (b"\xff\x0a" + b"\0" * 20, b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 20),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51" + b"\0" * 20),
    "JPEG XR": (b"II\xbc\x01" + b"\0" * 20,),
    "Photoshop": (b"8BPS" + b"\0" * 20,),
    "OpenEXR": (b"v/1\x01" + b"\0" * 20,),
    "Radiance HDR": (b"#?RADIANCE\n", b"#?RGBE\n"),
    "camera's raw": (
        b"\0\0\0\x18ftypcrx " + b"\0" * 20,
        b"II*\0\x10\0\0\0CR\x02\0",
        b"IIRO\x08\0\0\0",
        b"IIU\0\x08\0\0\0",
        b"FUJIFILMCCD-RAW 0201",
        tiff(*PHOTO, (50706, 0x401)),  # DNGVersion
        tiff((254, 1), *PHOTO),  # a thumbnail stands in front
    ),
}


@pytest.mark.parametrize(
    ("kind", "data"), [(kind, data) for kind, variants in UNREAD.items() for data in variants]
)
def test_a_photo_of_a_kind_that_is_not_read_is_known_by_its_content(kind, data):
    with pytest.raises(DecodingError, match=f"is an? {kind} image, which is not read: convert"):
        declared_size(data, ".jpg")


def test_a_tiff_that_states_its_size_twice_or_elsewhere_is_refused():
    inline, offset = (struct.pack("<HHII", 256, kind, 1, 60) for kind in (4, 16))
    elsewhere = tiff(*PHOTO).replace(inline, offset)
    for data in (tiff((256, 30_000), *PHOTO), tiff(*PHOTO, (257, 8)), elsewhere):
        with pytest.raises(DecodingError):
            declared_size(data, ".tif")


def test_a_comment_of_a_pnm_ends_where_decoders_end_it():
    assert declared_size(b"P6\n# 8 8\r30000 20000\n255\n" + bytes(99), ".ppm") == (30_000, 20_000)


def test_the_suffix_tells_what_the_content_does_not():
    assert declared_size(tiff(*PHOTO), ".tif") == (60, 40)
    for suffix in (".nef", ".ARW", ".dng"):
        with pytest.raises(DecodingError, match="camera's raw image"):
            declared_size(tiff(*PHOTO), suffix)
    with pytest.raises(DecodingError, match="TGA image"):
        declared_size(b"\0\0\x02" + b"\0" * 40, ".tga")


def test_the_content_comes_before_the_suffix():
    gif = b"GIF89a" + struct.pack("<HH", 60, 40)
    for suffix in (".heic", ".nef", ".tga", ".jpg", ".txt"):
        assert declared_size(gif, suffix) == (60, 40)


def test_avif_is_told_from_heic_by_all_of_its_brands():
    size = b"ispe" + b"\0" * 4 + struct.pack(">II", 60, 40)
    assert declared_size(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + size) == (60, 40)
    assert declared_size(b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf" + size) == (60, 40)


def test_photos_of_every_kind_are_searched_for():
    wanted = {".jpg", ".jpeg", ".heic", ".heif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef"}
    assert wanted | {".arw", ".rw2", ".orf", ".raf", ".tga", ".avif", ".psd"} <= SUFFIXES
    assert not {".txt", ".json", ".svg", ".mp4", ".db", ".ini", ""} & SUFFIXES
