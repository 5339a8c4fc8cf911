"""Images with people and their keypoints: files in COCO's format, drawn crowds, and what is done to both."""
