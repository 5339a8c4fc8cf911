"""Golden maps and places: aggregation of a network's outputs, geometry before and after it."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bottomup.files import read_json
from bottomup.geometry import Transform
from bottomup.method.aggregation import aggregate, combine
from bottomup.models.heads import HeadOutput, resize_tags
from golden.comparison import (
    SKELETONS,
    Arrays,
    Case,
    Deviation,
    close,
    file_cases,
    read_arrays,
    same,
)

WARP_SIZE = 64  # the input size of the warped pictures


def aggregation_cases(folder: Path) -> list[Case]:
    """A case for every file of maps."""
    return file_cases(folder, compare_aggregation)


def compare_aggregation(case: Arrays, entry: dict[str, Any]) -> Iterator[Deviation]:
    """Aggregated maps, with and without flip test and projection."""
    if not entry:
        raise ValueError("index.json does not list it")
    base_wh, flip_indices, scales = (entry[k] for k in ("base_size_wh", "flip_index", "scales"))
    if len(flip_indices) in SKELETONS:
        ours = list(SKELETONS[len(flip_indices)].flip_indices)
        yield same("flip_index", ours, flip_indices)
    for flip in (0, 1):
        maps = [
            (
                float(scale),
                combine(
                    _outputs(case, "plain", scale, len(flip_indices)),
                    _outputs(case, "flipped", scale, len(flip_indices)) if flip else None,
                    flip_indices=flip_indices,
                ),
            )
            for scale in scales
        ]
        for project in (0, 1):
            joined = aggregate(maps, (base_wh[1], base_wh[0]) if project else None)
            tags = resize_tags(joined.tags, joined.heatmaps.shape[2:])
            for kind, found in (("heatmaps", joined.heatmaps), ("tags", tags)):
                name = f"{kind}_flip{flip}_project{project}"
                yield close(name, found, case[name], atol=1e-5)


def _outputs(case: Arrays, kind: str, scale: float, num_joints: int) -> list[HeadOutput]:
    """What the network gave at one scale, coarse to fine; tags stand in stage 0."""
    coarse, fine = (torch.from_numpy(case[f"{kind}_s{scale}_stage{i}"]) for i in (0, 1))
    tags = coarse[:, num_joints:].unflatten(1, (num_joints, -1))  # B K L h w
    return [HeadOutput(coarse[:, :num_joints], tags), HeadOutput(fine, None)]


def geometry_cases(folder: Path) -> list[Case]:
    """A case for every entry of geometry.json, and one for all warped pictures.

    Raises:
        ValueError: geometry.json is damaged.
    """
    path = folder / "geometry.json"
    entries = read_json(path, "geometry") if path.exists() else []
    if not isinstance(entries, list):
        raise ValueError(f"geometry {str(path)!r} is not a list")
    if not entries:
        return []
    cases = [
        Case(f"geometry.json[{i}]", functools.partial(compare_geometry, entry))
        for i, entry in enumerate(entries)
    ]
    return [*cases, Case("warp.npz", functools.partial(compare_pictures, folder / "warp.npz"))]


def compare_geometry(case: dict[str, Any]) -> Iterator[Deviation]:
    """The transforms to all scales, and points of the heatmaps taken back to the image."""
    scales = sorted(case["scale_list"], reverse=True)
    transforms = Transform.official(tuple(case["image_wh"]), case["input_size"], scales)
    base = transforms[scales.index(min(scales, key=lambda scale: abs(scale - 1)))]
    yield same("base_wh", list(base.input_wh), case["base_wh"])
    yield same("scales", scales, [expected["s"] for expected in case["scales"]])
    for scale, ours, expected in zip(scales, transforms, case["scales"], strict=True):
        where = f" at scale {scale:g}"
        factor, input_wh = ours.matrix[0, 0], np.array(ours.input_wh)
        yield same("resized_wh" + where, list(ours.input_wh), expected["resized_wh"])
        yield close("affine" + where, ours.matrix, expected["affine"], rtol=1e-4, atol=1e-4)
        yield close("scale" + where, input_wh / factor / 200, expected["scale"], rtol=1e-9)
        # whole pixels, but for the division that recovers them from the matrix
        center = (input_wh / 2 - ours.matrix[:, 2]) / factor
        yield close("center" + where, center, expected["center"], rtol=1e-12)
    for name, final in case["final"].items():
        points = transforms[-1].to_image(np.array(final["points"]), tuple(final["heatmap_wh"]))
        allowed = 1e-6 * max(case["image_wh"])
        yield close(f"points of {name}", points, final["image_points"], atol=allowed)


def compare_pictures(path: Path) -> Iterator[Deviation]:
    """The network's view of pictures, in grey levels."""
    pictures = read_arrays(path)
    for name in (name for name in pictures if name.startswith("warped")):
        number, smallest, scale = name.removeprefix("warped").split("_")
        wanted = float(scale.removeprefix("s"))
        scales = sorted({float(smallest.removeprefix("min")), wanted}, reverse=True)
        image = pictures[f"image{number}"]
        image_wh = (image.shape[1], image.shape[0])
        transform = Transform.official(image_wh, WARP_SIZE, scales)[scales.index(wanted)]
        found, expected = transform.warp(image), pictures[name]
        yield close(f"{name}, largest", found, expected, atol=3)
        if found.shape == expected.shape:
            difference = np.abs(found.astype(float) - expected)
            yield close(f"{name}, mean", difference.mean(), 0, atol=0.5)
