"""What all tests share: shapes and types checked at every call of the package, one thread, the golden data."""

from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("bottomup", "beartype.beartype")  # before the first import of the package
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden data beside the repository; tests that need all of it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the full golden data are not at {folder}")
    return folder
