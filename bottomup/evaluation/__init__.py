"""Average precision of keypoint results, with intervals."""
