import re
import struct

import cv2
import numpy as np
import pytest

from bottomup.images import decoding
from bottomup.images.decoding import decode, warning
from bottomup.images.formats import DecodingError, declared_size
from tests.support import picture_files as files
from tests.support.picture_files import HALVES, RED, encode, noise, with_orientation

KINDS = (".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff", ".ppm")


@pytest.mark.parametrize("suffix", [*KINDS, ".avif"])
def test_declared_size_is_that_of_the_image(suffix):
    try:
        data = encode(HALVES, suffix)
    except Exception:
        pytest.skip(f"this OpenCV writes no {suffix}")
    assert declared_size(data) == (60, 40)
    image = decode(data)
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[5, 5], RED, atol=40)  # RGB, not BGR
    np.testing.assert_allclose(image[35, 5], 0, atol=25)


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_a_truncated_file_is_refused(suffix, kept):
    data = encode(noise(), suffix)
    with pytest.raises(DecodingError):
        decode(data[: int(len(data) * kept)])


@pytest.mark.parametrize("suffix", KINDS)
def test_no_prefix_of_a_file_does_worse_than_being_refused(suffix):
    data = encode(HALVES, suffix)
    for length in range(len(data) - 1):
        try:
            decode(data[:length])
        except DecodingError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("suffix", KINDS)
