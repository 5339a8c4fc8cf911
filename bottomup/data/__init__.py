"""Images with people and their keypoints: COCO files, drawn crowds, augmentation and loaders."""

from bottomup.lazy import names_in

__getattr__ = names_in(
    __name__,
    {
        "Augment": "augment",
        "Crowd": "scenes.crowd",
        "DrawnData": "datamodule",
        "PhotoData": "datamodule",
        "PoseData": "datamodule",
    },
)
