"""Which people and joints are drawn by default; in a file that `--help` reads without OpenCV."""

# of the people above it, 87 in 100 are right by the labels of COCO (mini-100)
SCORE_THRESHOLD = 0.21
KEYPOINT_THRESHOLD = 0.1
