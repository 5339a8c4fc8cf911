"""Training: what Lightning has to know, what happens beside it, and an optimiser for short trainings."""

from typing import Any

from bottomup.lazy import load

_FILES = {
    "AveragedWeights": "callbacks",
    "ConvMuon": "optimizers",
    "LogPictures": "callbacks",
    "PoseEstimator": "estimator",
}


def __getattr__(name: str) -> Any:
    return load(__name__, name, _FILES)
