"""Where the poses of drawn people come from: a small mixture of Gaussians fitted to many labelled people.

The numbers in pose_prior.npz are the fit of scripts/fit_pose_prior.py: 24 components, each a mean
pose and ten directions in which it varies. Half of the poses are mirrored, left and right
exchanged.
"""

import dataclasses
import functools
import importlib.resources

import numpy as np
from jaxtyping import Bool, Float

from bottomup.skeleton import COCO


@dataclasses.dataclass(frozen=True)
class Pose:
    """One body in the plane of the image.

    Attributes:
        points: (17, 2) the joints of COCO about the middle of the torso, y down, in units of the
            torso's spread: a grown-up stands about seven units tall.
        shown: (17,) whether a joint can be seen at all: a face turned away shows neither nose nor
            eyes.
    """

    points: Float[np.ndarray, "17 2"]
    shown: Bool[np.ndarray, " 17"]

    def mirrored(self) -> "Pose":
        """The same body in a mirror: left and right change places."""
        flip = list(COCO.flip_indices)
        return Pose(self.points[flip] * (-1, 1), self.shown[flip])


def sample_pose(rng: np.random.Generator, *, spread: float = 1.0) -> Pose:
    """Draw a pose.

    Args:
        rng: the source of randomness.
        spread: 1 for poses as common as in photos, less for calmer and more for odder ones.
    """
    prior = _prior()
    component = int(rng.choice(len(prior["weights"]), p=prior["weights"]))
    latent = np.clip(rng.standard_normal(prior["factors"].shape[2]), -2.5, 2.5) * spread
    points = prior["means"][component] + prior["factors"][component] @ latent
    shown = np.ones(17, bool)
    shown[:5] = prior["face"][component] > 0.4
    pose = Pose(points.reshape(17, 2), shown)
    return pose.mirrored() if rng.random() < 0.5 else pose


@functools.cache
def _prior() -> dict[str, np.ndarray]:
    path = importlib.resources.files("bottomup.data.scenes") / "pose_prior.npz"
    with path.open("rb") as file, np.load(file) as archive:
        prior = {name: archive[name].astype(np.float64) for name in archive.files}
    prior["weights"] /= prior["weights"].sum()
    return prior
