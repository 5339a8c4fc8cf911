"""What libraries in C print about bad files."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def native_messages_off() -> Iterator[None]:
    """Hide what libpng, libjpeg and the like print about bad files: the summary names those files.

    They write to file descriptor 2 themselves; Python's own messages go on to where it pointed.
    """
    shown = sys.stderr
    try:
        is_native = shown.fileno() == 2
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # captured by a test, or closed
        yield
        return
    shown.flush()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    if is_native:
        sys.stderr = os.fdopen(
            kept, "w", 1, encoding=shown.encoding, errors="backslashreplace", closefd=False
        )
    try:
        yield
    finally:
        sys.stderr = shown
        os.dup2(kept, 2)
        os.close(kept)
