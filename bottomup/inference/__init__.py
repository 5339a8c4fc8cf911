"""From images to people: preprocess, network, postprocess, and the folder that a run writes."""

from bottomup.lazy import offer

__getattr__ = offer(
    __name__,
    {
        "Prediction": "predictor",
        "Predictor": "predictor",
    },
)
