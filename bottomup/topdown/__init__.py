"""Top-down pose estimation, with which bottom-up is compared: a detector, then a network for each person."""

from bottomup.lazy import names_in

__getattr__ = names_in(
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
