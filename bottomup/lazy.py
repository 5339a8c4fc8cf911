"""Names that a package offers without importing the files they stand in until one is asked for."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def names_in(package: str, files: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Args:
        package: its dotted name.
        files: for each name that the package offers, the module of the package that holds it.

    Returns:
        a function that gives the attribute of a name, and raises AttributeError if the package
        offers nothing of that name.
    """

    def get(name: str) -> Any:
        if name not in files:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{files[name]}"), name)

    return get
