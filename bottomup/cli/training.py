"""`bottomup fit`, `validate` and `test`; `bottomup.cli.lightning_cli` runs them."""

import itertools
from collections.abc import Iterable

from bottomup.cli.configs import find_config

SUMMARIES = {
    "fit": "Train a network from a recipe; bottomup configs lists them.",
    "validate": "Average precision of a network on the validation images of a recipe.",
    "test": "The same on its test images.",
}


def run(verb: str, words: Iterable[str]) -> None:
    """Run one verb with the words after it.

    Raises:
        ValueError: an argument, a file or the data do not fit.
        FloatingPointError: a loss is not finite.
    """
    words = list(words)
    resolved = _with_recipe_paths(words)  # before the slow import
    from bottomup.cli.lightning_cli import run_lightning

    run_lightning(verb, resolved, words)


def _with_recipe_paths(words: Iterable[str]) -> list[str]:
    """The words, with the names of recipes after --config replaced by their paths."""
    is_joined = ("--config=", "-c=")
    parts = [word.split("=", 1) if word.startswith(is_joined) else [word] for word in words]
    return [
        find_config(word) if before in ("--config", "-c") else word
        for before, word in itertools.pairwise(["", *itertools.chain(*parts)])
    ]
