"""Images with people and their keypoints: COCO files, drawn crowds, augmentation and loaders."""

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
