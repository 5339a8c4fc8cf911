"""Fit the pose prior of the drawn crowds (bottomup/data/pose_prior.npz) to labelled poses of COCO train2017.

    python scripts/fit_pose_prior.py poses_train2017.npz

The input holds keypoints (P, 17, 3), divided by each image's width and height, and image_id (P).
Only a mixture of 24 low-rank Gaussians leaves this script, a few thousand numbers that no person
can be read back from.
"""

import argparse
import pathlib

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
    np.savez_compressed(
        OUT,
        weights=prior["weights"],
        means=prior["means"],
        factors=prior["factors"],
        face=prior["face"],
    )
    print(f"{OUT}: {OUT.stat().st_size} bytes")


def undo_image_size(keypoints: np.ndarray) -> np.ndarray:
    """Coordinates divided by width and height back to pixels, up to one factor per person.

    The labels were whole pixels of images whose longer side is 640, so the other side is the one
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
        width, height = (
            (640, sizes[misfit[1].argmin()])
            if misfit[0, -1] < 0.02
            else (sizes[misfit[0].argmin()], 640)
        )
        person[:, :2] *= (width, height)
    return restored


def normalise(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses about the middle of the torso in units of its spread, without the few whose torso is a point."""
    points, labelled = keypoints[..., :2], keypoints[..., 2] > 0
    torso = points[:, TORSO]
    centred = points - torso.mean(1, keepdims=True)
    spread = np.sqrt(np.square(centred[:, TORSO]).sum(2).mean(1))
    poses = centred / np.maximum(spread, 1e-9)[:, None, None]
    good = (spread > 3) & (np.abs(poses[:, BODY]).max((1, 2)) < 7)
    return poses[good], labelled[good]


def fit(poses: np.ndarray, labelled: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Expectation maximisation on the body; the face follows by regression where it is labelled."""
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
        face = np.stack(
            [regress(design, poses[:, k], weight * labelled[:, k]) for k in FACE]
        )  # 5 1+R 2
        face_mean, face_factor = (
            face[:, 0].reshape(-1),
            face[:, 1:].transpose(0, 2, 1).reshape(-1, RANK),
        )
        prior["means"].append(np.concatenate([face_mean, means[component]]))
        prior["factors"].append(np.concatenate([face_factor, vectors * np.sqrt(values)]))
        prior["face"].append((weight[:, None] * labelled[:, FACE]).sum(0) / weight.sum())
    return {name: np.asarray(value, np.float16) for name, value in prior.items()}


def regress(design: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted ridge regression (1 + R, 2)."""
    gram = design.T @ (design * weight[:, None]) + np.diag(
        [1e-3] + [0.02 * weight.sum() + 5.0] * RANK
    )
    return np.linalg.solve(gram, design.T @ (target * weight[:, None]))


def mixture(
    data: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Full-covariance Gaussian mixture by EM from random responsibilities around random centres."""
    means = data[rng.permutation(len(data))[:NUM_COMPONENTS]]
    covariances = np.repeat(
        np.cov(data.T)[None] / 4 + 1e-3 * np.eye(data.shape[1]), NUM_COMPONENTS, 0
    )
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
    """(P, C) how much each component answers for each pose."""
    scores = np.empty((len(data), NUM_COMPONENTS))
    for component, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        lower = np.linalg.cholesky(covariance)
        white = np.linalg.solve(lower, (data - mean).T)
        scores[:, component] = (
            np.log(share[component]) - np.log(np.diag(lower)).sum() - 0.5 * np.square(white).sum(0)
        )
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)


if __name__ == "__main__":
    main()
