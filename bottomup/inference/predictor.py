"""The front door in Python: pictures in, people out.

Reading and resizing run ahead in threads; pictures whose network inputs are equally large share a
batch; results come in the order of the source.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from bottomup.geometry import Transform
from bottomup.images.sources import Frame, Source, is_unread, map_ahead, read, scan
from bottomup.inference.batching import map_batches
from bottomup.method.aggregation import Maps, aggregate, combine
from bottomup.method.grouping import RULES, Grouper
from bottomup.models.pose_net import PoseNet
from bottomup.poses import Poses
from bottomup.weights.store import load_model

FAILURES = (
    RuntimeError,
    MemoryError,
    ValueError,
    cv2.error,
)  # what one picture may cause, so that it fails alone


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The people of one picture, or why there are none to be had.

    Attributes:
        name: of the picture, unique within the source, see `Frame`.
        path: the file; None for an array.
        image: (H, W, 3) uint8 RGB; None if it could not be read.
        poses: the people, perhaps none; None if the picture failed.
        error: why it failed; None if all is well.
    """

    name: str
    path: Path | None
    image: UInt8[np.ndarray, "H W 3"] | None
    poses: Poses | None
    error: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Ready:
    """A picture on its way to the network.

    Attributes:
        frame: the picture.
        transform: from the picture to the input whose ground the maps cover.
        inputs: one (H, W, 3) uint8 array per scale.
        size: H, W to which the maps are resized; None leaves them at the finest.
    """

    frame: Frame
    transform: Transform
    inputs: tuple[np.ndarray, ...]
    size: tuple[int, int] | None


def _key(item: _Ready | Prediction) -> tuple[object, ...] | None:
    """Images with equal keys can share a batch; None for one that has failed already."""
    is_ready = isinstance(item, _Ready)
    return (item.size, *(image.shape for image in item.inputs)) if is_ready else None


def _num_bytes(item: _Ready | Prediction) -> int:
    image = item.image if isinstance(item, Prediction) else item.frame.image
    return 0 if image is None else image.size


