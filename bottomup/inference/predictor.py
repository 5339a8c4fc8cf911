"""From images to people: preprocess, network, postprocess.

Images are read and preprocessed ahead, in threads. Images whose network inputs are equally large
share a batch. Large images are read in tiles, one by one (`bottomup.inference.pyramid`). Results
come in the order of the source.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from bottomup.engines.choice import asked_for, choose_engine
from bottomup.engines.devices import choose_device, reason
from bottomup.geometry import MAX_INPUT_PIXELS, Transform
from bottomup.images.frames import Frame, is_unread, map_ahead, read
from bottomup.images.sources import Source, scan
from bottomup.inference import MAX_MEGAPIXELS, pyramid, sizing
from bottomup.inference.batching import map_batches
from bottomup.inference.prediction import (
    FAILURES,
    Prediction,
    failed,
    outcome,
    poses_of,
)
from bottomup.method.aggregation import Maps, aggregate, combine
from bottomup.method.grouping import RULES, Grouper
from bottomup.models.pose_net import PoseNet
from bottomup.poses import Poses, require_finite
from bottomup.threads import default_threads, torch_threads
from bottomup.weights.store import load_model

# Pixels times parameters. On less, several threads wait for each other longer than they compute:
# they gain nothing below 256 x 256 pixels of the bundled network.
SMALL_WORK = 4e11
MAX_THREADS = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class _Prepared:
    """An image on its way to the network.

    Attributes:
        frame: the image.
        transform: from the image to the input that the maps cover.
        inputs: one (H, W, 3) uint8 array per scale; none with `steps`.
        size: H, W to which the maps are resized; None leaves them as they are.
        steps: the levels at which a large image is read in tiles, fine to coarse.
    """

    frame: Frame
    transform: Transform
    inputs: tuple[np.ndarray, ...] = ()
    size: tuple[int, int] | None = None
    steps: tuple[sizing.Step, ...] = ()


def _key(item: _Prepared | Prediction) -> tuple[object, ...] | None:
    """Images with equal keys can share a batch; None for one that has failed already."""
    if isinstance(item, Prediction):
        return None
    return (item.size, *(image.shape for image in item.inputs))  # large images share one key


def _num_bytes(item: _Prepared | Prediction) -> int:
    if isinstance(item, Prediction):
        return 0 if item.image is None else item.image.nbytes
    return sum(array.nbytes for array in (item.frame.image, *item.inputs) if array is not None)


class Predictor:
    """Finds the people in images.

    Args:
        weights: the name of weights, a file, or a network (which is moved to the device, and is
            not to be changed any more: engines may hold its weights as they were).
        device: "auto" (CUDA if there is any, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        mode: "robust", or "official" for the numbers of the reference implementation.
        size: pixels of the input's side at scale 1; or "auto": the size follows from the image, and
            large images are looked at more closely where they show small people. None is "auto" if
            the network and the other arguments allow it, else what the network was made for.
        max_megapixels: with "auto", the most that the network sees of an image at its finest.
        scales: the network is run on each image at all of them; more find more, and cost more.
        flip: it is also run on each image mirrored: more accurate, at twice the cost.
        backend: what computes the network: "torch", "openvino" or "onnxruntime". "auto" is OpenVINO
            on the CPU if it is installed (not in official mode), else torch.
        precision: of its layers: "float32", "bfloat16", "float16", or "int8" (not of torch; needs
            nncf; ranges from the sample images). "auto" is float32, or a faster one for weights
            whose file records that it costs at most 0.003 AP, on a processor that has it.
        threads: of the CPU, that the network computes with; None is as many as this process may use
            (affinity, limits of cgroups, OMP_NUM_THREADS), but in torch 1 for small inputs. On a
            machine that does other work, set OMP_WAIT_POLICY=PASSIVE and GOMP_SPINCOUNT=5000 before
            torch is imported, as the command line does: waiting threads then soon sleep.
        batch_size: images per forward pass; None is 8, but 1 on the CPU, where larger batches are
            slower: what lies between two layers no longer fits the caches.
        grouper: assembles people; None is the one of `mode` with its default thresholds.
        exif: turn images as their EXIF orientation says.
        reduce: JPEGs that are much larger than the network's input are decoded at a half, a quarter
            or an eighth of their size, in less time. `Prediction.image` is then that small image;
            people are in pixels of the file all the same. False: `stream` gives images as they are,
            and only calls, which give no images, reduce them. Official mode never does.
        reader: reads the file of a frame, in several threads at once; None is `frames.read`.
        stages: entered with "read" (of an image), "pose", "aggregate" and "group" (of a batch), to
            time them.

    Raises:
        ValueError: an argument is out of range, or the weights cannot be used (`WeightsError`).
    """

    def __init__(
        self,
        weights: str | Path | PoseNet = "default",
        *,
        device: str | torch.device = "auto",
        mode: Literal["robust", "official"] = "robust",
        size: int | Literal["auto"] | None = None,
        max_megapixels: float = MAX_MEGAPIXELS,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        backend: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
        grouper: Grouper | None = None,
        exif: bool = True,
        reduce: bool = False,
        reader: Callable[[Frame], Frame] | None = None,
        stages: Callable[[str], AbstractContextManager] = contextlib.nullcontext,
    ) -> None:
        if mode not in RULES:
            raise ValueError(f"mode is {mode!r}; choose 'robust' or 'official'")
        if not scales or min(scales) <= 0 or max(scales) > 8:
            raise ValueError(
                f"scales are {tuple(scales)}; "
                "give one or more numbers above 0 and up to 8, such as 0.5 1 2"
            )
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give 1 or more")
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"threads is {threads}; give a number from 1 to {MAX_THREADS}")
        self.device = choose_device(device)
        net = weights if isinstance(weights, PoseNet) else load_model(weights)
        self.net = net.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.backend, self.precision = asked_for(backend, precision)
        self.engine = choose_engine(
            self.net,
            backend=self.backend,
            precision=self.precision,
            official=mode == "official",
            threads=threads or default_threads(),
        )
        self._num_parameters = sum(parameter.numel() for parameter in net.parameters())
        self.mode = mode
        self.scales = sorted(set(scales), reverse=True)
        self.flip = flip
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else 8)
        self.exif, self.stages, self.threads = exif, stages, threads
        self.reader = reader or functools.partial(read, exif=exif)
        self.grouper = grouper or Grouper(
            rules=RULES[mode], skeleton=net.skeleton, lower_small=net.lower_small
        )
        one_scale = mode == "robust" and self.scales == [1]
        self.can_tile = one_scale and pyramid.can_read(net, self.grouper)
        self.size: int | Literal["auto"] = sizing.checked(
            size, max_megapixels, net.preprocessing.size, self.can_tile
        )
        self.max_megapixels, self.reduce = max_megapixels, reduce
        self._enough = functools.partial(
            sizing.enough,
            size=self.size,
            own_size=net.preprocessing.size,
            own_side=net.preprocessing.side,
            max_megapixels=max_megapixels,
            scale=max(self.scales),
        )

    def __call__(self, source: Source) -> Poses | list[Poses]:
        """The people of one image (a path or an array), or a list of them for any other source.

        Raises:
            ValueError: an image cannot be read. `stream` goes on after such an image.
        """
        return poses_of(self._stream(source, reduce=True), source)

    def stream(self, source: Source) -> Generator[Prediction]:
        """The predictions one by one, in the order of the source, which may be infinite.

        An image that fails gives a prediction with an `error` in its place. No more than a few
        batches are held, however the sizes of the images alternate.
        """
        return self._stream(source, reduce=self.reduce)

    def _stream(self, source: Source, *, reduce: bool) -> Generator[Prediction]:
        enough = self._enough if reduce and self.mode != "official" else None
        frames = (dataclasses.replace(frame, enough=enough) for frame in scan(source))
        prepared = map_ahead(self._read, frames, wanted=is_unread, num_bytes=_num_bytes)
        yield from map_batches(
            self._predict, prepared, key=_key, num_bytes=_num_bytes, batch_size=self.batch_size
        )

    def _read(self, frame: Frame) -> _Prepared | Prediction:
        with self.stages("read"):
            frame = self.reader(frame)
            if frame.image is None:
                return failed(frame, frame.error)
            try:
                return self._preprocess(frame, frame.image)
            except FAILURES as error:
                return failed(frame, reason(error))

    def _predict(self, batch: Sequence[_Prepared]) -> list[Prediction]:
        """Run a batch; if that fails, run its images one by one."""
        try:
            with torch_threads(self.threads or self._default_threads(batch)):
                if batch[0].steps:
                    people = [self._read_in_tiles(item) for item in batch]
                else:
                    people = self._postprocess(batch, self._run_network(batch))
        except FAILURES as error:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if len(batch) == 1:
                return [failed(batch[0].frame, reason(error))]
            return [prediction for item in batch for prediction in self._predict([item])]
        return [outcome(item.frame, poses) for item, poses in zip(batch, people, strict=True)]

    def _default_threads(self, batch: Sequence[_Prepared]) -> int:
        pixels = sum(math.prod(image.shape[:2]) for item in batch for image in item.inputs)
        is_large = bool(batch[0].steps) or pixels * self._num_parameters > SMALL_WORK
        return default_threads() if is_large else 1

    def _preprocess(self, frame: Frame, image: UInt8[np.ndarray, "H W 3"]) -> _Prepared:
        """Resize an image to the network's input at every scale; a large one is resized later."""
        image_wh, own = frame.full_wh or (image.shape[1], image.shape[0]), self.net.preprocessing
        side, doublings = sizing.base_and_doublings(
            image_wh, self.size, own.size, self.max_megapixels
        )
        if self.mode == "official":
            sizing.refuse_long(image_wh)
            # maps are resized to the input of the scale nearest to 1, taken back by the last
            transforms = Transform.official(image_wh, side, self.scales)
            nearest = min(range(len(self.scales)), key=lambda s: abs(self.scales[s] - 1))
            back, (wide, high) = transforms[-1], transforms[nearest].input_wh
            return _Prepared(frame, back, _warped(transforms, frame), (high, wide))
        of = "long" if self.size == "auto" else own.side
        back = Transform.fit(image_wh, side, side=of, multiple=own.multiple)
        if self.can_tile and (doublings or math.prod(back.input_wh) > pyramid.MAX_WHOLE_PIXELS):
            # rounded up as its sides are, an ordinary image has up to twice the pixels asked for
            most = min(2e6 * self.max_megapixels, MAX_INPUT_PIXELS)
            steps = sizing.steps(back, doublings, self.net.trunk.num_scales, own.multiple, most)
            return _Prepared(frame, steps[0].transform, steps=steps)
        transforms = [back if s == 1 else back.scaled(s, own.multiple) for s in self.scales]
        return _Prepared(frame, back, _warped(transforms, frame))

    @torch.inference_mode()
    def _run_network(self, batch: Sequence[_Prepared]) -> Maps:
        """The aggregated maps of images of one key."""
        with self.stages("pose"):
            maps = []
            for s, scale in enumerate(self.scales):
                images = torch.from_numpy(np.stack([item.inputs[s] for item in batch]))  # B H W 3
                if self.device.type == "cuda":  # from pinned memory, a copy is not waited for
                    images = images.pin_memory()
                images = images.to(self.device, non_blocking=images.is_pinned())
                images = images.permute(0, 3, 1, 2)  # B 3 H W, channels last
                outputs = self.net.read(self.engine(images))
                flipped = self.net.read(self.engine(images.flip(3))) if self.flip else None
                combined = combine(outputs, flipped, flip_indices=self.net.skeleton.flip_indices)
                maps.append((scale, combined))
        with self.stages("aggregate"):
            return aggregate(maps, batch[0].size)

    def _read_in_tiles(self, item: _Prepared) -> Poses:
        """The people of a large image, in pixels of the image."""
        assert item.frame.image is not None
        with self.stages("pose"):
            levels = pyramid.look(
                self.engine,
                item.frame.image,
                item.steps,
                flip=self.flip,
                reduction=item.frame.reduction,
            )
        with self.stages("aggregate"):
            thresholds = (self.grouper.detection_threshold, self.grouper.refine_threshold)
            candidates, heatmaps = pyramid.find_joints(levels, *thresholds)
        with self.stages("group"):
            poses = self.grouper.assemble(candidates, heatmaps)
        transform, map_wh = item.steps[-len(levels)].transform, levels[0].wh
        return require_finite(
            transform.poses_to_image(poses, map_wh, self.net.preprocessing.offset)
        )

    def _postprocess(self, batch: Sequence[_Prepared], maps: Maps) -> list[Poses]:
        """Group the joints of each image into people, in pixels of the image."""
        with self.stages("group"):
            grouped = self.grouper(maps.heatmaps, maps.tags)
        map_wh = (maps.heatmaps.shape[3], maps.heatmaps.shape[2])
        offset = self.net.preprocessing.offset if self.mode == "robust" else 0.0
        return [
            require_finite(item.transform.poses_to_image(poses, map_wh, offset))
            for item, poses in zip(batch, grouped, strict=True)
        ]


def _warped(transforms: Sequence[Transform], frame: Frame) -> tuple[np.ndarray, ...]:
    assert frame.image is not None
    return tuple(t.of_reduced(frame.reduction).warp(frame.image) for t in transforms)
