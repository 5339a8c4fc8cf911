"""Bottom-up multi-person pose estimation: one network, one pass, every person in the crowd.

    from bottomup import Predictor
    poses = Predictor()("photo.jpg")

Shapes use one alphabet everywhere: B images, N people, K joints, M candidates, S scales, L tag
dimensions, H W rows and columns. Points are (x, y) in pixels, the centre of the top-left pixel
being (0, 0).
"""

from typing import TYPE_CHECKING

from bottomup.lazy import offer

if TYPE_CHECKING:
    from bottomup.inference.prediction import Prediction
    from bottomup.inference.predictor import Predictor
    from bottomup.method.grouping import Grouper
    from bottomup.poses import Poses
    from bottomup.skeleton import COCO, CROWDPOSE, Skeleton
    from bottomup.weights.store import load_model

__version__ = "0.1.0"

__all__ = [
    "COCO",
    "CROWDPOSE",
    "Grouper",
    "Poses",
    "Prediction",
    "Predictor",
    "Skeleton",
    "load_model",
]

# imported when they are asked for, so that `import bottomup` and --help are quick
__getattr__ = offer(
    __name__,
    {
        "COCO": "skeleton",
        "CROWDPOSE": "skeleton",
        "Grouper": "method.grouping",
        "Poses": "poses",
        "Prediction": "inference.prediction",
        "Predictor": "inference.predictor",
        "Skeleton": "skeleton",
        "load_model": "weights.store",
    },
)
