"""From images to people: preprocess, network, postprocess, and the folder that a run writes."""

from typing import Any

from bottomup.lazy import load

_FILES = {
    "Prediction": "predictor",
    "Predictor": "predictor",
}


def __getattr__(name: str) -> Any:
    return load(__name__, name, _FILES)
