"""Which sizes of an image the network sees.

With a fixed size, the network sees the input of that size, and halves of it, as it was built. With
the size "auto", these are the *base*: about one and a quarter times the size that the network was
made for. A larger image then has finer levels, up to its own resolution: each doubles the one
before. Whether they are read, and where, is decided by what the coarser ones show
(`bottomup.inference.pyramid`).
"""

import dataclasses
import math
from typing import Literal

from bottomup.geometry import Transform
from bottomup.inference import MOST_MEGAPIXELS

# an image that is read smaller than it is has at least this long side in pixels ...
LEAST_SIDE = 1280
LEAST_FACTOR = 3.0  # ... and this many times the resolution of the network's input
LEAST_SHORT = 64  # pixels of the short side of the base of a very long image
MAX_RATIO = 16  # of the sides of an image in official mode, where only the short one has a size
BASE = 1.25  # the long side of the base is about this times the size of the network: 640 for 512


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One level: a size at which the network may see an image.

    Attributes:
        transform: from the image to the input.
        num_halvings: how often this input is halved, by averages, before the network sees it.
        is_optional: whether it is read only where coarser levels show small people.
    """

    transform: Transform
    num_halvings: int = 0
    is_optional: bool = False


def refuse_long(image_wh: tuple[int, int]) -> None:
    """Refuse an image whose input in official mode could take all memory.

    Raises:
        ValueError: it is refused.
    """
    if max(image_wh) > MAX_RATIO * min(image_wh):
        raise ValueError(
            f"an image of {image_wh[0]} x {image_wh[1]} pixels is too long for mode 'official', in "
            "which the size is that of its short side; choose 'robust'"
        )


def checked(
    size: int | str | None, max_megapixels: float, own_size: int, can_tile: bool
) -> int | Literal["auto"]:
    """The size to use, "auto" if none is given and it can be.

    Args:
        size: what was asked for, or None.
        max_megapixels: what was asked for.
        own_size: the size that the network was made for.
        can_tile: whether "auto" can be used.

    Raises:
        ValueError: what was asked for cannot be.
    """
    if not 0 < max_megapixels <= MOST_MEGAPIXELS:
        raise ValueError(
            f"max_megapixels is {max_megapixels}; give a number above 0 and up to {MOST_MEGAPIXELS}"
        )
    if size is None:
        return "auto" if can_tile else own_size
    if isinstance(size, str):
        if size != "auto":
            raise ValueError(f"size is {size!r}; give 'auto' or pixels, such as 512")
        if not can_tile:
            raise ValueError(
                "size 'auto' needs a network whose people vote, such as the default one, in robust "
                "mode and at one scale; give the size in pixels, such as 512"
            )
        return "auto"
    if size < 1:
        raise ValueError(f"size is {size}; give the pixels of the network's input, such as 512")
    return size


def base_and_doublings(
    image_wh: tuple[int, int], size: int | Literal["auto"], own_size: int, max_megapixels: float
) -> tuple[int, int]:
    """The side of the base in pixels, and how many finer levels there are.

    Args:
        image_wh: width and height of the image.
        size: pixels of the long side, without finer levels; or "auto".
        own_size: the size that the network was made for.
        max_megapixels: with "auto", of the finest level.
    """
    if size != "auto":
        return size, 0
    long, short = max(image_wh), min(image_wh)
    base = max(own_size * BASE, min(LEAST_SHORT * long / short, long))
    largest = long * math.sqrt(max_megapixels * 1e6 / math.prod(image_wh))
    finest = min(max(long, base), largest)
    # the base is within a factor of the square root of 2 of what suits the network
    doublings = max(round(math.log2(finest / base)), 0)
    return max(round(finest / 2**doublings), 1), doublings


def enough(
    image_wh: tuple[int, int],
    *,
    size: int | Literal["auto"],
    own_size: int,
    own_side: Literal["long", "short"],
    max_megapixels: float,
    scale: float,
) -> int:
    """How many times smaller an image may be read: 1, 2, 4 or 8, see `Frame`.

    What is read has at least `LEAST_FACTOR` times the resolution of the finest input, and a long
    side of `LEAST_SIDE`.

    Args:
        image_wh: width and height of the image.
        size: as in `base_and_doublings`.
        own_size: as in `base_and_doublings`.
        own_side: of an image, that has this size.
        max_megapixels: as in `base_and_doublings`.
        scale: the largest at which the network sees the image.
    """
    base, doublings = base_and_doublings(image_wh, size, own_size, max_megapixels)
    side = "long" if size == "auto" else own_side
    finest = Transform.fit(image_wh, base, side=side).matrix.max() * scale * 2**doublings
    most = min(1 / max(LEAST_FACTOR * finest, 1e-9), max(image_wh) / LEAST_SIDE)
    return max((number for number in (2, 4, 8) if number <= most), default=1)


def steps(
    base: Transform, doublings: int, num_scales: int, multiple: int, max_pixels: float
) -> tuple[Step, ...]:
    """The levels, fine to coarse; each has half the resolution of the one before.

    Args:
        base: from the image to the base.
        doublings: the number of finer levels.
        num_scales: of the network: the base, its half, and so on.
        multiple: see `Preprocessing`; of the base.
        max_pixels: of an input. Sides are rounded up, the short one of a long image to nearly twice
            its length; finer levels that become too large are left out.
    """
    finer = [base.scaled(2**power, multiple) for power in range(doublings, 0, -1)]
    return (
        *(
            Step(transform, is_optional=True)
            for transform in finer
            if math.prod(transform.input_wh) <= max_pixels
        ),
        *(Step(base, num_halvings) for num_halvings in range(num_scales)),
    )
