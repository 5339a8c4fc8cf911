"""Fit the pose prior of the drawn crowds to labelled poses of COCO train2017.

    python scripts/fit_pose_prior.py poses_train2017.npz

The input holds keypoints (P, 17, 3), divided by the width and height of their images, and image_id
(P). The output, bottomup/data/scenes/pose_prior.npz, is a mixture of 24 low-rank Gaussians: a few
thousand numbers, from which no person can be reconstructed.
"""

import argparse
import pathlib
from typing import Any

import numpy as np

OUT = pathlib.Path(__file__).parents[1] / "bottomup" / "data" / "scenes" / "pose_prior.npz"
FACE, BODY, TORSO = np.arange(5), np.arange(5, 17), [5, 6, 11, 12]
NUM_COMPONENTS, RANK, NUM_POSES, NUM_STEPS = 24, 10, 30_000, 60


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the pose prior of drawn crowds.")
    parser.add_argument("poses", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    keypoints = np.load(arguments.poses)["keypoints"].astype(np.float64)
    whole = keypoints[(keypoints[:, BODY, 2] > 0).all(1)]
    rng = np.random.default_rng(arguments.seed)
    poses, labelled = normalise(undo_image_size(whole))
    chosen = rng.permutation(len(poses))[:NUM_POSES]
    poses, labelled = poses[chosen], labelled[chosen]
    print(f"{len(keypoints)} people, {len(whole)} with a whole body, {len(poses)} used")
    prior = fit(poses, labelled, rng)
    parts: dict[str, Any] = prior
    np.savez_compressed(OUT, **parts)
    print(f"{OUT}: {OUT.stat().st_size} bytes")


def undo_image_size(keypoints: np.ndarray) -> np.ndarray:
    """Turn coordinates divided by width and height back to pixels, up to a factor per person.

    The labels were whole pixels of images whose longer side is 640. So the other side is the one
    that makes all coordinates whole again.
    """
    sizes = np.arange(240, 641)
    restored = keypoints.copy()
    for person in restored:
        seen = person[:, 2] > 0
        misfit = np.empty((2, len(sizes)))
        for axis in (0, 1):
            pixels = person[seen, axis, None] * sizes
            misfit[axis] = np.abs(pixels - np.round(pixels)).mean(0)
        if misfit[0, -1] < 0.02:  # a width of 640 fits
            person[:, :2] *= (640, sizes[misfit[1].argmin()])
        else:
            person[:, :2] *= (sizes[misfit[0].argmin()], 640)
    return restored


def normalise(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses about the centre of the torso in units of its spread, and which joints are labelled.

    The few poses whose torso is a point are left out.
    """
    points, labelled = keypoints[..., :2], keypoints[..., 2] > 0
    torso = points[:, TORSO]
    centred = points - torso.mean(1, keepdims=True)
    spread = np.sqrt(np.square(centred[:, TORSO]).sum(2).mean(1))
    poses = centred / np.maximum(spread, 1e-9)[:, None, None]
    good = (spread > 3) & (np.abs(poses[:, BODY]).max((1, 2)) < 7)
    return poses[good], labelled[good]


def fit(poses: np.ndarray, labelled: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Expectation maximisation on the body; regression of the face on it where it is labelled."""
    body = poses[:, BODY].reshape(len(poses), -1)
    share, means, covariances = mixture(body, rng)
    responsibility = posterior(body, share, means, covariances)
    prior = {"weights": share, "means": [], "factors": [], "face": []}
    for component in range(NUM_COMPONENTS):
        weight = responsibility[:, component]
        values, vectors = np.linalg.eigh(covariances[component])
        values, vectors = values[::-1][:RANK], vectors[:, ::-1][:, :RANK]
        latent = (body - means[component]) @ vectors / np.sqrt(values)
        design = np.concatenate([np.ones((len(latent), 1)), latent], 1)
        joints = [regress(design, poses[:, k], weight * labelled[:, k]) for k in FACE]
        face = np.stack(joints)  # 5 1+R 2
        face_mean = face[:, 0].reshape(-1)
        face_factor = face[:, 1:].transpose(0, 2, 1).reshape(-1, RANK)
        prior["means"].append(np.concatenate([face_mean, means[component]]))
        prior["factors"].append(np.concatenate([face_factor, vectors * np.sqrt(values)]))
        prior["face"].append((weight[:, None] * labelled[:, FACE]).sum(0) / weight.sum())
    return {name: np.asarray(value, np.float16) for name, value in prior.items()}


def regress(design: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted ridge regression (1 + R, 2)."""
    ridge = np.diag([1e-3] + [0.02 * weight.sum() + 5.0] * RANK)
    gram = design.T @ (design * weight[:, None]) + ridge
    return np.linalg.solve(gram, design.T @ (target * weight[:, None]))


def mixture(
    data: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares, means and full covariances of a Gaussian mixture, by EM from random centres."""
    means = data[rng.permutation(len(data))[:NUM_COMPONENTS]]
    covariance = np.cov(data.T)[None] / 4 + 1e-3 * np.eye(data.shape[1])
    covariances = np.repeat(covariance, NUM_COMPONENTS, 0)
    share = np.full(NUM_COMPONENTS, 1 / NUM_COMPONENTS)
    for _ in range(NUM_STEPS):
        responsibility = posterior(data, share, means, covariances)
        total = responsibility.sum(0) + 1e-6
        share, means = total / total.sum(), responsibility.T @ data / total[:, None]
        for component in range(NUM_COMPONENTS):
            centred = data - means[component]
            scatter = centred.T @ (centred * responsibility[:, component, None]) / total[component]
            covariances[component] = scatter + 1e-3 * np.eye(data.shape[1])
    return share, means, covariances


def posterior(
    data: np.ndarray, share: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """(P, C) the probability that a pose belongs to each component."""
    scores = np.empty((len(data), NUM_COMPONENTS))
    for component, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        lower = np.linalg.cholesky(covariance)
        white = np.linalg.solve(lower, (data - mean).T)
        constant = np.log(share[component]) - np.log(np.diag(lower)).sum()
        scores[:, component] = constant - 0.5 * np.square(white).sum(0)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)


if __name__ == "__main__":
    main()
