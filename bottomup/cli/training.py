"""`bottomup fit`, `validate` and `test`; `bottomup.cli.lightning_cli` runs them."""

from collections.abc import Iterable

from bottomup.cli.configs import find_config

SUMMARIES = {
    "fit": "Train a network from a recipe; bottomup configs lists them.",
    "validate": "Average precision of a network on the validation images of a recipe.",
    "test": "The same on its test images.",
}


def run(verb: str, words: Iterable[str]) -> int:
    """Run one verb with the words after it; returns the exit code.

    Raises:
        ValueError: an argument, a file or the data do not fit.
    """
    words = _with_recipe_paths(words)  # before the slow import
    from bottomup.cli.lightning_cli import run_lightning

    return run_lightning(verb, words)


def _with_recipe_paths(words: Iterable[str]) -> list[str]:
    """The words, with the names of recipes after --config replaced by their paths."""
    found: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if equals and option in ("--config", "-c"):
            word = f"{option}={find_config(value)}"
        elif found and found[-1] in ("--config", "-c"):
            word = find_config(word)
        found.append(word)
    return found
