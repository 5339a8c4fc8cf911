"""Top-down pose estimation, to compare with: a detector, then a network for each person."""

from bottomup.lazy import offer

__getattr__ = offer(
    __name__,
    {
        "BoxData": "datamodule",
        "CenterDetector": "detectors",
        "CropAugment": "samples",
        "CropData": "datamodule",
        "DetectorCriterion": "losses",
        "PersonCriterion": "losses",
        "TopDownEstimator": "estimator",
        "TopDownPredictor": "predictor",
    },
)
