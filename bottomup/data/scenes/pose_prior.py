"""The poses of drawn people: a mixture of Gaussians that was fitted to many labelled people.

pose_prior.npz holds the fit of scripts/fit_pose_prior.py: 24 components, each a mean pose and ten
directions in which it varies. Half of the poses are mirrored, left and right exchanged.
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
        points: (17, 2) the joints of COCO relative to the middle of the torso, y down. The unit is
            the torso's spread; a standing adult is about seven units tall.
        shown: (17,) whether a joint can be seen: a face turned away shows neither nose nor eyes.
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
        spread: 1 for poses as in photos, less for calmer and more for odder ones.
    """
    prior = _prior()
    component = int(rng.choice(len(prior["weights"]), p=prior["weights"]))
    latent = np.clip(rng.standard_normal(prior["factors"].shape[2]), -2.5, 2.5) * spread
    points = prior["means"][component] + prior["factors"][component] @ latent
    shown = np.append(prior["face"][component] > 0.4, np.ones(12, bool))
    pose = Pose(points.reshape(17, 2), shown)
    return pose.mirrored() if rng.random() < 0.5 else pose


@functools.cache
def _prior() -> dict[str, np.ndarray]:
    folder = importlib.resources.files("bottomup.data.scenes")
    with folder.joinpath("pose_prior.npz").open("rb") as file, np.load(file) as archive:
        prior = {name: archive[name].astype(np.float64) for name in archive.files}
    prior["weights"] /= prior["weights"].sum()
    return prior
