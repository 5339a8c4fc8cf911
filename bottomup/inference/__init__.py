"""From images to people: preprocess, network, postprocess, and the folder that a run writes.

The bounds of `--max-megapixels` stand in this file, which `--help` reads without torch.
"""

MAX_MEGAPIXELS = 24.0  # of the finest input that the size "auto" chooses, by default
MOST_MEGAPIXELS = 64.0  # that may be chosen
