import subprocess
import sys

import pytest

import bottomup


def test_every_public_name_is_there():
    for name in bottomup.__all__:
        assert getattr(bottomup, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Predicter'"):
        bottomup.Predicter  # noqa: B018


def test_importing_the_package_does_not_import_torch():
    code = "import bottomup, sys; sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
