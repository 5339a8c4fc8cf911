"""What all tests share: shapes and types checked at every call, one thread, the golden data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import settings

import tests.support.typecheck  # noqa: F401  the hook below finds it by name

jaxtyping.install_import_hook(
    ["bottomup", "comparison"], "tests.support.typecheck.check"
)  # before the first import of the package
torch.set_num_threads(1)
settings.register_profile(
    "same", derandomize=True, deadline=None
)  # a commit passes or fails, not now and then
settings.load_profile("same")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden data beside the repository; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the full golden data are not at {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is remembered in, or taken from, the cache folder of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def torch_engine() -> Iterator[None]:
    """Tests run torch in float32, also in other processes; those of engines say otherwise."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BOTTOMUP_BACKEND", "torch")
        patched.setenv("BOTTOMUP_PRECISION", "float32")
        yield


@pytest.fixture(scope="session", autouse=True)
def unchecked_traces() -> Iterator[None]:
    """Nothing is checked while a graph is traced, or the checks of shapes would be traced too."""
    export = torch.onnx.export

    def unchecked(*arguments: Any, **options: Any) -> Any:
        jaxtyping.config.update("jaxtyping_disable", True)
        try:
            return export(*arguments, **options)
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.onnx, "export", unchecked)
        yield


@pytest.fixture
def quiet_seed() -> Iterator[None]:
    """Lightning seeds everything: leave the generators as they were."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture(params=["small", "full"])
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of golden data: the small copy in tests/golden, then all where it is at hand."""
    if request.param == "small":
        return Path(__file__).parent / "golden"
    return request.getfixturevalue("shared") / "conformance"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `gpu` skip where there is no CUDA device."""
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
