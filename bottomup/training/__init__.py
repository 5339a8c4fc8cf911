"""Training: what Lightning has to know, what happens beside it, and an optimiser for short trainings."""

from bottomup.lazy import names_in

__getattr__ = names_in(
    __name__,
    {
        "AveragedWeights": "callbacks",
        "ConvMuon": "optimizers",
        "LogPictures": "callbacks",
        "PoseEstimator": "estimator",
    },
)
