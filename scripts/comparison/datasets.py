"""Images with annotations, as methods get them: the user's own, and folders made from them."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.data.coco import read_annotations
from bottomup.data.people import BOX_TO_AREA, box_of
from bottomup.files import read_json, write_whole
from bottomup.images.decoding import decode
from bottomup.skeleton import COCO

JPEG_QUALITY = 95  # of the images that are made: no visible loss, a tenth of the size of a PNG
SPEC = "made_from.json"  # what a made folder holds; written last
CATEGORY = {
    "id": 1,
    "name": "person",
    "keypoints": list(COCO.keypoints),
    "skeleton": [[a + 1, b + 1] for a, b in COCO.edges],
}

Entry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A folder of images and their COCO keypoint file.

    Attributes:
        name: of its folder of results.
        images: the folder that the file names are relative to.
        annotations: the COCO file.
    """

    name: str
    images: Path
    annotations: Path

    def load(self) -> dict[str, Any]:
        """The content of the annotation file."""
        return read_json(self.annotations, "annotations")

    def fingerprint(self) -> str:
        """A hash of the annotations and of the bytes of all images."""
        digest = hashlib.sha256(self.annotations.read_bytes())
        for info in self.load()["images"]:
            digest.update(hashlib.sha256((self.images / info["file_name"]).read_bytes()).digest())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image with its people, in memory.

    Attributes:
        pixels: (H, W, 3) RGB.
        people: COCO annotations in pixels of this image.
        level: the index of what was done to it in the list of levels.
    """

    pixels: UInt8[np.ndarray, "H W 3"]
    people: tuple[Entry, ...]
    level: int = 0

    @property
    def wh(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]


def choose(
    name: str, images: Path, annotations: Path, target: Path, *, limit: int | None = None
) -> Dataset:
    """Check the user's annotations and write the file that all methods get.

    Args:
        name: of the dataset.
        images: the folder of images.
        annotations: a COCO keypoint file.
        target: the annotation file to write: 17 joints, one category.
        limit: at most as many images, evenly spread over their ids.

    Raises:
        ValueError: the annotations are wrong, have another skeleton than COCO's, or no people.
        FileNotFoundError: the file or an image is missing.
    """
    checked = read_annotations(annotations, images)
    if checked.skeleton.num_keypoints != COCO.num_keypoints:
        raise ValueError(
            f"{annotations} is about {checked.skeleton.num_keypoints} joints: "
            "methods write COCO's 17"
        )
    ids = [record.image_id for record in checked.records]
    if limit is not None and limit < len(ids):
        ids = spread(ids, limit)
    raw, kept = checked.raw, set(ids)
    category = next(category for category in raw["categories"] if category.get("keypoints"))
    infos = [info for info in raw["images"] if info["id"] in kept]
    people = [
        person | {"category_id": CATEGORY["id"]}
        for person in raw["annotations"]
        if person["image_id"] in kept
        and person.get("category_id", category["id"]) == category["id"]
    ]
    if not any(person.get("num_keypoints", 1) for person in people):
        raise ValueError(f"{annotations} has nobody to find in its {len(ids)} images")
    infos.sort(key=lambda info: info["id"])
    write_json(target, {"images": infos, "annotations": people, "categories": [CATEGORY]})
    return Dataset(name, images, target)


def make(
    name: str, folder: Path, spec: Mapping[str, Any], images: Iterable[LabelledImage]
) -> Dataset:
    """Write images and their annotations to a folder, unless it holds those of the same spec.

    Args:
        name: of the dataset.
        folder: replaced as a whole.
        spec: everything that determines the images.
        images: iterated only if they are needed. Their ids count from 1.
    """
    dataset = Dataset(name, folder / "images", folder / "annotations.json")
    text = json.dumps(spec, sort_keys=True)
    if (folder / SPEC).is_file() and (folder / SPEC).read_text() == text:
        return dataset
    folder.parent.mkdir(parents=True, exist_ok=True)
    # an interrupted run leaves nothing: the folder takes its name when it is complete
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as part:
        made = Path(part) / "made"
        (made / "images").mkdir(parents=True)
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [CATEGORY]}
        for image_id, image in enumerate(images, 1):
            _add(content, image, image_id, made / "images")
        (made / "annotations.json").write_text(json.dumps(content))
        (made / SPEC).write_text(text)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(made, folder)
    return dataset


def levels_of(dataset: Dataset) -> dict[int, int]:
    """The level of each image of a made dataset, by its id."""
    return {info["id"]: info["level"] for info in dataset.load()["images"]}


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` of the items, evenly spread; all of them if there are no more."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[i] for i in places]


def read_image(images: Path, info: Entry, people: Iterable[Entry]) -> LabelledImage:
    """Read an image as it is stored, with its people.

    Raises:
        DecodingError: the file is not an image.
    """
    pixels = decode((images / info["file_name"]).read_bytes(), exif=False)
    return LabelledImage(pixels, tuple(people))


def person(keypoints: Float[np.ndarray, "17 3"], box: Iterable[float], area: float) -> Entry:
    """A COCO annotation; a person without labelled joints does not count."""
    return {
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "keypoints": [round(float(value), 3) for value in keypoints.reshape(-1)],
        "bbox": [round(float(value), 3) for value in box],
        "area": float(area),
    }


def by_image(truth: Mapping[str, Any]) -> dict[int, list[Entry]]:
    """The annotations of each image, by its id; an empty list for an image without any."""
    people: dict[int, list[Entry]] = {info["id"]: [] for info in truth["images"]}
    for entry in truth["annotations"]:
        people[entry["image_id"]].append(entry)
    return people


def keypoints_of(entry: Entry) -> Float[np.ndarray, "17 3"]:
    """x, y and visibility or score of an annotation or a result; zeros if it has no keypoints."""
    return np.array(entry.get("keypoints") or [0.0] * 51, float).reshape(17, 3)


def num_labelled(entry: Entry) -> int:
    """Labelled joints of a person who counts; 0 for a crowd."""
    return 0 if entry.get("iscrowd") else int((keypoints_of(entry)[:, 2] > 0).sum())


def best_labelled(people: Iterable[Entry]) -> Entry:
    """The person with the most labelled joints."""
    return max(people, key=num_labelled)


def area_of(entry: Entry) -> float:
    """The area of a person in square pixels: annotated, or a share of the box.

    Without a box, the one around the labelled joints.
    """
    if entry.get("area"):
        return float(entry["area"])
    _, _, width, height = box_of(entry)
    return BOX_TO_AREA * float(width) * float(height)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all, and its folder.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(content, allow_nan=False, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as file:
        file.write(text.encode())


def _add(content: dict[str, Any], image: LabelledImage, image_id: int, folder: Path) -> None:
    """Write an image, and append it and its people to the annotations."""
    name = f"{image_id:06}.jpg"
    bgr = np.ascontiguousarray(image.pixels[..., ::-1])
    if not cv2.imwrite(str(folder / name), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"{folder / name} cannot be written")
    width, height = image.wh
    info = {"id": image_id, "file_name": name, "width": width, "height": height}
    content["images"].append(info | {"level": image.level})
    for entry in image.people:
        number = len(content["annotations"]) + 1
        content["annotations"].append(entry | {"id": number, "image_id": image_id})
