import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from bottomup.images.frames import Frame, map_ahead, read
from bottomup.images.isolation import IsolatedReader
from bottomup.images.sources import scan
from tests.support.picture_files import HALVES, encode


def fragile_read(frame: Frame) -> Frame:
    """Ends its process as its file's name says."""
    number = {"segv.png": signal.SIGSEGV, "kill.png": signal.SIGKILL}.get(frame.name)
    if number is not None:
        os.kill(os.getpid(), number)
    if frame.name == "exit.png":
        os._exit(7)
    return read(frame)


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("1.png", "2.png", "3.png", "exit.png", "kill.png", "segv.png"):
        (tmp_path / name).write_bytes(encode(HALVES, ".png"))
    (tmp_path / "4.png").write_text("text")
    return tmp_path


def test_a_crash_costs_one_image_and_says_why(folder):
    with IsolatedReader(fragile_read) as reader:
        frames = {f.name: f for f in map_ahead(reader, scan(folder), num_workers=2)}
    assert "Segmentation fault" in (frames["segv.png"].error or "")
    assert "Killed, perhaps for lack of memory" in (frames["kill.png"].error or "")
    assert "exit code 7" in (frames["exit.png"].error or "")
    assert "not an image" in (frames["4.png"].error or "")
    for name in ("1.png", "2.png", "3.png"):
        np.testing.assert_array_equal(frames[name].image, HALVES)


def test_a_process_that_was_killed_while_idle_costs_nothing(folder):
    with IsolatedReader(read) as reader:
        for name in ("1.png", "2.png"):
            assert reader(Frame(name, folder / name)).image is not None
            for worker in reader._workers:
                worker.process.kill()
                worker.process.join()


def test_processes_ignore_ctrl_c_and_end_with_their_reader(folder):
    with IsolatedReader(read) as reader:
        assert reader(Frame("1.png", folder / "1.png")).image is not None
        (worker,) = reader._workers
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.process.pid or 0, number)
        time.sleep(0.1)
        assert reader(Frame("2.png", folder / "2.png")).image is not None
        assert reader._workers == [worker]
    assert not worker.process.is_alive()


def test_what_needs_no_reading_starts_no_process():
    with IsolatedReader(read) as reader:
        frame = Frame("bad", error="no such file")
        assert reader(frame) is frame
        assert not reader._workers
