import subprocess
import sys

import pytest

from bottomup.engines.sessions import open_session, supported_precisions


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_file_that_is_no_graph_is_one_sentence(tmp_path, backend):
    pytest.importorskip(backend)
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ValueError, match=f"graph.onnx: {backend} cannot run this graph") as told:
        open_session(path, backend)
    assert "\n" not in str(told.value)


def test_float32_is_everywhere():
    pytest.importorskip("openvino")
    assert "float32" in supported_precisions("openvino")
    assert "float32" in supported_precisions("onnxruntime")


def test_openvino_sends_nothing_home():
    pytest.importorskip("openvino")
    code = (
        "import sys; from bottomup.engines.sessions import supported_precisions\n"
        "supported_precisions('openvino')\n"
        "print([name for name, module in sys.modules.items() "
        "if module is not None and name.startswith('openvino_telemetry')], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
