"""What `bottomup export` does: from weights to a folder, perhaps with a check of its AP."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bottomup.cli import exit_codes
from bottomup.cli.progress import progress
from bottomup.cli.report import counted
from bottomup.data.coco import Annotations, read_annotations
from bottomup.evaluation.keypoints import evaluate
from bottomup.export import FORMATS
from bottomup.export.manifest import Manifest
from bottomup.export.runtime import Runtime, input_transform
from bottomup.export.writing import describe_export, export
from bottomup.images.frames import read
from bottomup.images.sources import scan
from bottomup.inference.predictor import Predictor
from bottomup.inference.sizing import BASE
from bottomup.models.network import Cost
from bottomup.models.pose_net import PoseNet
from bottomup.weights.description import record_cost
from bottomup.weights.published import PUBLISHED
from bottomup.weights.store import bundled, load_model

MAX_CALIBRATION_IMAGES = 300  # more change the ranges of int8 little
RECORDED = ("bfloat16", "float16", "int8")  # precisions of `Predictor`


def run_export(arguments: argparse.Namespace) -> int:
    """Export as the arguments say; returns the exit code.

    Raises:
        ValueError: an argument does not fit, or a package is missing.
        OSError: the files cannot be written.
    """
    out = Path(arguments.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {str(out)!r} is a file: name a folder")
    if arguments.int8 and arguments.precision:
        raise ValueError("--int8 is a precision of its own: leave --precision out")
    annotations = read_annotations(*arguments.check) if arguments.check else None
    net = load_model(arguments.weights)
    manifest = describe_export(
        net,
        format=arguments.format,
        precision="int8" if arguments.int8 else arguments.precision or "float32",
        max_candidates=arguments.max_candidates,
    )
    inputs = _calibration_inputs(arguments.int8, manifest) if arguments.int8 else ()
    export(net, out, manifest, inputs=inputs)
    path = out / FORMATS[manifest.format]
    num_bytes = sum(
        file.stat().st_size for file in (path, path.with_suffix(".bin")) if file.exists()
    )
    print(
        f"{path}: {manifest.network}, {manifest.skeleton.num_keypoints} joints, "
        f"{manifest.precision}, {num_bytes / 1e6:.1f} MB"
    )
    if annotations is None:
        return exit_codes.DONE
    return _check(arguments, net, annotations, manifest)


def _check(
    arguments: argparse.Namespace, net: PoseNet, annotations: Annotations, manifest: Manifest
) -> int:
    """Print AP of torch and of the export; returns the exit code."""
    # of ordinary photos; both see all images at this size
    size = round(manifest.size * BASE) if manifest.follows_image else manifest.size
    runtime = Runtime(arguments.out, size=size)
    predictor = Predictor(net, device="cpu", size=size, backend="torch", precision="float32")
    torch_ap = _ap(predictor, annotations, "torch")
    ap = _ap(runtime, annotations, "export")
    change = ap - torch_ap
    print(
        f"AP on {counted(len(annotations.records), 'image', 'images')} at {size} pixels: "
        f"torch float32 {torch_ap:.4f}, {runtime.backend} {runtime.precision} {ap:.4f}, "
        f"change {change:+.4f}"
    )
    # an AP without anybody to find is NaN, and no proof
    has_failed = not change >= -arguments.max_loss
    if has_failed:
        print(f"failed: it loses more than {arguments.max_loss:g}")
    if runtime.precision != manifest.precision:
        print(f"this processor does not have {manifest.precision}, which is not checked therefore")
    elif manifest.precision in RECORDED:
        _record(arguments.weights, predictor, annotations, runtime, torch_ap)
    return exit_codes.FAILED if has_failed else exit_codes.DONE


def _record(
    weights: str,
    predictor: Predictor,
    annotations: Annotations,
    runtime: Runtime,
    torch_ap: float,
) -> None:
    """Write into a file of ours what a precision costs `Predictor`, for its precision "auto"."""
    path = Path(weights)
    if weights in {"default", *bundled(), *PUBLISHED} or path.suffix != ".safetensors":
        return
    lower = Predictor(
        predictor.net,
        device="cpu",
        size=predictor.size,
        backend=runtime.backend,
        precision=runtime.precision,
    )
    change = _ap(lower, annotations, f"predict in {runtime.precision}") - torch_ap
    try:
        record_cost(path, runtime.precision, Cost(change, runtime.manifest.weights_sha256))
        print(f"{path} now records that {runtime.precision} changes AP by {change:+.4f}")
    except (OSError, ValueError) as error:
        print(f"{path} does not record it: {getattr(error, 'strerror', None) or error}")


def _ap(find: Callable[[Path], Any], annotations: Annotations, what: str) -> float:
    """Average precision of what finds people, over all annotated images."""
    results, records = [], annotations.records
    with progress() as show:
        for number, record in enumerate(records, 1):
            poses = find(record.path)
            results += poses.to_coco(record.image_id, annotations.category_id)
            show(number, len(records), f"{what}: {number} of {len(records)} images")
    return evaluate(results, annotations.raw)["AP"]


def _calibration_inputs(source: str, manifest: Manifest) -> list[np.ndarray]:
    """Images as the network sees them; of many, some from everywhere in the list.

    Raises:
        ValueError: none can be read.
    """
    frames = list(scan(source))
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MAX_CALIBRATION_IMAGES)).astype(int)
    inputs, error = [], "the source is empty"
    for frame in (read(frames[index]) for index in chosen):
        if frame.image is None:
            error = f"{frame.name}: {frame.error}"
            continue
        transform = input_transform(manifest, manifest.default_size, frame.image.shape[1::-1])
        inputs.append(transform.warp(frame.image)[None])
    if not inputs:
        raise ValueError(f"--int8 {source!r}: no image can be read ({error})")
    return inputs
