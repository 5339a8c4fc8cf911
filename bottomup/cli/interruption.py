"""Ctrl-C and a polite kill."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interruption:
    """Notes SIGINT and SIGTERM, so that what is under way can be finished; a context manager.

    A second signal raises KeyboardInterrupt, and so does the first in a block of `at_once`. Its
    argument is the number of the signal.

    Attributes:
        came: the number of the signal that has come; 0 before.
    """

    def __init__(self) -> None:
        self.came = 0
        self._is_at_once = False
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        # Python lets only the main thread set handlers.
        if threading.current_thread() is threading.main_thread():
            self._earlier = {
                number: signal.signal(number, self._on_signal)
                for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        came_before, self.came = self.came, number
        if came_before or self._is_at_once:
            raise KeyboardInterrupt(number)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal interrupt a block in which nothing can be lost, such as one that waits.

        Raises:
            KeyboardInterrupt: a signal came.
        """
        self._is_at_once = True
        try:
            yield
        finally:
            self._is_at_once = False
