"""`bottomup configs`: the recipes in the package, which `--config NAME` finds from any folder."""

import argparse
import os
from pathlib import Path

from bottomup.cli.parser import did_you_mean

SUMMARY = "List the recipes for training, or print one."

EPILOG = """fit, validate and test take a recipe by its name, or any file:
  bottomup fit --config synthetic --trainer.max_steps 100
  bottomup configs synthetic > mine.yaml
  bottomup fit --config mine.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the recipe to print")


def run(arguments: argparse.Namespace) -> None:
    """Print the recipe of that name, or a line about each.

    Raises:
        ValueError: there is no such recipe.
    """
    if arguments.name is not None:
        problem = f"configs: there is no recipe {arguments.name!r}"
        print(_recipe(arguments.name, problem).read_text(encoding="utf-8"), end="")
    else:
        found = recipes()
        width = max(map(len, found), default=0)
        for name, path in found.items():
            summary = path.read_text(encoding="utf-8").splitlines()[0]
            print(f"{name:<{width}}  {summary.removeprefix('#').strip()}")


def recipes() -> dict[str, Path]:
    """The files of all recipes, by name."""
    folder = Path(__file__).parents[1] / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(config: str) -> str:
    """The path that `--config` means: that of a file if there is one, else that of a recipe.

    Args:
        config: a path, a recipe's name with or without .yaml, or YAML itself, which is returned as
            it is.

    Raises:
        ValueError: there is neither such a file nor such a recipe.
    """
    is_file = os.path.exists(config) and not os.path.isdir(config)
    if is_file or ":" in config or "{" in config:
        return config
    return str(_recipe(config, f"--config {config!r} is neither a file nor a recipe"))


def _recipe(name: str, problem: str) -> Path:
    """The file of a recipe; `problem` is what to say if there is none of that name."""
    stem = name.removesuffix(".yaml")
    if stem in (found := recipes()):
        return found[stem]
    meant = did_you_mean(
        Path(stem).name, found, otherwise="bottomup configs lists all", num_names=3
    )
    raise ValueError(f"{problem}; {meant}")
