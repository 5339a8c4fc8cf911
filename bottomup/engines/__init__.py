"""What computes a network: torch, or a graph of the network in OpenVINO or ONNX Runtime.

1. `graphs`: from a network to a graph in the form of ONNX.
2. `sessions`: run a graph; neither torch nor the network is needed.
3. `quantization`: layers in 8 bits.
4. `graph_cache`: the graphs of networks that were used before.
5. `cuda_graphs`: torch on a GPU, without the time between kernels.
6. `choice`: the engines, and which one suits a network and a machine.

The words of the command line stand in this file, which `--help` reads without torch.
"""

BACKENDS = ("auto", "torch", "openvino", "onnxruntime")
PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8")
