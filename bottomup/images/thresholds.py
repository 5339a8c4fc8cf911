"""Which people and joints are drawn by default; in a file that `--help` reads without OpenCV."""

SCORE_THRESHOLD = 0.21
"""Of the people above it, 87 in 100 are right by the labels of COCO (mini-100)."""

KEYPOINT_THRESHOLD = 0.1
