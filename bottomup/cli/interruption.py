"""Ctrl-C and a polite kill."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interruption:
    """Lets SIGINT and SIGTERM raise KeyboardInterrupt, except in blocks that must be finished.

    Its argument is the number of the signal.

    Attributes:
        came: the number of the signal that has come; 0 before.
    """

    def __init__(self) -> None:
        self.came = 0
        self._is_held_back = False
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
        self.came = number
        if not self._is_held_back:
            raise KeyboardInterrupt(number)

    @contextlib.contextmanager
    def held_back(self, *, ignore: bool = False) -> Iterator[None]:
        """Let a block finish before a signal interrupts it.

        Args:
            ignore: let a signal that comes meanwhile not interrupt at all.

        Raises:
            KeyboardInterrupt: after the block, if a signal came during it.
        """
        came_before = self.came
        self._is_held_back = True
        try:
            yield
        finally:
            self._is_held_back = False
        if self.came and not came_before and not ignore:
            raise KeyboardInterrupt(self.came)
