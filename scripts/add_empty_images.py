"""Add a folder of photos without people to an annotation file.

    python scripts/add_empty_images.py person_keypoints_train.json train/ negatives/ OUT.json
    --without ID ...

A network must also see that there may be nobody. The new file names its photos relative to the
folder that holds both folders. Look at the photos first, and leave out those with unlabelled people
by their ids, the digits at the end of their names.
"""

import argparse
import json
import os
import re
from pathlib import Path

from bottomup.data.coco import read_raw
from bottomup.files import write_whole
from bottomup.images.decoding import decode


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("annotations", type=Path, help="COCO file of the photos with people")
    parser.add_argument("photos", type=Path, help="their folder")
    parser.add_argument("empty", type=Path, help="folder of the photos without people")
    parser.add_argument("out", type=Path, help="the new file")
    parser.add_argument(
        "--without", type=int, nargs="*", default=[], metavar="ID", help="photos to leave out"
    )
    parser.add_argument(
        "--keep-out", type=int, default=0, metavar="N", help="leave out the N photos of largest id"
    )
    arguments = parser.parse_args()

    labels = read_raw(arguments.annotations, "images")
    root = Path(os.path.commonpath([arguments.photos.resolve(), arguments.empty.resolve()]))
    for image in labels["images"]:
        image["file_name"] = str(
            (arguments.photos.resolve() / image["file_name"]).relative_to(root)
        )
    chosen = choose(arguments.empty, keep_out=arguments.keep_out, without=set(arguments.without))
    taken = {image["id"] for image in labels["images"]}
    for image_id, path in chosen:
        if image_id in taken:
            raise SystemExit(f"{path}: image {image_id} is in {arguments.annotations} already")
        height, width = decode(path.read_bytes(), exif=False).shape[:2]
        name = str(path.resolve().relative_to(root))
        labels["images"].append(
            {"id": image_id, "file_name": name, "width": width, "height": height}
        )
    with write_whole(arguments.out) as file:
        file.write(json.dumps(labels).encode())
    print(
        f"{arguments.out}: {len(labels['images'])} photos in {root}, "
        f"{len(chosen)} of them without people"
    )


def choose(folder: Path, *, keep_out: int, without: set[int]) -> list[tuple[int, Path]]:
    """Ids and files of a folder, by id, but for some ids and the `keep_out` largest."""
    named = [
        (int(match[1]), path)
        for path in folder.iterdir()
        if (match := re.search(r"(\d+)\.\w+$", path.name))
    ]
    named.sort()
    return [pair for pair in named[: len(named) - keep_out] if pair[0] not in without]


if __name__ == "__main__":
    main()
