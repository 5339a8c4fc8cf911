"""Top-down pose estimation, with which bottom-up is compared: a detector, then a network for each person."""

from typing import Any

from bottomup.lazy import load

_FILES = {
    "BoxData": "datamodule",
    "CenterDetector": "detectors",
    "CropAugment": "samples",
    "CropData": "datamodule",
    "DetectorCriterion": "losses",
    "PersonCriterion": "losses",
    "TopDownEstimator": "estimator",
    "TopDownPredictor": "predictor",
}


def __getattr__(name: str) -> Any:
    return load(__name__, name, _FILES)
