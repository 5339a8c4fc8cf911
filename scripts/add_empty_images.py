"""Add a folder of photos without people to an annotation file, as examples of nobody.

    python scripts/add_empty_images.py person_keypoints_train.json train/ negatives/ OUT.json
        --without ID ...

The new file names its photos relative to the folder that holds both folders. Check the photos
first, and leave out those with people by their ids: the digits at the end of their names.
"""

import argparse
import json
import os
import re
from pathlib import Path

from bottomup.files import read_json, write_whole
from bottomup.images.decoding import decode


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("annotations", type=Path, help="COCO file of the photos with people")
    add("photos", type=Path, help="their folder")
    add("empty", type=Path, help="folder of the photos without people")
    add("out", type=Path, help="the new file")
    add("--without", type=int, nargs="*", default=[], metavar="ID", help="photos to leave out")
    last = "leave out the N photos with the largest ids"
    add("--keep-out", type=int, default=0, metavar="N", help=last)
    arguments = parser.parse_args()

    # names become relative to the folder that holds both
    labels = read_json(arguments.annotations, "annotations")
    root = Path(os.path.commonpath([arguments.photos.resolve(), arguments.empty.resolve()]))
    for image in labels["images"]:
        path = arguments.photos.resolve() / image["file_name"]
        image["file_name"] = str(path.relative_to(root))
    chosen = choose(arguments.empty, keep_out=arguments.keep_out, without=set(arguments.without))
    taken = {image["id"] for image in labels["images"]}
    for image_id, path in chosen:
        if image_id in taken:
            raise SystemExit(f"{path}: image {image_id} is in {arguments.annotations} already")
        height, width = decode(path.read_bytes(), exif=False).shape[:2]
        name = str(path.resolve().relative_to(root))
        info = {"id": image_id, "file_name": name, "width": width, "height": height}
        labels["images"].append(info)
    with write_whole(arguments.out) as file:
        file.write(json.dumps(labels).encode())
    num_images = len(labels["images"])
    print(f"{arguments.out}: {num_images} photos in {root}, {len(chosen)} of them without people")


def choose(folder: Path, *, keep_out: int, without: set[int]) -> list[tuple[int, Path]]:
    """Ids and files of a folder in the order of the ids.

    Left out are the `keep_out` largest ids, and those in `without`.
    """
    named = [
        (int(match[1]), path)
        for path in folder.iterdir()
        if (match := re.search(r"(\d+)\.\w+$", path.name))
    ]
    named.sort()
    return [pair for pair in named[: len(named) - keep_out] if pair[0] not in without]


if __name__ == "__main__":
    main()
