"""From the pixels of images to candidates for joints, as one graph of fixed operations.

A thin wrapper: the network, its reading and the aggregation are those of `Predictor`. Only the
search for candidates is another. `peaks` finds as many as there are; a graph has outputs of a fixed
size. Both find the same cells.
"""

import copy
import dataclasses
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from bottomup.coordinates import map_points
from bottomup.engines.graphs import named_tensors
from bottomup.method.aggregation import combine
from bottomup.method.grouping import Grouper
from bottomup.method.peaks import KERNEL_SIZE
from bottomup.models.center_voting import CenterVotingHead, DenseMaps
from bottomup.models.heads import HeadOutput, Side, resize_tags
from bottomup.models.pose_net import PoseNet

MIDDLE = KERNEL_SIZE**2 // 2  # of a square of cells, row by row
STEPS = {"x": 1, "y": KERNEL_SIZE}  # from there to the next cell along an axis


class Slots(NamedTuple):
    """M places for the candidates of each joint, those that may be peaks first, then by value.

    Attributes:
        xy: positions in pixels of the given images, finer than a cell.
        value: of the heatmap; 0 where the place is empty.
        tags: L numbers each.
        is_peak: see `Candidates`.
    """

    xy: Float[Tensor, "B K M 2"]
    value: Float[Tensor, "B K M"]
    tags: Float[Tensor, "B K M L"]
    is_peak: Bool[Tensor, "B K M"]


class PoseGraph(nn.Module):
    """Finds the candidates for joints in images of any size.

    Args:
        net: the network; it is copied.
        grouper: whose thresholds candidates exceed.
        max_candidates: M, the candidates of each joint that are kept.
        max_votes: of each scale, for a network whose people vote.

    Attributes:
        names: of the outputs: the fields of `Slots`, then those of `named_tensors`.
    """

    def __init__(
        self, net: PoseNet, grouper: Grouper, *, max_candidates: int, max_votes: int
    ) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        if isinstance(self.net.head, CenterVotingHead):
            voting = self.net.head.voting
            self.net.head.voting = dataclasses.replace(voting, max_votes=max_votes)
        self.detection_threshold = grouper.detection_threshold
        self.threshold = min(grouper.detection_threshold, grouper.refine_threshold)
        self.max_candidates = max_candidates
        self.names: list[str] = []

    def forward(self, images: UInt8[Tensor, "B H W 3"]) -> tuple[Tensor, ...]:
        """The candidates in RGB images of any height and width.

        Returns:
            The tensors of `Slots`, then the raw outputs of the network: there an engine can part
            what it may compute in lower precision from what it may not.
        """
        multiple = self.net.preprocessing.multiple
        height, width = images.shape[1:3]
        padding = (0, 0, 0, (-width) % multiple, 0, (-height) % multiple)  # black
        inputs = F.pad(images.float(), padding)
        outputs = self.net(inputs.permute(0, 3, 1, 2))
        # copies, since a graph would give what `read` has cast
        raw = {name: tensor.clone() for name, tensor in named_tensors(outputs).items()}
        named = self.read(outputs, tuple(inputs.shape[1:3]))._asdict() | raw
        self.names = list(named)
        return tuple(named.values())

    def read(
        self, outputs: list[HeadOutput] | list[DenseMaps], input_hw: tuple[Side, ...]
    ) -> Slots:
        """The candidates from the outputs of the network.

        Args:
            outputs: of `PoseNet.forward`.
            input_hw: height and width of the network's input.
        """
        maps = combine(self.net.read(outputs))
        slots = find_slots(
            maps.heatmaps,
            resize_tags(maps.tags, maps.heatmaps.shape[2:]),
            detection_threshold=self.detection_threshold,
            threshold=self.threshold,
            max_candidates=self.max_candidates,
        )
        # all sizes have the same ratio
        map_wh, input_wh = map(int, maps.heatmaps.shape[:1:-1]), map(int, input_hw[::-1])
        xy = map_points(slots.xy, [*map_wh], [*input_wh]) + self.net.preprocessing.offset
        return slots._replace(xy=xy)


