"""From images to people with an exported graph: numpy, scipy, OpenCV and one engine are enough."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from bottomup.engines.sessions import is_installed, open_session, supported_precisions
from bottomup.export import FORMATS
from bottomup.export.manifest import Manifest, read_manifest
from bottomup.geometry import Transform
from bottomup.images.frames import Frame, read
from bottomup.inference import MAX_MEGAPIXELS
from bottomup.inference.sizing import base_and_doublings, checked
from bottomup.method.matching import ABSENT, Candidates, Members, fill_in, match, score_people
from bottomup.poses import Poses, require_finite
from bottomup.shapes import Bool, Float
from bottomup.threads import num_cpus

OUTPUTS = ("xy", "value", "tags", "is_peak")  # of a graph, see `pose_graph.Slots`


class Runtime:
    """Finds the people in images, as `Predictor` does, with a graph of `bottomup export`.

    It sees each image once, at one size: large images have no finer levels, and no tiles.

    Args:
        folder: that `bottomup export` has written.
        backend: "openvino" or "onnxruntime"; None: OpenVINO for its own format, else ONNX Runtime,
            or whichever is installed.
        precision: of the layers; None: that of the export where the processor has it, else float32.
        threads: of the CPU; None is as many as this process may use.
        size: pixels of the input's side; or "auto": it follows from the image. None is "auto" for
            networks that allow it, else what the network was made for.

    Raises:
        ValueError: the folder, the engine or an argument cannot be used.

    Example:
        >>> from bottomup.export import Runtime
        >>> poses = Runtime("exported")("photo.jpg")  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        backend: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
        size: int | Literal["auto"] | None = None,
    ) -> None:
        self.manifest = read_manifest(Path(folder))
        if backend is None:
            engines = ("openvino", "onnxruntime")
            if self.manifest.format == "onnx":
                engines = engines[::-1]
            backend = next(filter(is_installed, engines), engines[0])
        if backend not in ("openvino", "onnxruntime"):
            raise ValueError(f"backend is {backend!r}; choose openvino or onnxruntime")
        if backend == "onnxruntime" and self.manifest.format != "onnx":
            raise ValueError("ONNX Runtime reads the format onnx only: export with --format onnx")
        # layers that are in 8 bits stay so, and others do not become so
        wanted, has = self.manifest.precision, supported_precisions(backend)
        available = {"int8"} if wanted == "int8" else has - {"int8"}
        if precision is None:
            precision = wanted if wanted in available else "float32"
        elif precision not in available:
            raise ValueError(
                f"precision {precision!r} is not what {backend} has on this machine for an export "
                f"in {wanted}; choose one of {', '.join(sorted(available))}, or export anew"
            )
        self.backend, self.precision = backend, precision
        self.size: int | Literal["auto"] = checked(
            size, MAX_MEGAPIXELS, self.manifest.size, self.manifest.follows_image
        )
        self._session = open_session(
            Path(folder) / FORMATS[self.manifest.format],
            backend,
            precision=precision,
            threads=threads or num_cpus(),
            reads=True,
        )

    def __call__(self, image: str | os.PathLike | np.ndarray) -> Poses:
        """The people of one image.

        Args:
            image: a file, or (H, W, 3) uint8 RGB.

        Raises:
            ValueError: the image cannot be read.
        """
        if not isinstance(image, np.ndarray):
            frame = read(Frame(str(image), Path(image)))
            if frame.image is None:
                raise ValueError(f"{frame.name}: {frame.error}")
            image = frame.image
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"an image is (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
        transform = input_transform(self.manifest, self.size, image.shape[1::-1])
        outputs = self._session(transform.warp(image)[None])
        shape = (1, self.manifest.skeleton.num_keypoints, self.manifest.max_candidates)
        if any(name not in outputs or outputs[name].shape[:3] != shape for name in OUTPUTS):
            given = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
            raise ValueError(f"the graph gives {given}: export it again")
        poses = self._group(*(outputs[name][0] for name in OUTPUTS))
        return require_finite(transform.poses_to_image(poses, transform.input_wh))

    def _group(
        self,
        xy: Float[np.ndarray, "K M 2"],
        value: Float[np.ndarray, "K M"],
        tags: Float[np.ndarray, "K M L"],
        is_peak: Bool[np.ndarray, "K M"],
    ) -> Poses:
        """The people, in pixels of the input; where `Grouper` has cells, these are places."""
        known, (num_joints, num_slots) = self.manifest, value.shape
        found = value > 0
        candidates = Candidates(np.flatnonzero(found), value[found], tags[found], is_peak[found])
        threshold = known.tag_threshold
        order = known.skeleton.grouping_order
        matched = match(candidates, num_slots, order=order, tag_threshold=threshold)
        members: Members = fill_in(
            candidates,
            matched,
            num_slots,
            threshold=known.refine_threshold,
            tag_threshold=threshold,
        )
        present = members != ABSENT
        joints = np.broadcast_to(np.arange(num_joints), members.shape)
        keypoints = np.where(present[..., None], xy[joints, members], 0)
        scores = np.where(present, value[joints, members], 0)
        people = score_people(
            matched != ABSENT,
            scores,
            keypoints,
            lower_small=known.lower_small,
            cell=known.cell,
        )
        return Poses(keypoints, scores, people, known.skeleton)


def input_transform(
    manifest: Manifest, size: int | Literal["auto"], image_wh: tuple[int, ...]
) -> Transform:
    """From an image to the input of a graph.

    Args:
        manifest: of the graph.
        size: of `Runtime`.
        image_wh: width and height of the image.
    """
    width, height = image_wh
    side, _ = base_and_doublings((width, height), size, manifest.size, MAX_MEGAPIXELS)
    of = "long" if size == "auto" or manifest.side == "long" else "short"
    return Transform.fit((width, height), side, side=of, multiple=manifest.multiple)