class Predictor:
    """Finds the people in pictures.

    Args:
        weights: the name of bundled weights, a file of ours, or a network (which is moved to the
            device).
        device: "auto" (CUDA if there is any, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        mode: "robust", or "official" for the numbers of the reference implementation.
        size: pixels of the input's side at scale 1; None is what the network was made for.
        scales: the network sees each picture at all of them; more find more, and cost more.
        flip: it also sees each mirrored, for better accuracy at twice the cost.
        batch_size: pictures per forward pass; None is 8, but 1 on the CPU, which more only slow
            down: what lies between two layers no longer fits its caches.
        grouper: assembles people; None is the one of `mode` with its default thresholds.
        exif: turn pictures as their EXIF orientation says.
        stages: entered with "read" (of a picture), "pose", "aggregate" and "group" (of a batch), to
            time them.

    Raises:
        ValueError: an argument makes no sense; the weights cannot be had (`WeightsError`).
    """

    def __init__(
        self,
        weights: str | Path | PoseNet = "default",
        *,
        device: str | torch.device = "auto",
        mode: Literal["robust", "official"] = "robust",
        size: int | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        batch_size: int | None = None,
        grouper: Grouper | None = None,
        exif: bool = True,
        stages: Callable[[str], AbstractContextManager] = contextlib.nullcontext,
    ) -> None:
        if mode not in RULES:
            raise ValueError(f"mode is {mode!r}; choose 'robust' or 'official'")
        if not scales or min(scales) <= 0 or max(scales) > 8:
            raise ValueError(
                f"scales are {tuple(scales)}; give one or more numbers above 0 and up to 8, such as 0.5 1 2"
            )
        if size is not None and size < 1:
            raise ValueError(f"size is {size}; give the pixels of the network's input, such as 512")
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more")
        self.device = choose_device(device)
        net = weights if isinstance(weights, PoseNet) else load_model(weights)
        self.net = net.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.mode = mode
        self.size = size or net.preprocessing.size
        self.scales = sorted(set(scales), reverse=True)
        self.flip = flip
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else 8)
        self.exif, self.stages = exif, stages
        self.grouper = grouper or Grouper(rules=RULES[mode], skeleton=net.skeleton)

    def __call__(self, source: Source) -> Poses | list[Poses]:
        """The people of one picture (a path or an array), or a list of them for any other finite source.

        Raises:
            ValueError: a picture cannot be read. `stream` goes on after such a one.
        """
        return poses_of(self.stream(source), source)

    def stream(self, source: Source) -> Generator[Prediction]:
        """The predictions one by one, in the order of the source, which may be infinite.

        An image that fails gives a prediction with an `error` in its place. No more than a few
        batches are held, however the sizes of the images alternate.
        """
        prepared = map_ahead(self._prepare, scan(source), wanted=is_unread)
        yield from map_batches(
            self._predict, prepared, key=_key, num_bytes=_num_bytes, batch_size=self.batch_size
        )

    def _prepare(self, frame: Frame) -> _Ready | Prediction:
        """Read a picture and warp it to the network's inputs."""
        with self.stages("read"):
            frame = read(frame, exif=self.exif)
            if frame.image is None:
                return _failed(frame, frame.error)
            try:
                return self._warp(frame, frame.image)
            except FAILURES as error:
                return _failed(frame, reason(error))

    def _warp(self, frame: Frame, image: UInt8[np.ndarray, "H W 3"]) -> _Ready:
        image_wh = (image.shape[1], image.shape[0])
        if self.mode == "official":
            transforms = Transform.official(image_wh, self.size, self.scales)
            nearest = min(range(len(self.scales)), key=lambda s: abs(self.scales[s] - 1))
            base_wh = transforms[nearest].input_wh
            back, size = transforms[-1], (base_wh[1], base_wh[0])
        else:
            wanted, size = self.net.preprocessing, None
            multiple = wanted.multiple
            back = Transform.fit(image_wh, self.size, side=wanted.side, multiple=multiple)
            transforms = [
                back if scale == 1 else back.scaled(scale, multiple) for scale in self.scales
            ]
        return _Ready(frame, back, tuple(transform.warp(image) for transform in transforms), size)

    def _predict(self, batch: Sequence[_Ready]) -> list[Prediction]:
        """Run a batch; if that fails, for want of memory or any other reason, run its pictures one by one."""
        try:
            poses = self._infer(batch)
        except FAILURES as error:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if len(batch) == 1:
                return [_failed(batch[0].frame, reason(error))]
            return [prediction for ready in batch for prediction in self._predict([ready])]
        frames = [ready.frame for ready in batch]
        return [Prediction(f.name, f.path, f.image, p) for f, p in zip(frames, poses, strict=True)]

    @torch.inference_mode()
    def _infer(self, batch: Sequence[_Ready]) -> list[Poses]:
        """The people of pictures of one key, in pixels of each picture."""
        with self.stages("pose"):
            maps = [(scale, self._look(batch, s)) for s, scale in enumerate(self.scales)]
        with self.stages("aggregate"):
            heatmaps, tags = aggregate(maps, batch[0].size)  # B K H W, B K H W L
        map_wh = (heatmaps.shape[3], heatmaps.shape[2])
        offset = self.net.preprocessing.offset if self.mode == "robust" else 0.0
        with self.stages("group"):
            people = self.grouper(heatmaps, tags)
        results = [
            r.transform.poses_to_image(p, map_wh, offset)
            for r, p in zip(batch, people, strict=True)
        ]
        if not all(
            np.isfinite(poses.keypoints).all() and np.isfinite(poses.scores).all()
            for poses in results
        ):
            raise ValueError("the network gave numbers that are not finite")
        return results

    def _look(self, batch: Sequence[_Ready], s: int) -> Maps:
        """The maps of pictures of one key at one scale."""
        images = torch.from_numpy(np.stack([ready.inputs[s] for ready in batch]))  # B H W 3
        images = images.to(self.device).permute(0, 3, 1, 2)  # B 3 H W, channels last in memory
        outputs = self.net.read(self.net(images))
        flipped = self.net.read(self.net(images.flip(3))) if self.flip else None
        return combine(outputs, flipped, flip_indices=self.net.skeleton.flip_indices)


def poses_of(predictions: Iterable[Prediction], source: Source) -> Poses | list[Poses]:
    """The people of the one picture that the source is, or a list of them for any other finite source.

    Raises:
        ValueError: a picture cannot be read.
    """
    results = []
    for prediction in predictions:
        if prediction.poses is None:
            raise ValueError(
                f"{prediction.name}: {prediction.error} (use `stream` to go on after a bad picture)"
            )
        results.append(prediction.poses)
    is_file = isinstance(source, str | os.PathLike) and os.path.isfile(source)
    return (
        results[0] if is_file or (isinstance(source, np.ndarray) and source.ndim == 3) else results
    )


def _failed(frame: Frame, error: str | None) -> Prediction:
    return Prediction(frame.name, frame.path, frame.image, None, error)


def reason(error: Exception) -> str:
    """What went wrong, in one line for the owner of the picture."""
    is_memory = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    if is_memory or any(
        sign in str(error)
        for sign in ("allocate memory", "Insufficient memory", "Failed to allocate")
    ):
        return "out of memory: choose a smaller size, fewer scales or another device"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def choose_device(device: str | torch.device) -> torch.device:
    """The device of that name; "auto" is CUDA if there is any, else the CPU.

    Raises:
        ValueError: it cannot be used.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"device {str(device)!r} cannot be used ({reason}); choose auto or cpu"
        ) from error
    return chosen
