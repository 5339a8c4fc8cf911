"""Images with people and their keypoints: files in COCO's format, drawn crowds, and what is done to both."""

from typing import Any

from bottomup.lazy import load

_FILES = {
    "Augment": "augment",
    "Crowd": "scenes.crowd",
    "DrawnData": "datamodule",
    "PhotoData": "datamodule",
    "PoseData": "datamodule",
}


def __getattr__(name: str) -> Any:
    return load(__name__, name, _FILES)
