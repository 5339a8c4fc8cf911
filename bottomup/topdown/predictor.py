"""Top-down pose estimation: find the people, then the joints of each in a crop of its own.

Its cost has one part for the image and one part for every person in it.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from bottomup.engines.devices import choose_device, reason
from bottomup.geometry import Transform
from bottomup.images.frames import Frame, is_unread, map_ahead, read
from bottomup.images.sources import Source, scan
from bottomup.inference.prediction import (
    FAILURES,
    Prediction,
    failed,
    outcome,
    poses_of,
)
from bottomup.poses import Poses, require_finite
from bottomup.skeleton import Skeleton
from bottomup.topdown.detectors import Boxes, CenterDetector, Detector
from bottomup.topdown.person_net import BUILDERS, PersonNet
from bottomup.weights.store import load_network

MIN_JOINT = 0.2  # joints with a lower score do not count for their person's, as in Xiao et al.


class TopDownPredictor:
    """Finds the people in images, each in a box of a detector.

    Args:
        weights: the name of weights, a file, or a network (which is moved to the device).
        detector: gives the boxes; None is our own detector.
        device: "auto" (CUDA if there is any, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        batch_size: crops per forward pass.
        exif: turn images as their EXIF orientation says.
        stages: entered with "read", "detect", "pose" and "group" of every image, to time them.

    Raises:
        ValueError: an argument is out of range, or the weights cannot be used (`WeightsError`).
    """

    def __init__(
        self,
        weights: str | Path | PersonNet = "topdown_heatmap",
        detector: Detector | None = None,
        *,
        device: str | torch.device = "auto",
        batch_size: int = 8,
        exif: bool = True,
        stages: Callable[[str], AbstractContextManager] = contextlib.nullcontext,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more")
        net = weights if isinstance(weights, PersonNet) else load_network(weights, BUILDERS)
        self.device = choose_device(device)
        self.net = net.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.detector = detector or CenterDetector(device=self.device)
        self.batch_size, self.exif, self.stages = batch_size, exif, stages

    def __call__(self, source: Source) -> Poses | list[Poses]:
        """The people of one image (a path or an array), or a list of them for any other source.

        Raises:
            ValueError: an image cannot be read. `stream` goes on after such an image.
        """
        return poses_of(self.stream(source), source)

    def stream(self, source: Source) -> Generator[Prediction]:
        """The predictions one by one, in the order of the source; a failure has an `error`."""
        yield from map(self._predict, map_ahead(self._read, scan(source), wanted=is_unread))

    def predict(self, image: UInt8[np.ndarray, "H W 3"], name: str = "") -> Poses:
        """The people of one image, in the order of the detector's boxes.

        Args:
            image: RGB.
            name: of the image, for detectors that look boxes up by it.

        Raises:
            ValueError: the detector does not know the image, or a network gave numbers that are not
                finite.
        """
        with self.stages("detect"):
            boxes = self.detector(image, name).within(image.shape[1], image.shape[0])
        if not len(boxes):
            return Poses.empty(self.net.skeleton)
        with self.stages("pose"):
            transforms = [Transform.crop(box, self.net.crop_wh) for box in boxes.boxes]
            points, scores = self._run_network([t.warp(image) for t in transforms])
        with self.stages("group"):
            poses = to_poses(boxes, transforms, points, scores, self.net.skeleton)
        return require_finite(poses)

    def _read(self, frame: Frame) -> Frame:
        with self.stages("read"):
            return read(frame, exif=self.exif)

    def _predict(self, frame: Frame) -> Prediction:
        if frame.image is None:
            return failed(frame, frame.error)
        try:
            poses = self.predict(frame.image, frame.name)
        except FAILURES as error:
            return failed(frame, reason(error))
        return outcome(frame, poses)

    @torch.inference_mode()
    def _run_network(
        self, crops: Sequence[UInt8[np.ndarray, "H W 3"]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N, K, 2) points in pixels of each crop and (N, K) scores, a batch at a time."""
        points, scores = [], []
        for start in range(0, len(crops), self.batch_size):
            batch = torch.from_numpy(np.stack(crops[start : start + self.batch_size]))  # B H W 3
            output = self.net(batch.to(self.device).permute(0, 3, 1, 2))
            points.append(output.points.cpu().numpy().astype(np.float64))
            scores.append(output.scores.cpu().numpy().astype(np.float64))
        return np.concatenate(points), np.concatenate(scores)


def to_poses(
    boxes: Boxes,
    transforms: Sequence[Transform],
    points: Float[np.ndarray, "N K 2"],
    scores: Float[np.ndarray, "N K"],
    skeleton: Skeleton,
) -> Poses:
    """The people of an image from the joints in their crops.

    A person's score is the box's score times the mean of the joints' scores above `MIN_JOINT`.

    Args:
        boxes: N of one image.
        transforms: from the image to the crop of each.
        points: x, y in pixels of the crops.
        scores: of the joints.
        skeleton: the K joints.
    """
    keypoints = [t.to_image(p, t.input_wh) for t, p in zip(transforms, points, strict=True)]
    counts = scores > MIN_JOINT
    confidence = (scores * counts).sum(1) / counts.sum(1).clip(min=1)
    return Poses(
        np.stack(keypoints).astype(np.float32),
        scores.astype(np.float32),
        (boxes.scores * confidence).astype(np.float32),
        skeleton,
    )