def find_slots(
    heatmaps: Float[Tensor, "B K H W"],
    tags: Float[Tensor, "B K H W L"],
    *,
    detection_threshold: float,
    threshold: float,
    max_candidates: int,
) -> Slots:
    """The candidates of `peaks.find_candidates`, at the positions of `peaks.locate`.

    Args:
        heatmaps: one map per joint.
        tags: L tag dimensions per joint and cell.
        detection_threshold: peaks exceed it.
        threshold: all candidates exceed it.
        max_candidates: of each joint.

    Returns:
        Slots with positions in cells.
    """
    order = F.pad(_rank(heatmaps, threshold).flatten(2), (0, max_candidates))  # B K HW+M
    rank, cell = order.topk(max_candidates)  # B K M
    is_found = rank > 0
    cell = torch.where(is_found, cell, 0)

    # the squares around these cells; what is outside the map has the value of the middle
    around, inside = _squares(heatmaps, cell)
    value = around[..., MIDDLE]
    is_earlier = torch.arange(KERNEL_SIZE**2, device=cell.device) < MIDDLE
    larger = (around > value[..., None]) | (is_earlier & (around == value[..., None]))
    is_peak = is_found & (value > detection_threshold) & ~(inside & larger).any(3)

    width = heatmaps.shape[3]
    xy = torch.stack([cell % width, cell // width], dim=3) + torch.stack(
        [_vertex(around, inside, step) for step in STEPS.values()], dim=3
    )
    flat = tags.permute(0, 1, 4, 2, 3).flatten(3)  # B K L HW
    tag = flat.gather(3, cell[:, :, None].expand(-1, -1, flat.shape[2], -1))  # B K L M
    return Slots(xy, torch.where(is_found, value, 0), tag.transpose(2, 3), is_peak)


def _rank(heatmaps: Float[Tensor, "B K H W"], threshold: float) -> Float[Tensor, "B K H W"]:
    """The order of cells: 0 for those that are no crest, above 1 for those that may be peaks.

    As in `find_candidates`, a crest is the largest of three cells along its row or column. Of equal
    cells the first is the largest.
    """
    beside = F.pad(heatmaps, (1, 1, 1, 1), value=-torch.inf)
    left, right = beside[:, :, 1:-1, :-2], beside[:, :, 1:-1, 2:]
    above, below = beside[:, :, :-2, 1:-1], beside[:, :, 2:, 1:-1]
    in_row = (heatmaps > left) & (heatmaps >= right)
    in_column = (heatmaps > above) & (heatmaps >= below)
    crest = (in_row | in_column) & (heatmaps > threshold)
    return torch.where(crest, heatmaps + (in_row & in_column), 0)


def _squares(
    heatmaps: Float[Tensor, "B K H W"], cell: Int[Tensor, "B K M"]
) -> tuple[Float[Tensor, "B K M 25"], Bool[Tensor, "B K M 25"]]:
    """The values in the square around each cell, row by row, and which of them are in the map."""
    height, width = heatmaps.shape[2:]
    steps = torch.arange(KERNEL_SIZE, device=cell.device) - KERNEL_SIZE // 2
    dy, dx = steps.repeat_interleave(KERNEL_SIZE), steps.repeat(KERNEL_SIZE)
    y, x = (cell // width)[..., None] + dy, (cell % width)[..., None] + dx
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    at = torch.where(inside, y * width + x, cell[..., None]).flatten(2)
    return heatmaps.flatten(2).gather(2, at).unflatten(2, (-1, KERNEL_SIZE**2)), inside


def _vertex(
    around: Float[Tensor, "B K M 25"], inside: Bool[Tensor, "B K M 25"], step: int
) -> Float[Tensor, "B K M"]:
    """How far a parabola through the logarithms of three cells moves a position, as in `locate`."""
    low, high = MIDDLE - step, MIDDLE + step
    a, b, c = (around[..., at].clamp(1e-6, 1e6).log() for at in (low, MIDDLE, high))
    vertex = (c - a) / (2 * (2 * b - a - c)).clamp(min=1e-6)
    return torch.where(inside[..., low] & inside[..., high], vertex.clamp(-0.5, 0.5), 0)
