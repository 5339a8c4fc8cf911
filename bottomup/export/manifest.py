"""What the file beside an exported graph says: all that the runtime has to know of it."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal

from bottomup.export import FORMATS
from bottomup.files import read_json, write_whole
from bottomup.skeleton import Skeleton

NAME = "model.json"
VERSION = 1
LARGEST = {"size": 65536, "multiple": 4096, "max_candidates": 65536, "max_votes": 65536}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """One exported graph.

    Attributes:
        format: one of `FORMATS`.
        precision: in which the graph is meant to run: float32, bfloat16, float16 or int8.
        network: the builder of the network.
        weights_sha256: of its weights, see `weights.store.digest`.
        skeleton: the K joints.
        size: pixels of the input, see `Preprocessing.size`.
        side: the side of an image that gets this size.
        multiple: the sides of the input are multiples of it.
        cell: pixels of the input along a cell of the heatmaps.
        lower_small: see `Grouper`.
        follows_image: whether the size of the input may follow from the image.
        detection_threshold: peaks exceed it; it is part of the graph.
        refine_threshold: other candidates exceed it; the lower of both is part of the graph.
        tag_threshold: see `Grouper`.
        max_candidates: M, the places for candidates of a joint.
        max_votes: the centres of people that vote, of each scale.
    """

    format: str
    precision: str
    network: str
    weights_sha256: str
    skeleton: Skeleton
    size: int
    side: str
    multiple: int
    cell: float
    lower_small: bool
    follows_image: bool
    detection_threshold: float
    refine_threshold: float
    tag_threshold: float
    max_candidates: int
    max_votes: int

    @property
    def default_size(self) -> int | Literal["auto"]:
        """Of the input, if no other is asked for."""
        return "auto" if self.follows_image else self.size

    def write(self, folder: Path) -> None:
        """Write it to the folder of the graph; whole or not at all."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content = {"version": VERSION} | fields | {"skeleton": self.skeleton.to_dict()}
        with write_whole(folder / NAME) as file:
            file.write(json.dumps(content, indent=2).encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The file of a folder that `bottomup export` has written.

    Raises:
        ValueError: it cannot be read, is damaged, or is of another version.
    """
    content = read_json(folder / NAME, "the description of an exported network")
    try:
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r:.50}, this bottomup reads {VERSION}")
        fields = {field.name: field.type for field in dataclasses.fields(Manifest)}
        given = {name: content[name] for name in fields}
        given["skeleton"] = Skeleton.from_dict(given["skeleton"])
        for name, kind in fields.items():
            given[name] = _checked(name, kind, given[name])
        return Manifest(**given)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{folder / NAME} does not describe a network ({error!s:.200}); export it again"
        ) from error


def _checked(name: str, kind: Any, value: Any) -> Any:
    allowed = {"format": tuple(FORMATS), "side": ("short", "long")}
    if kind is float and type(value) is int:
        value = float(value)
    if (
        type(value) is not kind
        or (kind is float and not math.isfinite(value))
        or (kind is int and not 1 <= value <= LARGEST[name])
        or (name in ("tag_threshold", "cell") and value <= 0)
        or (name in allowed and value not in allowed[name])
    ):
        raise ValueError(f"{name} is {value!r:.50}")
    return value
