import re
import subprocess
import sys

import pytest

from bottomup.cli import SUMMARIES, VERBS, exit_codes, main
from tests.support.commands import usage_error

HELPS = [["--help"], *([verb, "--help"] for verb in VERBS)]


@pytest.mark.parametrize("words", [["-h"], *HELPS])
def test_help_is_readable_at_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 84
    assert "==SUPPRESS==" not in text


@pytest.mark.parametrize("words", HELPS)
def test_help_explains_every_exit_code(words, capsys):
    assert main(words) == 0
    text = capsys.readouterr().out.partition("exit codes:")[2]
    explained = [int(code) for code in re.findall(r"^  (\d+)  \w", text, re.MULTILINE)]
    assert explained == [value for name, value in vars(exit_codes).items() if name.isupper()
                         and isinstance(value, int)]  # fmt: skip


@pytest.mark.parametrize("words", [*HELPS, ["configs"], ["--version"]])
def test_help_loads_nothing_slow(words):
    slow = ("cv2", "jaxtyping", "numpy", "pytorch_lightning", "rich", "scipy", "torch", "yaml")
    code = f"import sys; from bottomup.cli import main; main({words}); "
    code += f"sys.exit(', '.join(set({slow}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bottomup ")


def test_no_words_print_what_there_is(capsys):
    assert main([]) == 2
    text = capsys.readouterr().out
    for verb in SUMMARIES:
        assert f"  {verb} " in text


def test_python_m():
    done = subprocess.run(
        [sys.executable, "-m", "bottomup", "predikt"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "did you mean bottomup predict?" in done.stderr


def test_whoever_stops_reading_the_output_gets_no_traceback():
    with subprocess.Popen(
        [sys.executable, "-m", "bottomup"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == 1


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ValueError("the value 3"), 2, "bottomup: the value 3\n"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (FloatingPointError("the loss is nan"), 1, "bottomup: the loss is nan\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_of_a_verb_become_exit_codes(monkeypatch, capsys, error, code, text):
    def fail(arguments):
        raise error

    monkeypatch.setattr(VERBS["configs"], "run", fail)
    assert main(["configs"]) == code
    assert text in capsys.readouterr().err


def test_an_unknown_verb_names_the_closest(capsys):
    assert "did you mean bottomup predict?" in usage_error(capsys, "predikt")
    assert "did you mean bottomup validate?" in usage_error(capsys, "valdate")
    assert "choose one of predict, collect, evaluate" in usage_error(capsys, "xyz")


def test_a_path_in_place_of_a_verb(tmp_path, capsys):
    assert f"bottomup predict {tmp_path} --out" in usage_error(capsys, str(tmp_path))
