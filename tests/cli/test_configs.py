from pathlib import Path

import pytest

from bottomup.cli import main
from bottomup.cli.configs import find_config, recipes
from tests.support.commands import usage_error

FOLDER = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    """Recipes are found from any folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_recipes_are_those_at_the_top_of_the_repository():
    assert sorted(recipes()) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert not FOLDER.is_symlink()


def test_the_list_has_a_line_for_each(capsys):
    assert main(["configs"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == sorted(recipes())
    assert lines["synthetic"] == "Drawn crowds from random weights: nothing to download."


@pytest.mark.parametrize("name", sorted(recipes()))
def test_a_recipe_begins_with_one_line_of_summary(name, capsys):
    first, second, *_ = recipes()[name].read_text().splitlines()
    assert first.startswith("# ")
    assert first.endswith(".")
    assert second == "#"
    assert main(["configs"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("name", ["synthetic", "synthetic.yaml"])
def test_one_is_printed_as_it_is(name, capsys):
    assert main(["configs", name]) == 0
    assert capsys.readouterr().out == (FOLDER / "synthetic.yaml").read_text()


def test_an_unknown_name_gives_the_closest(capsys):
    text = usage_error(capsys, "configs", "topdown_heatmaps")
    assert "no recipe 'topdown_heatmaps'; did you mean topdown_heatmap" in text
    assert "bottomup configs lists all" in usage_error(capsys, "configs", "zzz")


@pytest.mark.parametrize("config", ["synthetic", "synthetic.yaml"])
def test_a_config_is_a_file_or_else_a_recipe(config, empty_folder):
    assert Path(find_config(config)).samefile(FOLDER / "synthetic.yaml")
    (empty_folder / config).mkdir()
    assert Path(find_config(config)).samefile(FOLDER / "synthetic.yaml")
    (empty_folder / config).rmdir()
    (empty_folder / config).write_text("seed_everything: 1")
    assert find_config(config) == config


@pytest.mark.parametrize("config", ["seed_everything: 3", '{"seed_everything": 3}'])
def test_yaml_itself_is_a_config(config):
    assert find_config(config) == config


@pytest.mark.parametrize("config", ["configs/synthetc.yaml", "synthetc", "synthetc.yaml"])
def test_neither_file_nor_recipe(config):
    with pytest.raises(ValueError, match="neither a file nor a recipe; did you mean synthetic"):
        find_config(config)