def test_no_damage_does_worse_than_being_refused(suffix):
    rng = np.random.default_rng(1)
    data = np.frombuffer(encode(HALVES, suffix), np.uint8)
    for _ in range(300):
        damaged = data.copy()
        damaged[rng.integers(0, min(len(data), 400), 3)] = rng.integers(0, 256, 3)
        try:
            decode(damaged.tobytes())
        except DecodingError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_truncated_jpeg_with_a_whole_thumbnail_is_refused():
    data = with_orientation(encode(noise(), ".jpg"), 1, thumbnail=encode(HALVES, ".jpg"))
    assert decode(data).shape == (240, 320, 3)
    with pytest.raises(DecodingError, match="truncated"):
        decode(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("tail", [b"", b"\0" * 100, b"camera's own data"])
def test_jpeg_with_something_behind_its_end_is_fine(tail):
    assert decode(encode(HALVES, ".jpg") + tail).shape == (40, 60, 3)


JPEGS = {
    "baseline": (),
    "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
    "best": (cv2.IMWRITE_JPEG_QUALITY, 100),
}


def scenery(height: int = 120, width: int = 200) -> np.ndarray:
    """(H, W, 3): smooth with edges, as photos are, and different in all places."""
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("image", [scenery(), scenery()[..., 0].copy()])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_is_read_without_its_end_mark_but_not_without_rows(options, image):
    data = encode(image, ".jpg", *options)
    whole = decode(data)
    assert warning(data) is None
    for end in (b"", b"\xff", b"\0", b"\xff" + b"\0" * 1000):
        unmarked = data[:-2] + end
        np.testing.assert_array_equal(decode(unmarked), whole)
        assert "end mark" in (warning(unmarked) or "")
    restart = data.rfind(b"\xff\xd1")
    lengths = [len(data) // 2, *(len(data) - cut for cut in (4, 5, 6, 10, 100, 1000))]
    for length in lengths + ([restart, restart + 1, restart + 2] if restart > 0 else []):
        for end in (b"", b"\0", b"\0" * 100000, b"\xff"):
            with pytest.raises(DecodingError, match="truncated"):
                decode(data[:length] + end)


def test_a_progressive_jpeg_that_lacks_a_whole_scan_is_refused():
    data = encode(scenery(), ".jpg", *JPEGS["progressive"])
    scans = [at.start() for at in re.finditer(rb"\xff\xda", data)]
    tables = [at.start() for at in re.finditer(rb"\xff\xc4", data)]
    assert len(scans) > 5
    for scan in scans[1:]:
        start = max(table for table in tables if table < scan)  # a scan's table precedes it
        for length in (start, scan):
            with pytest.raises(DecodingError, match="truncated"):
                decode(data[:length])


def test_heic_is_read_where_a_decoder_is_installed():
    if decoding._heif_package() is None:
        pytest.skip("neither pillow-heif nor pi-heif is installed")
    image = decode(files.HEIC_HALVES)
    assert image.shape == (40, 60, 3)
    np.testing.assert_allclose(image[5, 5], RED, atol=40)
    np.testing.assert_allclose(image[35, 5], 0, atol=25)
    for length in (40, 200, len(files.HEIC_HALVES) - 20):
        with pytest.raises(DecodingError):
            decode(files.HEIC_HALVES[:length])
    huge = files.HEIC_HALVES.replace(struct.pack(">II", 64, 64), struct.pack(">II", 60000, 60000))
    with pytest.raises(DecodingError, match="60000 x 60000"):
        decode(huge)


def test_heic_without_a_decoder_is_a_line_with_the_remedy(monkeypatch):
    monkeypatch.setattr(decoding, "_heif_package", lambda: None)
    for data in (files.HEIC_HALVES, files.HEIC_HALVES[:40], b"\0\0\0\x18ftypmif1\0\0\0\0heic"):
        with pytest.raises(DecodingError, match=r"HEIC image.*convert.*bottomup\[heif\]"):
            decode(data)


@pytest.mark.parametrize(
    ("orientation", "shape", "red_at"),
    [
        (1, (40, 60, 3), (5, 30)),
        (3, (40, 60, 3), (35, 30)),
        (6, (60, 40, 3), (30, 35)),
        (8, (60, 40, 3), (30, 5)),
    ],
)
def test_exif_orientation(orientation, shape, red_at):
    data = with_orientation(encode(HALVES, ".jpg"), orientation)
    image = decode(data)
    assert image.shape == shape
    np.testing.assert_allclose(image[red_at], RED, atol=10)
    assert decode(data, exif=False).shape == (40, 60, 3)


def test_gray_becomes_three_equal_channels():
    gray = np.arange(0, 240, 4, dtype=np.uint8).reshape(6, 10)
    np.testing.assert_array_equal(
        decode(encode(gray, ".png")), np.repeat(gray[..., None], 3, axis=2)
    )


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_are_scaled_to_8(suffix):
    deep = np.linspace(0, 65535, 60).astype(np.uint16).reshape(6, 10)
    np.testing.assert_allclose(decode(encode(deep, suffix))[..., 0], deep / 257, atol=1)


def test_alpha_is_dropped():
    transparent = np.dstack([HALVES, np.zeros(HALVES.shape[:2], np.uint8)])
    np.testing.assert_array_equal(decode(encode(transparent, ".png")), HALVES)


def test_cmyk_is_converted():
    np.testing.assert_allclose(decode(files.CMYK_CYAN)[8, 8], (0, 255, 255), atol=20)


def test_palette():
    np.testing.assert_array_equal(
        decode(files.palette_png()), np.broadcast_to(np.uint8(RED), (2, 2, 3))
    )


@pytest.mark.parametrize("data", [files.GIF_RED_THEN_BLACK, files.WEBP_RED_THEN_BLACK])
def test_animation_gives_its_first_frame(data):
    np.testing.assert_allclose(decode(data)[3, 3], RED, atol=10)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"just a text\n" * 20, "not an image"),
        (np.random.default_rng(7).bytes(1000), "not an image"),
        (b"\xff\xd8\xff", "header"),
        (b"\x89PNG\r\n\x1a\n", "header"),
        (b"BM", "header"),
        (b"II*\0\xff\xff\xff\x7f", "header"),
        (b"P6 100", "header"),
        (b"RIFF\0\0\0\0WEBPXXXX", "header"),
        (files.png(0, 10), "0 x 10"),
        (files.png(10, 10), "cannot be decoded"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(data, reason):
    with pytest.raises(DecodingError, match=reason) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        files.png(60000, 60000),
        files.png(2**31 - 1, 2**31 - 1),
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0" * 99,
        b"BM" + b"\0" * 12 + struct.pack("<Iii", 40, 60000, -60000) + b"\0" * 99,
        b"P6 60000 60000 255\n",
        b"II*\0\x08\0\0\0" + struct.pack("<HHHIIHHII", 2, 256, 4, 1, 60000, 257, 4, 1, 60000),
        b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03",
        b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff",
    ],
)
def test_a_claim_of_many_pixels_is_refused_before_they_are_allocated(data, monkeypatch):
    monkeypatch.setattr(decoding.cv2, "imdecode", None)
    with pytest.raises(DecodingError, match=r"claims .* more than"):
        decode(data)


def test_extreme_shapes_work():
    assert decode(encode(noise(1, 1), ".png")).shape == (1, 1, 3)
    assert decode(encode(noise(40, 20000), ".png")).shape == (40, 20000, 3)
