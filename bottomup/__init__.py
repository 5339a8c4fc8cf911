"""Bottom-up multi-person pose estimation: one network, one pass, every person in the crowd.

    from bottomup import Predictor
    poses = Predictor()("photo.jpg")

Shapes use one alphabet everywhere: B images, N people, K joints, M candidates, S scales, L tag dimensions, H W rows
and columns. Points are (x, y) in pixels, the centre of the top-left pixel being (0, 0).
"""

from typing import TYPE_CHECKING, Any

from bottomup.poses import Poses
from bottomup.skeleton import COCO, CROWDPOSE, Skeleton

if TYPE_CHECKING:
    from bottomup.grouping import Grouper
    from bottomup.models.weights import load_model
    from bottomup.predictor import Prediction, Predictor

__version__ = "0.1.0"

__all__ = ["COCO", "CROWDPOSE", "Grouper", "Poses", "Prediction", "Predictor", "Skeleton", "load_model"]

_LAZY = {
    "Grouper": "bottomup.grouping",
    "Prediction": "bottomup.predictor",
    "Predictor": "bottomup.predictor",
    "load_model": "bottomup.models.weights",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: `import bottomup` takes a quarter of a second."""
    import importlib

    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
