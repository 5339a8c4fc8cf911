import sys

import pytest

from bottomup.cli import progress as module
from bottomup.cli.progress import progress
from tests.support.terminals import Terminal


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, ["1 of 2", "2 of 2"]), (1e9, [])])
def test_in_a_pipe_it_is_a_line_now_and_then(monkeypatch, capsys, seconds, lines):
    monkeypatch.setattr(module, "SECONDS_PER_LINE", seconds)
    with progress() as show:
        show(1, 2, "1 of 2")
        show(2, 2, "2 of 2")
    out, err = capsys.readouterr()
    assert err.splitlines() == lines
    assert out == ""


def test_on_a_terminal_it_is_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress() as show:
        show(1, 2, "1 of 2, all is well")
    text = sys.stderr.getvalue()
    assert "━" in text
    assert "1 of 2, all is well" in text
