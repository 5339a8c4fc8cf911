"""Average precision of keypoint results, and bootstrap intervals of it."""
