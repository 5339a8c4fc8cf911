"""What a run is made with: all that changes its results, and what the network runs on."""

import argparse
import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

import cv2
import torch

import bottomup
from bottomup.images.remote import is_url, local_path
from bottomup.inference.predictor import Predictor


def settings_of(arguments: argparse.Namespace, predictor: Predictor) -> dict[str, Any]:
    """All that changes the results of `bottomup predict`, by name, as JSON gives it back.

    Raises:
        ValueError: the annotations cannot be read.
    """
    settings = {
        "version": bottomup.__version__,
        "sources": [_absolute(path) for path in arguments.sources],
        "shard": arguments.shard,
        "annotations": arguments.annotations and os.path.abspath(arguments.annotations),
        "annotations' SHA-256": arguments.annotations and _sha256(arguments.annotations),
        "weights' SHA-256": predictor.engine.sha256,
        "backend": predictor.backend,
        "precision": predictor.precision,
        "mode": predictor.mode,
        "size": predictor.size,
        "max megapixels": predictor.max_megapixels,
        "scales": predictor.scales,
        "flip": predictor.flip,
        "exif": predictor.exif,
        "pixel limit": arguments.pixel_limit,
        "score threshold": arguments.score_threshold,
        "keypoint threshold": arguments.keypoint_threshold,
        "overlays": not arguments.no_overlays,
    }
    return json.loads(json.dumps(settings))


def _absolute(path: str) -> str:
    path = local_path(path)
    return path if path == "-" or is_url(path) else os.path.abspath(path)


def engine_of(predictor: Predictor) -> str:
    """What the network runs on. Two engines may differ in the last digits of their results."""
    device = predictor.device
    name = platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    engine = predictor.engine
    versions = f"torch {torch.__version__}, OpenCV {cv2.__version__}"
    return f"{device.type} {name}, {engine.name}, {engine.precision}, {versions}"


def _sha256(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"annotations {path!r} cannot be read: {error.strerror}") from error
