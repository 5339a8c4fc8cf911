"""Reading in processes of its own: a decoder that crashes costs one image, and not the run."""

import contextlib
import dataclasses
import functools
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import cv2

from bottomup.images.frames import Frame, is_unread


def read_isolated(frame: Frame, read: Callable[[Frame], Frame]) -> Frame:
    """Read a frame in a process that this one keeps for it.

    Args:
        frame: of a file.
        read: see `IsolatedReader`; equal ones share a process.
    """
    return _reader_of(read)(frame)


@functools.lru_cache(maxsize=1)
def _reader_of(read: Callable[[Frame], Frame]) -> "IsolatedReader":
    return IsolatedReader(read)


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection


class IsolatedReader:
    """Reads frames in other processes, one for each thread that calls it; a context manager.

    Args:
        read: from a frame to the frame with its pixels, or with the reason why it has none. It is
            pickled, so it is a function of a module.
    """

    def __init__(self, read: Callable[[Frame], Frame]) -> None:
        self._read = read
        self._own = threading.local()
        self._workers: list[_Worker] = []

    def __enter__(self) -> "IsolatedReader":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()

    def __call__(self, frame: Frame) -> Frame:
        """The frame with its pixels, or with the reason why it has none."""
        if not is_unread(frame):
            return frame
        try:
            worker = self._own.worker
            worker.connection.send(frame)
        except (AttributeError, OSError):  # none yet, or it ended while it had nothing to do
            worker = self._own.worker = self._start()
            worker.connection.send(frame)
        try:
            return worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            worker.connection.close()
            self._workers.remove(worker)
            return dataclasses.replace(frame, error=_reason(worker.process.exitcode or 0))

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        own, others = context.Pipe()
        process = context.Process(target=_serve, args=(others, self._read), daemon=True)
        with _signals_blocked():
            process.start()
        others.close()
        worker = _Worker(process, own)
        self._workers.append(worker)
        return worker


def _serve(connection: Connection, read: Callable[[Frame], Frame]) -> None:
    """Read frames until the other side closes the connection, or is gone."""
    cv2.setNumThreads(1)
    with contextlib.suppress(OSError):  # where memory is short, Linux then ends this process first
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(read(connection.recv()))


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Start a process that does not see Ctrl-C: its parent ends it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reason(code: int) -> str:
    """Why a process has ended, from its exit code."""
    cause = f"exit code {code}"
    if code < 0:
        cause = signal.strsignal(-code) or f"signal {-code}"
    hint = ", perhaps for lack of memory" if code == -getattr(signal, "SIGKILL", 9) else ""
    return f"the process that read it has ended: {cause}{hint}"
