"""How hard the drawn images are that a recipe validates on: people, sizes, overlap, truncation.

    python scripts/describe_crowd.py [configs/synthetic.yaml]

Only labelled people are counted, as in the average precision. The box of a person is around all
joints, including hidden ones and those outside of the image. Overlap is also counted for the
annotated boxes, which are around what can be seen.
"""

import argparse
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from jaxtyping import Float

from bottomup.data.drawings import DrawnEvaluation
from bottomup.data.scenes.crowd import Crowd, arrange, render

SYNTHETIC = Path(__file__).resolve().parents[1] / "configs" / "synthetic.yaml"
OVERLAP = 0.3  # intersection over union of two boxes above which people count as overlapping


class Person(NamedTuple):
    """One labelled person of the set.

    Attributes:
        size: longer side of the box around all joints, pixels.
        overlaps: whether that box overlaps the one of any other drawn person.
        seen_overlaps: the same for the boxes of what can be seen.
        is_cut: whether joints are outside of the image by more than a pixel.
        hidden: share of the joints inside the image that are covered.
    """

    size: float
    overlaps: bool
    seen_overlaps: bool
    is_cut: bool
    hidden: float


def people_of(crowd: Crowd, seed: tuple[int, int]) -> list[Person]:
    """The labelled people of one image."""
    rng = np.random.default_rng(seed)
    figures = arrange(crowd, rng)
    scene = render(figures, crowd, rng)
    whole = [figure.box for figure in figures]
    seen = list(scene.boxes)
    people = []
    for i, keypoints in enumerate(scene.keypoints):
        labelled = keypoints[:, 2] > 0
        if labelled.any():
            low, high = figures[i].points.min(0), figures[i].points.max(0)
            border = np.array([crowd.width, crowd.height]) + 0.5
            person = Person(
                size=float(max(high - low)),
                overlaps=_overlaps(whole, i),
                seen_overlaps=_overlaps(seen, i),
                is_cut=bool((low < -1.5).any() or (high > border).any()),
                hidden=float(np.mean(keypoints[labelled, 2] == 1)),
            )
            people.append(person)
    return people


def _overlaps(boxes: list[Float[np.ndarray, " 4"]], i: int) -> bool:
    others = boxes[:i] + boxes[i + 1 :]
    return any(intersection_over_union(boxes[i], other) > OVERLAP for other in others)


def intersection_over_union(a: Float[np.ndarray, " 4"], b: Float[np.ndarray, " 4"]) -> float:
    """Of two boxes x0, y0, x1, y1."""
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared, 1e-9))


def evaluation_set(recipe: Path) -> DrawnEvaluation:
    """The images that a recipe with drawn data validates on."""
    arguments = yaml.safe_load(recipe.read_text())["data"]["init_args"]
    numbers: dict[str, Any] = arguments.get("crowd", {})
    numbers |= {name: tuple(value) for name, value in numbers.items() if isinstance(value, list)}
    crowd = Crowd(**numbers)
    return DrawnEvaluation(crowd, arguments.get("val_length", 200), arguments.get("val_seed", 0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path, nargs="?", default=SYNTHETIC)
    images = evaluation_set(parser.parse_args().recipe)
    groups = [people_of(images.crowd, (images.seed, index)) for index in range(images.length)]
    people = list(itertools.chain.from_iterable(groups))
    counts, sizes = [len(group) for group in groups], [person.size for person in people]
    low, middle, high = np.quantile(sizes, (0, 0.5, 1))
    overlaps, seen_overlaps, is_cut, hidden = (
        np.mean([getattr(person, name) for person in people])
        for name in ("overlaps", "seen_overlaps", "is_cut", "hidden")
    )
    range_ = f"{min(counts)} to {max(counts)}"
    print(f"{len(groups)} images, {len(people)} labelled people, {range_} in an image")
    print(f"sizes {low:.0f} to {high:.0f} pixels, median {middle:.0f}")
    print(f"{overlaps:.1%} overlap another by IoU > {OVERLAP} (boxes around all joints)")
    print(f"{seen_overlaps:.1%} do with what can be seen of them")
    print(f"{is_cut:.1%} are cut off by the border")
    print(f"{hidden:.1%} of a person's joints inside the image are covered, on average")


if __name__ == "__main__":
    main()
