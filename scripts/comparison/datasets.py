"""Images with annotations as the compared methods get them: those of the user, and folders made from them."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from bottomup.data.coco import read_annotations
from bottomup.images.decoding import decode
from bottomup.skeleton import COCO

JPEG_QUALITY = 95  # of the images that are made: hardly to be seen, and a tenth of a PNG
SPEC = "made_from.json"  # says what a made folder holds; written last
CATEGORY = {
    "id": 1,
    "name": "person",
    "keypoints": list(COCO.keypoints),
    "skeleton": [[a + 1, b + 1] for a, b in COCO.edges],
}

Entry = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A folder of images and a COCO keypoint file about them.

    Attributes:
        name: of its folder of results.
        images: the folder that the file names are relative to.
        annotations: the file.
    """

    name: str
    images: Path
    annotations: Path

    def load(self) -> dict[str, Any]:
        """The content of the annotation file."""
        return json.loads(self.annotations.read_bytes())

    def fingerprint(self) -> str:
        """A hash of the annotations and of the bytes of all images."""
        digest = hashlib.sha256(self.annotations.read_bytes())
        for info in self.load()["images"]:
            digest.update(hashlib.sha256((self.images / info["file_name"]).read_bytes()).digest())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """An image with its people, in memory.

    Attributes:
        image: (H, W, 3) RGB.
        people: COCO annotations; `keypoints`, `bbox` and `area` are about this image.
        level: what was done to it: the place in the list of levels.
    """

    image: UInt8[np.ndarray, "H W 3"]
    people: tuple[Entry, ...]
    level: int = 0


def choose(
    name: str, images: Path, annotations: Path, target: Path, *, limit: int | None = None
) -> Dataset:
    """Check the user's annotations and write those that all methods get: 17 joints, one category, the first images.

    Args:
        name: of the dataset.
        images: the folder of images.
        annotations: a COCO keypoint file.
        target: the annotation file to write.
        limit: how many images at most, in the order of their ids, spread evenly.

    Raises:
        ValueError: the annotations are wrong, of another skeleton than COCO's, or about nobody.
        FileNotFoundError: the file or an image is not there.
    """
    checked = read_annotations(annotations, images)
    if checked.skeleton.num_keypoints != COCO.num_keypoints:
        raise ValueError(
            f"{annotations} is about {checked.skeleton.num_keypoints} joints: methods write COCO's 17"
        )
    ids = [record.image_id for record in checked.records]
    if limit is not None and limit < len(ids):
        ids = [ids[i] for i in np.linspace(0, len(ids) - 1, limit).round().astype(int)]
    raw, kept = checked.raw, set(ids)
    category = next(category for category in raw["categories"] if category.get("keypoints"))
    content = {
        "images": sorted(
            (info for info in raw["images"] if info["id"] in kept), key=lambda info: info["id"]
        ),
        "annotations": [
            person | {"category_id": CATEGORY["id"]}
            for person in raw["annotations"]
            if person["image_id"] in kept
            and person.get("category_id", category["id"]) == category["id"]
        ],
        "categories": [CATEGORY],
    }
    if not any(person.get("num_keypoints", 1) for person in content["annotations"]):
        raise ValueError(f"{annotations} has nobody to find in its {len(ids)} images")
    write_json(target, content)
    return Dataset(name, images, target)


def make(name: str, folder: Path, spec: Mapping[str, Any], pictures: Iterable[Picture]) -> Dataset:
    """Write pictures and their annotations to a folder, unless it holds those of the same specification.

    Args:
        name: of the dataset.
        folder: it is replaced as a whole.
        spec: everything that the pictures follow from.
        pictures: made only if needed. Image ids count from 1 in their order.
    """
    dataset = Dataset(name, folder / "images", folder / "annotations.json")
    text = json.dumps(spec, sort_keys=True)
    if (folder / SPEC).is_file() and (folder / SPEC).read_text() == text:
        return dataset
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}.") as part:
        made = Path(part) / "made"
        (made / "images").mkdir(parents=True)
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [CATEGORY]}
        for image_id, picture in enumerate(pictures, 1):
            _add(content, picture, image_id, made / "images")
        (made / "annotations.json").write_text(json.dumps(content))
        (made / SPEC).write_text(text)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(made, folder)
    return dataset


def levels_of(dataset: Dataset) -> dict[int, int]:
    """The level of each image of a made dataset, by its id."""
    return {info["id"]: info["level"] for info in dataset.load()["images"]}


def read_picture(images: Path, info: Entry, people: Iterable[Entry]) -> Picture:
    """Read an image as it is stored, with its people.

    Raises:
        DecodingError: it is no image.
    """
    return Picture(decode((images / info["file_name"]).read_bytes(), exif=False), tuple(people))


def person(keypoints: Float[np.ndarray, "17 3"], box: Iterable[float], area: float) -> Entry:
    """A COCO annotation; whoever has no labelled joint does not count."""
    labelled = int((keypoints[:, 2] > 0).sum())
    return {
        "category_id": 1,
        "iscrowd": 0,
        "num_keypoints": labelled,
        "keypoints": [round(float(value), 3) for value in keypoints.reshape(-1)],
        "bbox": [round(float(value), 3) for value in box],
        "area": float(area),
    }


def keypoints_of(entry: Entry) -> Float[np.ndarray, "17 3"]:
    """The joints of an annotation or of a result: x, y and visibility or score; zeros if it has none."""
    return np.array(entry.get("keypoints") or [0.0] * 51, float).reshape(17, 3)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(content, allow_nan=False, indent=1) + "\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _add(content: dict[str, Any], picture: Picture, image_id: int, folder: Path) -> None:
    height, width = picture.image.shape[:2]
    name = f"{image_id:06}.jpg"
    bgr = np.ascontiguousarray(picture.image[..., ::-1])
    if not cv2.imwrite(str(folder / name), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"{folder / name} cannot be written")
    info = {
        "id": image_id,
        "file_name": name,
        "width": width,
        "height": height,
        "level": picture.level,
    }
    content["images"].append(info)
    for entry in picture.people:
        content["annotations"].append(
            entry | {"id": len(content["annotations"]) + 1, "image_id": image_id}
        )
