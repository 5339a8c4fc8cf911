"""The parser of the verbs: types of arguments, and errors that name what was probably meant."""

import argparse
import difflib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from bottomup.cli import exit_codes


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that names what was probably meant.

    Args:
        verb: its name.
        summary: what it does, in one line.
        epilog: what stands after the options in its help.
    """

    def __init__(self, verb: str, summary: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"bottomup {verb}",
            description=summary,
            epilog=f"{epilog}\n\n{exit_codes.EXPLANATION}".lstrip(),
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse the words after the verb.

        Raises:
            ValueError: they do not fit.
        """
        known = self._option_string_actions
        for word in itertools.takewhile(lambda word: word != "--", words):
            option = word.split("=")[0]
            if option[:1] == "-" != option and option not in known and not _is_number(word):
                meant = did_you_mean(option, known, otherwise=f"see {self.prog} --help")
                self.error(f"unknown option {option}; {meant}")
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        """Raise a ValueError, where argparse would exit."""
        raise ValueError(f"{self.prog.split()[-1]}: {message}")


def did_you_mean(
    word: str, names: Iterable[str], *, otherwise: str, prefix: str = "", num_names: int = 1
) -> str:
    """Name what was probably meant.

    Args:
        word: what was given.
        names: what could have been given.
        otherwise: the answer if no name resembles the word.
        prefix: stands before each name.
        num_names: how many names to give at most.
    """
    close = difflib.get_close_matches(word, list(names), n=num_names, cutoff=0.5)
    return f"did you mean {' or '.join(prefix + name for name in close)}?" if close else otherwise


def overview(summaries: Mapping[str, str]) -> str:
    """What `bottomup --help` prints, from the summaries of the verbs."""
    verbs = "\n".join(f"  {name:<10}{summary}" for name, summary in summaries.items())
    return f"""usage: bottomup VERB ...

Find every person in an image and the joints of each, bottom-up.

{verbs}

bottomup VERB --help explains a verb; bottomup --version prints the version.
To begin:  bottomup predict --out out    (sample images; then open out/index.html)

{exit_codes.EXPLANATION}"""


def unknown_verb(word: str, verbs: Iterable[str]) -> str:
    """The error for a first word that is no verb; a path is probably one to predict."""
    otherwise = f"choose one of {', '.join(verbs)}"
    if os.path.exists(word):
        otherwise = f"did you mean bottomup predict {word} --out DIR?"
    meant = did_you_mean(word, verbs, otherwise=otherwise, prefix="bottomup ")
    return f"unknown verb {word!r}; {meant}"


def number(low: float, high: float, *, hint: str = "") -> Callable[[str], float]:
    """An argument type: a number from low to high; the error ends with the hint."""

    def parse(word: str) -> float:
        if not _is_number(word) or not low <= float(word) <= high:
            raise argparse.ArgumentTypeError(
                f"{word!r} is not a number from {low:g} to {high:g}{hint}"
            )
        return float(word)

    return parse


def count(word: str) -> int:
    """An argument type: a whole number from 1."""
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number from 1")
    return int(word)


def shard(word: str) -> tuple[int, int]:
    """An argument type: I/N, the I-th of N parts."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", word, re.ASCII)
    part = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part[0] <= part[1]:
        raise argparse.ArgumentTypeError(f"{word!r} is not one of 1/N, 2/N up to N/N")
    return part


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
