"""Make crowds from photos with labels: mosaics of n x n photos, and photos reduced by a factor.

    python scripts/make_crowds.py person_keypoints_val.json val/ OUT --mosaic 4
    python scripts/make_crowds.py person_keypoints_val.json val/ OUT --reduce 2

OUT/images then holds PNG files and OUT/annotations.json the labels, moved along with the pixels.
Every photo is used once. Photos of similar shapes share a mosaic, each at its own resolution; what
no photo covers is black. An outline that is not a list of polygons becomes its box.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bottomup.cli.parser import count, number
from bottomup.coordinates import map_points
from bottomup.data.coco import read_annotations
from bottomup.data.people import area_of, box_of
from bottomup.files import write_whole
from bottomup.images.decoding import decode


@dataclasses.dataclass(frozen=True)
class Part:
    """One photo of an image that is made.

    Attributes:
        info: the photo's entry in the annotation file.
        path: the photo.
        wh: its width and height in the new image.
        corner: x, y of its top-left pixel there.
    """

    info: dict[str, Any]
    path: Path
    wh: tuple[int, int]
    corner: tuple[int, int] = (0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("annotations", type=Path, help="COCO file with keypoints")
    parser.add_argument("photos", type=Path, help="the folder of its photos")
    parser.add_argument("out", type=Path, help="the new folder")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--mosaic", type=count, metavar="N", help="N x N photos become one image")
    how.add_argument("--reduce", type=number(1, 64), metavar="F", help="sides are divided by F")
    arguments = parser.parse_args()
    try:
        annotations = read_annotations(arguments.annotations, arguments.photos)
        made = make(
            annotations.raw,
            arguments.photos,
            mosaic=arguments.mosaic or 1,
            factor=1 / (arguments.reduce or 1),
        )
        labels = write(made, annotations.raw, arguments.out)
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    print(f"{arguments.out}: {len(labels['images'])} images, {len(labels['annotations'])} people")


def make(
    raw: dict[str, Any], photos: Path, *, mosaic: int, factor: float
) -> Iterator[tuple[int, list[Part]]]:
    """The id and the parts of each new image: a photo keeps its id, mosaics are numbered from 1.

    Args:
        raw: the content of a COCO file.
        photos: the folder of its photos.
        mosaic: n; each image gets n * n photos, the last one what is left.
        factor: of the sides of every photo, at most 1.
    """
    parts = []
    for info in raw["images"]:
        wide, high = (max(round(side * factor), 1) for side in (info["width"], info["height"]))
        parts.append(Part(info, photos / info["file_name"], (wide, high)))
    if mosaic == 1:
        yield from ((part.info["id"], [part]) for part in parts)
        return
    parts.sort(key=lambda part: (part.wh[0] / part.wh[1], part.info["id"]))
    for index, start in enumerate(range(0, len(parts), mosaic**2), 1):
        yield index, _arranged(parts[start : start + mosaic**2], mosaic)


def _arranged(parts: Sequence[Part], num_columns: int) -> list[Part]:
    """Place photos row by row. A column is as wide as its widest photo, a row as high as its."""
    place = np.arange(len(parts))
    row, column = place // num_columns, place % num_columns
    wh = np.array([part.wh for part in parts])
    widths = [wh[column == c, 0].max() for c in range(column.max() + 1)]
    heights = [wh[row == r, 1].max() for r in range(row.max() + 1)]
    x, y = np.cumsum([0, *widths])[column], np.cumsum([0, *heights])[row]
    return [
        dataclasses.replace(part, corner=(int(left), int(top)))
        for part, left, top in zip(parts, x, y, strict=True)
    ]


def write(made: Iterator[tuple[int, list[Part]]], raw: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write images and labels; returns the labels."""
    people: dict[int, list[dict[str, Any]]] = {}
    for person in raw["annotations"]:
        people.setdefault(person["image_id"], []).append(person)
    images, moved = [], []
    (out / "images").mkdir(parents=True, exist_ok=True)
    for image_id, parts in made:
        wide, high = np.max([np.add(part.wh, part.corner) for part in parts], axis=0).tolist()
        canvas = np.zeros((high, wide, 3), np.uint8)
        for part in parts:
            _paste(canvas, part)
            moved += [move(person, part, image_id) for person in people.get(part.info["id"], [])]
        name = f"{image_id:012d}.png"
        _, png = cv2.imencode(".png", canvas[..., ::-1])
        with write_whole(out / "images" / name, sync=False) as file:
            file.write(png.tobytes())
        images.append({"id": image_id, "file_name": name, "width": wide, "height": high})
    numbered = [person | {"id": index} for index, person in enumerate(moved, 1)]
    labels = {"images": images, "annotations": numbered, "categories": raw["categories"]}
    with write_whole(out / "annotations.json") as file:
        file.write(json.dumps(labels).encode())
    return labels


def _paste(canvas: np.ndarray, part: Part) -> None:
    """Draw a photo at its place, averaged over areas if it is reduced."""
    image = decode(part.path.read_bytes(), exif=False)
    if image.shape[1::-1] != (part.info["width"], part.info["height"]):
        raise ValueError(
            f"{part.path} has {image.shape[1]} x {image.shape[0]} pixels, and its entry says "
            f"{part.info['width']} x {part.info['height']}"
        )
    (x, y), (wide, high) = part.corner, part.wh
    canvas[y : y + high, x : x + wide] = cv2.resize(image, part.wh, interpolation=cv2.INTER_AREA)


def move(person: dict[str, Any], part: Part, image_id: int) -> dict[str, Any]:
    """The entry of a person in the new image; joints that are not labelled stay at (0, 0)."""
    from_wh = (part.info["width"], part.info["height"])
    factors = np.divide(part.wh, from_wh)
    keypoints = np.array(person.get("keypoints") or [], float).reshape(-1, 3)
    labelled = keypoints[:, 2] > 0
    moved_points = map_points(keypoints[labelled, :2], from_wh, part.wh) + part.corner
    keypoints[labelled, :2] = moved_points

    # boxes and outlines are corners of pixels, not centres
    x, y, wide, high = box_of(person)
    x0, y0 = (np.array([x, y]) * factors + part.corner).tolist()
    x1, y1 = (np.array([x + wide, y + high]) * factors + part.corner).tolist()
    outline = person.get("segmentation")
    if outline and not isinstance(outline, list):
        outline = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    elif outline:
        polygons = [np.array(polygon, float).reshape(-1, 2) for polygon in outline]
        outline = [(points * factors + part.corner).ravel().tolist() for points in polygons]
    moved = {
        "image_id": image_id,
        "keypoints": keypoints.ravel().tolist(),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": float(area_of(person) * math.prod(factors)),
    }
    return person | moved | ({"segmentation": outline} if outline else {})


if __name__ == "__main__":
    main()
