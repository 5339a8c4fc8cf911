"""Bottom-up multi-person pose estimation: one network, one pass, every person in the crowd.

Shapes use one alphabet everywhere: B images, N people, K joints, M candidates, S scales, L tag dimensions, H W rows
and columns. Points are (x, y) in pixels, the centre of the top-left pixel being (0, 0).
"""

from bottomup.poses import Poses
from bottomup.skeleton import COCO, CROWDPOSE, Skeleton

__version__ = "0.1.0"

__all__ = ["COCO", "CROWDPOSE", "Poses", "Skeleton"]
