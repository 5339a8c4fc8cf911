"""Images from files, folders and arrays, and people drawn on them; no network is needed here.

The defaults of what is read and drawn stand in this file, which `--help` reads without OpenCV.
"""

from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "samples"  # photos to try things on, 2 to 28 people each

# of the people above it, 86 in 100 are right by the labels of COCO (mini-100)
SCORE_THRESHOLD = 0.17
KEYPOINT_THRESHOLD = 0.1
MAX_PIXELS = 200_000_000  # 0.6 GB decoded; the largest phone cameras make as many
