"""Large images: the network sees them in tiles, at several levels; people are grouped once.

A level is the image at one size. Level 0 is the finest, and each further one has half the
resolution. The network sees a level in tiles. A tile has a margin, so that its maps hardly differ
from those of the whole level. Of each tile, the heatmaps and the votes of people are kept. The
votes of all levels and tiles then compete as those of one image, and each person votes at one
level, see `bottomup.models.voting`. Votes reach beyond tiles, so a person may be larger than one.

Heatmaps and tags of all levels together are computed block by block, from the votes near a block.
Of a block, only candidates and heatmaps are kept. `Grouper` gets those of the whole image.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from bottomup.engines.choice import Engine
from bottomup.inference.sizing import Step
from bottomup.method.aggregation import Maps
from bottomup.method.grouping import Grouper
from bottomup.method.matching import Candidates
from bottomup.method.peaks import KERNEL_SIZE, find_candidates
from bottomup.models.center_voting import CenterVotingHead
from bottomup.models.heads import resize
from bottomup.models.pose_net import PoseNet
from bottomup.models.voting import Votes, merge_scales, suit_scales

STRIDE = 4  # pixels of a level per cell of its maps
TILE = 750  # cells of a tile's side, about: 3000 pixels
ALIGNMENT = 8  # cells: 32 pixels, the stride of the coarsest features
MARGIN = 48  # further cells that the network sees around a tile: 192 pixels
MAX_WHOLE_PIXELS = 1536**2  # of an input that is seen as a whole
BLOCK = 256  # cells of the side of a block, whose maps are computed at once, about
BLOCK_MARGIN = KERNEL_SIZE // 2 + 1  # further cells of a block, on which its candidates depend
SMALL = 30.0  # cells: people who are smaller at one level are looked at in the next finer one
REACH = 5.0  # standard deviations; a vote farther away is nothing

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in cells


def can_read(net: PoseNet, grouper: Grouper) -> bool:
    """Whether the people of a network vote, at one resolution, and are grouped from candidates."""
    votes = isinstance(net.head, CenterVotingHead) and net.head.fine_heatmaps is None
    return votes and hasattr(net.trunk, "at_scale") and not grouper.rules.fill_every_joint


class Level:
    """What the network saw of an image at one size.

    The leading dimension V of heatmaps and votes is 1. With a flip test it is 2: the second is what
    the network saw in mirrored tiles, mirrored back.

    Args:
        engine: of a network whose people vote.
        wh: width and height of the level's maps in cells.
        flip: whether every tile is seen mirrored too.

    Attributes:
        heat: (V, K, h, w) heatmaps; zeros where the level was not seen.
        tiles: boxes that cover the level.
        is_seen: which of them the network saw.
    """

    def __init__(self, engine: Engine, wh: tuple[int, int], *, flip: bool):
        self.engine, self.net, self.wh, self.flip = engine, engine.net, wh, flip
        shape = (1 + flip, self.net.skeleton.num_keypoints, *wh[::-1])
        # zeros of numpy take no memory before something is written to them
        self.heat = torch.from_numpy(np.zeros(shape, np.float32)).to(self.net.mean.device)
        self.tiles = split(wh, TILE)
        self.is_seen = np.zeros(len(self.tiles), bool)
        self._found: list[Votes] = []

    def see(self, number: int, pixels: UInt8[np.ndarray, "H W 3"], num_halvings: int) -> None:
        """Run the network on a tile with its margin; keep the heatmaps and votes of the tile.

        Args:
            number: of the tile.
            pixels: the level's input, before it is halved.
            num_halvings: how often it is halved.
        """
        tile, stride = self.tiles[number], STRIDE * 2**num_halvings
        around = x0, y0, x1, y1 = _grown(tile, MARGIN, self.wh)
        part = pixels[y0 * stride : y1 * stride, x0 * stride : x1 * stride]
        images = torch.from_numpy(np.ascontiguousarray(part))[None].to(self.heat.device)
        images = images.permute(0, 3, 1, 2)  # 1 3 H W, channels last
        for view, seen in enumerate([images, images.flip(3)][: len(self.heat)]):
            maps = self.engine.at_scale(seen, num_halvings)
            heat, votes = maps.heatmaps.sigmoid(), self.net.head.find_votes(maps)
            if view == 1:
                heat, votes = _mirrored(heat, votes, self.net.skeleton.flip_indices)
            self.heat[view : view + 1, :, *_slices(tile)] = heat[..., *_slices(tile, around)]
            self._keep(votes, tile, around, view)
        self.is_seen[number] = True

    def _keep(self, votes: Votes, tile: Box, around: Box, view: int) -> None:
        """Keep the votes whose centre is in the tile."""
        corner = votes.center.new_tensor(around[:2])
        x, y = (votes.center + corner)[0].unbind(1)
        inside = (x >= tile[0]) & (x < tile[2]) & (y >= tile[1]) & (y < tile[3])
        votes = _chosen(votes, inside & (votes.score[0] > 0))
        scores = votes.score.new_zeros(len(self.heat), votes.score.shape[1])
        scores[view] = votes.score[0]
        self._found.append(
            Votes(
                scores,
                *(
                    part.expand(len(self.heat), *part.shape[1:])
                    for part in (votes.center + corner, votes.joints + corner, votes.size)
                ),
            )
        )

    def votes(self, factor: int) -> Votes:
        """All votes, in cells that are smaller by the factor."""
        votes = Votes(*(torch.cat(parts, dim=1) for parts in zip(*self._found, strict=True)))
        center, joints = ((at + 0.5) * factor - 0.5 for at in (votes.center, votes.joints))
        return Votes(votes.score, center, joints, votes.size * factor)

    def enlarged(self, box: Box, factor: int) -> Float[Tensor, "V K h w"]:
        """The heatmaps of a box, in cells that are smaller by the factor; so is the box.

        They are interpolated as those of the whole level would be.
        """
        if factor == 1:
            return self.heat[..., *_slices(box)]
        x0, y0, x1, y1 = box
        inner = (x0 // factor, y0 // factor, -(-x1 // factor), -(-y1 // factor))
        around = left, top, right, bottom = _grown(inner, 1, self.wh)
        heat = resize(
            self.heat[..., *_slices(around)], [(bottom - top) * factor, (right - left) * factor]
        )
        return heat[..., *_slices(box, (left * factor, top * factor))]


@torch.inference_mode()
def look(
    engine: Engine,
    image: UInt8[np.ndarray, "H W 3"],
    steps: Sequence[Step],
    *,
    flip: bool,
    reduction: int = 1,
) -> list[Level]:
    """Let the network see an image; returns the levels, fine to coarse.

    Args:
        engine: of a network whose people vote.
        image: the image.
        steps: fine to coarse. An optional one is seen only where the coarser one before shows small
            people, and is left out with all finer ones if it shows none.
        flip: see `Level`.
        reduction: how many times smaller than in its file the image is.
    """
    levels: list[Level] = []
    transform, pixels = None, None
    for step in reversed(steps):
        wide, high = (side // (STRIDE * 2**step.num_halvings) for side in step.transform.input_wh)
        level = Level(engine, (wide, high), flip=flip)
        wanted = shows_small(levels[0], level) if step.is_optional else ~level.is_seen
        if not wanted.any():
            break
        if pixels is None or step.transform is not transform:
            transform, pixels = step.transform, step.transform.of_reduced(reduction).warp(image)
        for number in np.flatnonzero(wanted).tolist():
            level.see(number, pixels, step.num_halvings)
        levels.insert(0, level)

    # what a level did not see looks as it does at the next coarser level
    for coarser, level in itertools.pairwise(reversed(levels)):
        for number in np.flatnonzero(~level.is_seen).tolist():
            box = level.tiles[number]
            level.heat[..., *_slices(box)] = coarser.enlarged(box, 2)
    return levels


def shows_small(coarser: Level, level: Level) -> Bool[np.ndarray, " T"]:
    """Whether the next coarser level shows people who are small there, for the T tiles."""
    votes = coarser.votes(factor=2)
    small = _chosen(votes, votes.size[0] < 2 * SMALL)
    low, high = _extent(small, 0.25 * small.size)
    return np.array([_touch(low, high, tile).any() for tile in level.tiles])


@torch.inference_mode()
def find_joints(
    levels: Sequence[Level], detection_threshold: float, refine_threshold: float
) -> tuple[Candidates, Float[Tensor, "1 K h w"]]:
    """The candidates of all people, and the heatmaps of all levels together, in cells of level 0.

    Args:
        levels: of `look`.
        detection_threshold: see `find_candidates`.
        refine_threshold: likewise.
    """
    wh, net = levels[0].wh, levels[0].net
    votes = [level.votes(2**number) for number, level in enumerate(levels)]
    if any(cast.score.shape[1] for cast in votes):
        votes = suit_scales(votes, net.head.voting)
    heatmaps = torch.from_numpy(np.zeros((1, *levels[0].heat.shape[1:]), np.float32))
    heatmaps = heatmaps.to(levels[0].heat.device)
    no_tags = np.zeros((0, 2 * len(levels[0].heat)), np.float32)
    found = [Candidates(np.zeros(0, np.int64), np.zeros(0, np.float32), no_tags, np.zeros(0, bool))]
    for inner in split(wh, BLOCK):
        block = _grown(inner, BLOCK_MARGIN, wh)
        maps = merge_block(levels, votes, block)
        if maps is None:
            continue
        heatmaps[..., *_slices(block)] = maps.heatmaps
        (candidates,) = find_candidates(
            maps.heatmaps,
            maps.tags,
            detection_threshold=detection_threshold,
            refine_threshold=refine_threshold,
        )
        found.append(_placed(candidates, inner, block, wh))
    joined = Candidates(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    order = np.argsort(joined.flat)  # `Candidates` are in ascending order
    return Candidates(*(part[order] for part in joined)), heatmaps


def merge_block(levels: Sequence[Level], votes: Sequence[Votes], block: Box) -> Maps | None:
    """The maps of one block of level 0, from the votes near it; None if there are none."""
    voting = levels[0].net.head.voting
    near = []
    for number, cast in enumerate(votes):
        sigma = voting.relative_spread * cast.size + voting.spread * 2**number
        low, high = _extent(cast, REACH * sigma)
        touch = torch.from_numpy(_touch(low, high, block)).to(cast.score.device)
        near.append(_chosen(cast, touch & (cast.score > 0).any(0)))
    if not any(cast.score.shape[1] for cast in near):
        return None
    heats = [level.enlarged(block, 2**number) for number, level in enumerate(levels)]
    (merged,) = merge_scales(heats, near, voting, corner=block[:2])
    assert merged.tags is not None
    # the tags of a flip test stand beside each other, as in `combine`
    tags = torch.cat(merged.tags.split(1), dim=2).permute(0, 1, 3, 4, 2)
    return Maps(merged.heatmaps.mean(0, keepdim=True), tags)


def split(wh: tuple[int, int], side: int) -> list[Box]:
    """Boxes of about that side, which cover maps of that width and height.

    Corners are multiples of `ALIGNMENT`, as the network needs.
    """
    edges = []
    for length in wh:
        count = max(math.ceil(length / side - 0.15), 1)  # rather a little larger than one more
        inner = np.round(np.arange(1, count) * length / count / ALIGNMENT).astype(int) * ALIGNMENT
        edges.append([0, *inner.tolist(), length])
    columns, rows = (list(itertools.pairwise(along)) for along in edges)
    return [(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns]


def _grown(box: Box, margin: int, wh: tuple[int, int]) -> Box:
    x0, y0, x1, y1 = box
    return (
        max(x0 - margin, 0),
        max(y0 - margin, 0),
        min(x1 + margin, wh[0]),
        min(y1 + margin, wh[1]),
    )


def _slices(box: Box, corner: Sequence[int] = (0, 0)) -> tuple[slice, slice]:
    """Rows and columns of a box in maps whose first cell is at the corner."""
    (x0, y0, x1, y1), (left, top) = box, corner[:2]
    return slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)


def _chosen(votes: Votes, which: Bool[Tensor, " M"]) -> Votes:
    return Votes(*(part[:, which] for part in votes))


def _extent(
    votes: Votes, margin: Float[Tensor, "V M"]
) -> tuple[Float[np.ndarray, "M 2"], Float[np.ndarray, "M 2"]]:
    """The corners of a box around the joints of each vote and a margin; the same in all views."""
    joints, margin = votes.joints[0], margin[0, :, None]
    low, high = joints.amin(1) - margin, joints.amax(1) + margin
    return low.cpu().numpy(), high.cpu().numpy()


def _touch(
    low: Float[np.ndarray, "M 2"], high: Float[np.ndarray, "M 2"], box: Box
) -> Bool[np.ndarray, " M"]:
    """Which of the boxes from `_extent` touch this one."""
    return np.all((low < box[2:]) & (high > box[:2]), axis=1)


def _mirrored(
    heat: Float[Tensor, "1 K h w"], votes: Votes, flip_indices: Sequence[int]
) -> tuple[Float[Tensor, "1 K h w"], Votes]:
    """Heatmaps and votes of a mirrored tile, mirrored back."""
    swapped = list(flip_indices)
    last = heat.shape[3] - 1

    def back(points: Tensor) -> Tensor:
        return torch.stack([last - points[..., 0], points[..., 1]], dim=-1)

    joints = back(votes.joints)[:, :, swapped]
    votes = votes._replace(center=back(votes.center), joints=joints)
    return heat.flip(3)[:, swapped], votes


def _placed(candidates: Candidates, inner: Box, block: Box, wh: tuple[int, int]) -> Candidates:
    """The candidates in the inner part of a block, with their indices in the whole maps."""
    (x0, y0, x1, y1), (wide, high) = block, wh
    joint, cell = np.divmod(candidates.flat, (x1 - x0) * (y1 - y0))
    y, x = np.divmod(cell, x1 - x0)
    x, y = x + x0, y + y0
    inside = (x >= inner[0]) & (x < inner[2]) & (y >= inner[1]) & (y < inner[3])
    placed = candidates._replace(flat=(joint * high + y) * wide + x)
    return Candidates(*(part[inside] for part in placed))
