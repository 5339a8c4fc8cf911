"""The compared methods: commands, read from a table or from the command line."""

import dataclasses
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml

KINDS = ("bottom-up", "top-down", "other")


@dataclasses.dataclass(frozen=True)
class Method:
    """A method as a command.

    Attributes:
        name: in the report and of its folder.
        command: its words; "{python}" is this interpreter, "$NAME" an environment variable. In a
            table, "{here}" is the folder of the table.
        kind: "bottom-up", "top-down" or "other".
        boxes: whether `--boxes FILE` gives it people's boxes.
        ours: whether it takes part in the sweeps of drawn people.
    """

    name: str
    command: tuple[str, ...]
    kind: str = "other"
    boxes: bool = False
    ours: bool = False

    def words(self) -> list[str]:
        """The command with {python} and environment variables filled in.

        Raises:
            LookupError: an environment variable is not set.
        """
        words = [
            os.path.expandvars(word.replace("{python}", sys.executable)) for word in self.command
        ]
        unset = re.search(r"\$\{?(\w+)", " ".join(words))
        if unset:
            raise LookupError(
                f"the environment variable {unset[1]} is not set, which its command names"
            )
        return words


def read_methods(path: Path) -> dict[str, Method]:
    """Read a table of methods: YAML that maps names to `command` and the other fields of `Method`.

    Raises:
        ValueError: the table is wrong; the message names the entry.
        OSError: it cannot be read.
    """
    try:
        table = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(table, dict):
        raise ValueError(
            f"{path} must map names of methods to their commands, not be a {type(table).__name__}"
        )
    here = str(path.resolve().parent)
    methods = {}
    for name, entry in table.items():
        method = _method(str(name), entry, f"{path}: {name}")
        command = tuple(word.replace("{here}", here) for word in method.command)
        methods[method.name] = dataclasses.replace(method, command=command)
    return methods


def parse_method(text: str) -> Method:
    """A method from NAME=COMMAND.

    Raises:
        ValueError: the text is not of that form.
    """
    name, equals, command = text.partition("=")
    if not equals or not command.strip():
        raise ValueError(f"a method is NAME=COMMAND, not {text!r}")
    return _method(name, command, f"method {name!r}")


def _method(name: str, entry: Any, where: str) -> Method:
    """A method from an entry of a table: a command, or a mapping of the fields of `Method`."""
    if not re.fullmatch(r"[\w.+-]{1,60}", name) or name.startswith("."):
        raise ValueError(
            f"{where}: names are made of letters, digits and . _ + -, and start with no dot"
        )
    if isinstance(entry, str):
        entry = {"command": entry}
    known = {field.name for field in dataclasses.fields(Method)} - {"name"}
    has_fields = isinstance(entry, dict) and entry.keys() <= known
    if not has_fields or not isinstance(entry.get("command"), str):
        raise ValueError(
            f"{where}: needs a 'command' and may have {sorted(known - {'command'})}, "
            f"not {entry!r:.200}"
        )
    if entry.get("kind", "other") not in KINDS:
        raise ValueError(f"{where}: kind must be one of {KINDS}, not {entry['kind']!r}")
    try:
        command = tuple(shlex.split(entry["command"]))
    except ValueError as error:
        raise ValueError(
            f"{where}: the command {entry['command']!r} cannot be split into words: {error}"
        ) from error
    return Method(name, command, **{key: entry[key] for key in entry if key != "command"})
