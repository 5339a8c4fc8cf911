"""Command lines that are run in this process."""

import pytest

from bottomup.cli import main


def usage_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command line that is wrong usage prints: no traceback, no repeated usage."""
    assert main(words) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert "usage:" not in text
    return text
