"""Names that a package offers without importing the files they stand in until one is asked for."""

import importlib
from collections.abc import Mapping
from typing import Any


def load(package: str, name: str, files: Mapping[str, str]) -> Any:
    """What `package.name` is; to be called by the package's `__getattr__`.

    Args:
        package: its dotted name.
        name: the attribute that was asked for.
        files: for each name that the package offers, the module of the package that holds it.

    Raises:
        AttributeError: the package offers nothing of that name.
    """
    if name not in files:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{package}.{files[name]}"), name)
