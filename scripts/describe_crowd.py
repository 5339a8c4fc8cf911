"""Count people, sizes, overlap and truncation in the drawn images that a recipe validates on.

    python scripts/describe_crowd.py [configs/synthetic.yaml]

Labelled people count, as in the average precision. Boxes are those around all joints of a person,
including hidden ones and those beyond the border. The overlap of the annotated boxes, around the
visible pixels, is counted too.
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
OVERLAP = 0.3  # intersection over union of boxes above which people overlap


class Person(NamedTuple):
    """One labelled person of the set.

    Attributes:
        size: longer side of the box around all joints, pixels.
        overlaps: whether that box overlaps another's, of any person drawn.
        seen_overlaps: the same for the boxes around visible pixels.
        is_cut: whether joints lie beyond the border by more than a pixel.
        hidden: share of the joints inside the image that somebody or something covers.
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
            is_cut = bool(
                (low < -1.5).any() or (high > (crowd.width + 0.5, crowd.height + 0.5)).any()
            )
            hidden = float(np.mean(keypoints[labelled, 2] == 1))
            people.append(
                Person(
                    float(max(high - low)), _overlaps(whole, i), _overlaps(seen, i), is_cut, hidden
                )
            )
    return people


def _overlaps(boxes: list[Float[np.ndarray, " 4"]], i: int) -> bool:
    return any(
        intersection_over_union(boxes[i], box) > OVERLAP for j, box in enumerate(boxes) if j != i
    )


def intersection_over_union(a: Float[np.ndarray, " 4"], b: Float[np.ndarray, " 4"]) -> float:
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared, 1e-9))


def evaluation_set(recipe: Path) -> DrawnEvaluation:
    """The images that a recipe with drawn data validates on."""
    arguments = yaml.safe_load(recipe.read_text())["data"]["init_args"]
    numbers: dict[str, Any] = {
        n: tuple(v) if isinstance(v, list) else v for n, v in arguments.get("crowd", {}).items()
    }
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
    print(
        f"{len(groups)} images, {len(people)} labelled people, "
        f"{min(counts)} to {max(counts)} in an image"
    )
    low, middle, high = np.quantile(sizes, (0, 0.5, 1))
    print(f"sizes {low:.0f} to {high:.0f} pixels, median {middle:.0f}")
    print(
        f"{np.mean([p.overlaps for p in people]):.1%} overlap another by IoU > {OVERLAP} "
        "(boxes around all joints)"
    )
    print(f"{np.mean([p.seen_overlaps for p in people]):.1%} do by the boxes around visible pixels")
    print(f"{np.mean([p.is_cut for p in people]):.1%} are cut off by the border")
    print(
        f"{np.mean([p.hidden for p in people]):.1%} of a person's joints inside the image are "
        "covered, on average"
    )


if __name__ == "__main__":
    main()
