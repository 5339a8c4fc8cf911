"""Opening the pickles of training programs without their classes.

Beside tensors, checkpoints hold what a program left in them: numbers of numpy, histories, settings.
Nothing of it is needed. torch opens a file with `weights_only=True`, which calls what it knows and
nothing else. Every other name in the file gets a stand-in that does nothing: no module is imported
and no code of the file runs. Numbers of numpy become numbers of Python.

Names of Python's own library are another matter. Only a few are harmless, and a file that asks for
others, such as `subprocess.Popen`, means harm: it is refused.
"""

import builtins
import re
import struct
import sys
from _compat_pickle import IMPORT_MAPPING  # from the names of Python 2, which torch writes
from collections import OrderedDict
from mmap import ACCESS_READ
from mmap import mmap as map_file
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

# what checkpoints hold of Python's own library, beside its built-in classes
HARMLESS_MODULES = {
    "argparse", "array", "collections", "copyreg", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "logging", "operator", "pathlib", "random", "re", "time", "types",
    "typing", "uuid", "zoneinfo",
}  # fmt: skip
# format characters of `struct` for numpy's kinds of numbers
NUMBERS = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q",
    "u8": "Q", "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
MAX_NAMES = 100  # of stand-ins in one file


class UnsafeError(ValueError):
    """A file asks for something that may do harm; the message is its name."""


class _StandIn:
    """Stands for a class or a function; keeps nothing and does nothing."""

    def __new__(cls, *_: Any) -> Any:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _DictStandIn(_StandIn):
    """Stands for a class of dicts; its instances are plain ones."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()


class _ListStandIn(_StandIn):
    """Stands for a class of lists; its instances are plain ones."""

    def __new__(cls, *_: Any) -> Any:
        return []


class _NumberKind(_StandIn):
    """Stands for `numpy.dtype`."""

    code, order = "", "<"

    def __new__(cls, code: Any = "", *_: Any) -> Any:
        kind = object.__new__(cls)
        kind.code = code
        return kind

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Number(_StandIn):
    """Stands for the function that makes numbers of numpy; other values become None."""

    def __new__(cls, kind: Any = None, data: Any = None, *_: Any) -> Any:
        if not isinstance(kind, _NumberKind) or kind.code not in NUMBERS:
            return None
        order = ">" if kind.order == ">" else "<"
        return struct.unpack(order + NUMBERS[kind.code], data)[0]


KINDS: dict[str, type[_StandIn]] = {
    "numpy.dtype": _NumberKind,
    "numpy.core.multiarray.scalar": _Number,
    "numpy._core.multiarray.scalar": _Number,
}


def load_pickle(path: Path, *, mmap: bool) -> Any:
    """The content of a file of torch.save, with stand-ins for all that torch does not know.

    Args:
        path: the file.
        mmap: do not read the tensors before they are needed.

    Raises:
        UnsafeError: the file asks for something that may do harm.
        Exception: anything, for a damaged file.
    """
    # torch would call it, and a number alone makes it as large as all memory
    with path.open("rb") as file, map_file(file.fileno(), 0, access=ACCESS_READ) as whole:
        if whole.find(b"bytearray") >= 0:
            raise UnsafeError("builtins.bytearray")
    known = dict(KINDS)
    while True:
        try:
            return _load(path, known, mmap=mmap)
        except UnpicklingError as error:
            name, kind = _missing(str(error))
            if name is None or known.get(name) is kind or len(known) > MAX_NAMES:
                raise
            known[name] = kind


def _load(path: Path, known: dict[str, type[_StandIn]], *, mmap: bool) -> Any:
    made = []
    for full_name, kind in known.items():
        module, _, name = full_name.rpartition(".")
        names = {"__module__": module, "__qualname__": name}
        made.append(type(name, (kind,), names))
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(made)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _missing(message: str) -> tuple[str | None, type[_StandIn]]:
    """The name that torch asks for, by its message, and what may stand for it; None for neither.

    Raises:
        UnsafeError: it may do harm.
    """
    # a stand-in that the file uses as a dict or as a list
    if used := re.search(r"Can only (\w+).* got <class '([\w.]+)'>", message):
        return used[2], _DictStandIn if used[1].startswith("SETITEM") else _ListStandIn
    if not (wanted := re.search(r"GLOBAL (\S+)", message)):
        return None, _StandIn
    name = wanted[1]
    if "." not in name:
        if name != "getattr" and not isinstance(getattr(builtins, name, None), type):
            raise UnsafeError(name)
        return f"builtins.{name}", _StandIn
    module = name.partition(".")[0]
    is_own = module in sys.stdlib_module_names or module in IMPORT_MAPPING
    if (is_own and module not in HARMLESS_MODULES) or "is blocked" in message:
        raise UnsafeError(name)
    return name, _StandIn
