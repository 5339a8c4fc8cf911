"""Training with Lightning: estimators, callbacks, and an optimiser for short trainings."""

from bottomup.lazy import offer

__getattr__ = offer(
    __name__,
    {
        "AveragedWeights": "callbacks",
        "ConvMuon": "optimizers",
        "LogPictures": "callbacks",
        "NewestCheckpoint": "checkpoints",
        "PoseEstimator": "estimator",
    },
)
