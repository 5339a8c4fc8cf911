"""What `pip install` brings: the package and its recipes, and nothing else of the repository."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """A wheel of a copy of the repository: without what earlier builds left there."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "repository"
    for name in ("bottomup", "configs", "scripts", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "golden")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", folder, source], check=True)
    return zipfile.ZipFile(next(folder.glob("bottomup-*.whl")))


def test_the_wheel_holds_the_package_alone(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bottomup").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    assert {name.split("/")[0] for name in names} == {"bottomup"}
    assert not [name for name in names if "comparison" in name or "peers" in name]


def test_the_wheel_holds_the_data_of_the_package(wheel):
    names = set(wheel.namelist())
    for pattern in ("py.typed", "samples/*.*", "weights/*.safetensors", "data/scenes/*.npz"):
        found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bottomup").glob(pattern)}
        assert found
        assert found <= names


def test_the_wheel_holds_the_recipes_themselves(wheel):
    recipes = {f"bottomup/configs/{path.name}": path for path in ROOT.glob("configs/*.yaml")}
    assert {name for name in wheel.namelist() if name.endswith(".yaml")} == set(recipes)
    for name, path in recipes.items():
        assert wheel.read(name) == path.read_bytes()


def test_an_installed_wheel_finds_its_recipes(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "bottomup", "configs", "synthetic"],
        cwd=tmp_path / "empty",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == (ROOT / "configs" / "synthetic.yaml").read_text(), done.stderr
