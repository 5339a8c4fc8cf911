"""Networks as files that other programs run: export, and the runtime that needs no torch.

1. `pose_graph`: from pixels to candidates for joints, as one graph.
2. `manifest`: what the file beside a graph says.
3. `writing`: from a network to the files.
4. `runtime`: from images to people, with numpy, scipy, OpenCV and one engine.

The words of the command line stand in this file, which `--help` reads without torch.
"""

from bottomup.lazy import offer

FORMATS = {"onnx": "model.onnx", "openvino": "model.xml"}
"""The file of the graph in each format."""
PRECISIONS = ("float32", "bfloat16", "float16", "int8")
MAX_CANDIDATES = 2048  # of each joint, that a graph keeps
MAX_VOTES = 256  # of each scale
MAX_LOSS = 0.01  # of AP, that --check allows

__getattr__ = offer(__name__, {"Runtime": "runtime"})
