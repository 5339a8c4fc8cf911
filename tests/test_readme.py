import re
import shutil
from pathlib import Path

import pytest

from bottomup.cli import main
from bottomup.cli.configs import recipes

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SAMPLE = ROOT / "bottomup" / "samples" / "park.jpg"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "photos").mkdir()
    for copy in ("photo.jpg", "photos/one.jpg", "photos/two.jpg"):
        shutil.copy(SAMPLE, tmp_path / copy)
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "one.jpg",
        "two.jpg",
    ]


def test_scripts_are_there():
    commands = [line.split()[0] for block in blocks("bash") for line in block.splitlines() if line]
    assert commands
    for command in commands:
        assert (ROOT / command).stat().st_mode & 0o100, command


@pytest.mark.parametrize("verb", re.findall(r"^\| `bottomup (\w+)", README, re.MULTILINE))
def test_verbs_explain_themselves(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert verb in capsys.readouterr().out


def test_recipes_are_there():
    names = {Path(word).stem for word in re.findall(r"--config ([\w/.]+)", README)}
    named = {name for name in names if name.islower()}  # not NAME, FILE and ...
    assert named
    assert named <= set(recipes())


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_sample_states_its_origin():
    licences = (SAMPLE.parent / "LICENSES.md").read_text()
    for sample in SAMPLE.parent.glob("*.*"):
        assert sample.suffix == ".md" or sample.name in licences, sample.name
