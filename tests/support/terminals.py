"""What a verb may write to in place of a real terminal."""

import io


class Terminal(io.StringIO):
    """Takes text and claims to be a terminal."""

    def isatty(self) -> bool:
        return True
