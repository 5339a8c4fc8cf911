import itertools
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bottomup.images import frames
from bottomup.images.frames import MAX_AHEAD_BYTES, Frame, map_ahead, read
from bottomup.images.sources import scan
from tests.images.test_sources import iterate, put
from tests.support.picture_files import HALVES, encode, with_orientation


def test_a_warning_comes_with_the_image(tmp_path):
    (tmp_path / "1.jpg").write_bytes(encode(HALVES, ".jpg")[:-2])
    (frame,) = iterate(tmp_path)
    assert frame.image is not None
    assert frame.error is None
    assert "end mark" in (frame.warning or "")


def test_pipes_and_devices_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (frame,) = iterate(tmp_path)
    assert frame.error == "not a file"
    (frame,) = iterate("/dev/zero")
    assert frame.error == "not a file"


def test_a_file_too_large_is_not_read(tmp_path):
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(1 << 34)
    (frame,) = iterate(tmp_path)
    assert "too large" in (frame.error or "")


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path):
    assert read(Frame("1.png", tmp_path)).error == "cannot be read: Is a directory"


def test_a_file_that_vanishes_is_an_error(tmp_path):
    put(tmp_path, "1.png", "2.png")
    frames = list(scan(tmp_path))
    (tmp_path / "1.png").unlink()
    first, second = map(read, frames)
    assert "No such file" in (first.error or "")
    assert second.error is None


def test_permission_errors_have_their_own_words(tmp_path, monkeypatch):
    put(tmp_path, "1.png")
    monkeypatch.setattr(
        os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    (frame,) = map(read, scan(tmp_path))
    assert frame.error == "cannot be read: Permission denied"


def test_an_infinite_generator_is_pulled_as_needed():
    pulled = itertools.count()
    frames = iterate(HALVES for _ in pulled)
    for _ in range(5):
        assert next(frames).image is not None
    assert next(pulled) <= 6


def test_files_are_listed_little_ahead(tmp_path):
    put(tmp_path, *(f"{i:03}.png" for i in range(100)))
    pulled = []
    ahead = map_ahead(read, (pulled.append(1) or frame for frame in scan(tmp_path)), num_workers=2)
    next(ahead)
    assert len(pulled) <= 6
    ahead.close()


def test_map_ahead_keeps_the_order_and_raises_what_is_raised():
    gate = threading.Event()

    def work(i: int) -> int:
        if i == 0:
            gate.wait(5)
        else:
            gate.set()
        if i == 7:
            raise KeyError(i)
        return i

    results = map_ahead(work, range(10), num_workers=2)
    assert list(itertools.islice(results, 7)) == list(range(7))
    with pytest.raises(KeyError):
        next(results)


def test_map_ahead_does_unwanted_items_in_their_turn():
    threads = []

    def work(i: int) -> int:
        threads.append(threading.current_thread() is threading.main_thread())
        return i

    assert list(map_ahead(work, range(6), wanted=lambda i: i % 2 == 0)) == list(range(6))
    assert sorted(threads) == [False] * 3 + [True] * 3


def test_read_passes_arrays_and_failures_through():
    for frame in (
        Frame("x", image=HALVES),
        Frame("x", error="bad"),
        Frame("x", Path("x"), error="bad"),
    ):
        assert read(frame) is frame


def test_results_that_are_large_are_not_read_far_ahead():
    pulled = []

    def items():
        for number in range(8):
            pulled.append(number)
            yield number
            time.sleep(0.02)  # the results of those before are there

    results = map_ahead(
        lambda number: number, items(), num_bytes=lambda _: MAX_AHEAD_BYTES, num_workers=4
    )
    assert next(results) == 0
    assert len(pulled) <= 4  # seven, if memory did not count
    assert [*results] == [1, 2, 3, 4, 5, 6, 7]


def quarter(size):
    return 4


@pytest.mark.parametrize("wh", [(64, 48), (61, 47), (61, 61)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_read_as_small_as_is_enough(tmp_path, wh, orientation):
    image = np.zeros((wh[1], wh[0], 3), np.uint8)
    (tmp_path / "1.jpg").write_bytes(with_orientation(encode(image, ".jpg"), orientation))
    frame = read(Frame("1.jpg", tmp_path / "1.jpg", enough=quarter))
    full_wh = wh if orientation == 1 else wh[::-1]
    assert (frame.reduction, frame.full_wh) == (4, full_wh)
    assert frame.image is not None
    assert frame.image.shape == (-(-full_wh[1] // 4), -(-full_wh[0] // 4), 3)


def test_what_cannot_be_read_smaller_is_read_whole(tmp_path):
    files = {
        "1.png": encode(HALVES, ".png"),
        "2.jpg": encode(HALVES, ".jpg")[:-2],  # its rows have to be compared
        "3.jpg": encode(np.zeros((60, 58, 3), np.uint8), ".jpg"),  # as square as when it is turned
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        frame = read(Frame(name, tmp_path / name, enough=quarter))
        assert frame.image is not None
        assert frame.reduction == 1
        assert frame.full_wh == frame.image.shape[1::-1]


def test_the_size_is_that_of_the_pixels_where_the_header_differs(tmp_path, monkeypatch):
    """As of HEIC files, whose header may state the size before they are cropped."""
    path = tmp_path / "a.png"
    path.write_bytes(encode(HALVES, ".png"))
    monkeypatch.setattr(frames, "usable_size", lambda *_: (HALVES.shape[1] + 1, HALVES.shape[0]))
    frame = read(Frame("a.png", path))
    assert frame.image is not None
    assert frame.full_wh == HALVES.shape[1::-1]
