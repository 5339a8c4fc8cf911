"""Losses of the head whose people vote (`bottomup.models.center_voting`): centres, joints, and the ways between them.

Centres and joints are classified at every cell by the focal loss of CornerNet (arXiv:1808.01244):
the cell that holds the point is right, all others are wrong, but cost less the nearer they are.
Displacements and box sizes are regressed at the centres alone, in units of the person's size, as
OKS measures errors (CenterNet, arXiv:1904.07850, regresses pixels).
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from bottomup.method import targets
from bottomup.models.center_voting import DenseMaps


@dataclasses.dataclass(frozen=True)
class VotingCriterion:
    """From the dense maps of every scale and the people of the images to named losses.

    A scale learns from the people that it suits, and is left free where others are: at the finest,
    people of up to `largest` cells; at coarser ones of at least `smallest`, in cells of theirs; at
    the coarsest, however large.

    Attributes:
        center_weight: factor of the loss of the centres.
        heatmap_weight: factor of the loss of the joints.
        displacement_weight: factor of the loss of the ways from a centre to its joints.
        size_weight: factor of the loss of the boxes' sizes.
        largest: cells of the longer side of a person's box.
        smallest: likewise.
        tiny: likewise; people smaller than it are left free at every scale, since nobody could see
            them.
        sigma: cells, the spread of a large person's joints; small people have narrower ones, down
            to 1.
        center_sigma: the spread of a centre in sizes of its person, at least one cell.
        box_factor: sides of a person's box in sides of the box around its joints.
    """

    center_weight: float = 1.0
    heatmap_weight: float = 1.0
    displacement_weight: float = 1.0
    size_weight: float = 0.1
    largest: float = 100.0
    smallest: float = 10.0
    tiny: float = 4.0
    sigma: float = 1.5
    center_sigma: float = 0.04
    box_factor: float = 1.2

    def __call__(
        self,
        outputs: list[DenseMaps],
        keypoints: Float[Tensor, "B N K 3"],
        mask: Bool[Tensor, "B H W"],
    ) -> dict[str, Tensor]:
        """Compute the weighted losses "center", "heatmap", "displacement" and "size", summed over the scales.

        With heatmaps at stride 2 there is "fine_heatmap" too.

        Each is divided by the number of centres, joints or people of the batch that it is about, at
        least 1.

        Args:
            outputs: of the network in training, fine to coarse.
            keypoints: x, y in pixels of the network's input, and visibility; rows of zeros fill the
                batch up.
            mask: of the input's size, False where the maps are left free (crowds, people without
                keypoints).
        """
        zero = torch.zeros((), device=mask.device)
        losses = {"center": zero, "heatmap": zero, "displacement": zero, "size": zero}
        if any(maps.fine_heatmaps is not None for maps in outputs):
            losses["fine_heatmap"] = zero
        for scale, maps in enumerate(outputs):
            height, width = maps.center.shape[2:]
            free = (
                F.interpolate(mask[:, None].float(), (height, width), mode="area") > 0.5
            )  # B 1 h w
            people = _to_cells(keypoints, width / mask.shape[2])
            suits = self._suits(people, is_finest=scale == 0, is_coarsest=scale + 1 == len(outputs))
            free = free & ~_cover(people, ~suits, height, width)
            people = people * suits[..., None, None]
            for name, loss in self._scale_losses(maps, people, free).items():
                losses[name] = losses[name] + loss
        return losses

    def _suits(self, people: Tensor, *, is_finest: bool, is_coarsest: bool) -> Bool[Tensor, "B N"]:
        size = person_boxes(people)[1].amax(2) * self.box_factor
        suits = (people[..., 2] > 0).any(2) & (size >= (self.tiny if is_finest else self.smallest))
        if not is_coarsest:
            suits = suits & (size <= self.largest)
        return suits

    def _scale_losses(self, maps: DenseMaps, people: Tensor, free: Tensor) -> dict[str, Tensor]:
        height, width = maps.center.shape[2:]
        center, sides = person_boxes(people)
        size = (sides.amax(2) * self.box_factor).clamp(min=4)  # B N
        there = (people[..., 2] > 0).any(2)

        widest = max(self.center_sigma * self.box_factor * max(height, width), 1.0)
        spread = (self.center_sigma * size).clamp(1, widest)
        points = torch.cat([center, there[..., None]], dim=2)[:, :, None]  # B N 1 3
        centers = targets.render_heatmaps(points, height, width, sigma=spread, max_sigma=widest)
        cells, inside = targets.locate_joints(points, height, width)  # B N 1
        cells, inside = cells[..., 0], inside[..., 0]
        displacement = _displacement_loss(
            read_cells(maps.displacements, cells), cells, width, people, size, inside
        )
        box_size = read_cells(maps.box_size, cells).amax(2)
        is_whole = inside & (
            (people[..., 2] > 0).sum(2) * 2 > people.shape[2]
        )  # what is labelled tells the size
        size_loss = ((box_size - size).abs() / size * is_whole).sum() / is_whole.sum().clamp(min=1)
        losses = {
            "center": self.center_weight
            * focal_loss(maps.center, centers, free)
            / there.sum().clamp(min=1),
            "heatmap": self._heatmap_loss(maps.heatmaps, people, free),
            "displacement": self.displacement_weight * displacement,
            "size": self.size_weight * size_loss,
        }
        if maps.fine_heatmaps is not None:
            finer = people * people.new_tensor([2, 2, 1])
            free = F.interpolate(free.float(), scale_factor=2, mode="nearest") > 0
            losses["fine_heatmap"] = self._heatmap_loss(maps.fine_heatmaps, finer, free)
        return losses

    def _heatmap_loss(self, logits: Tensor, people: Tensor, free: Tensor) -> Tensor:
        height, width = logits.shape[2:]
        sigma = targets.adaptive_sigma(people, sigma=self.sigma)
        joints = targets.render_heatmaps(people, height, width, sigma=sigma, max_sigma=self.sigma)
        known = free & ~(targets.undefined_joints(people, height, width) & (joints == 0))
        num_joints = (people[..., 2] > 0).sum()
        return self.heatmap_weight * focal_loss(logits, joints, known) / num_joints.clamp(min=1)


def focal_loss(
    logits: Float[Tensor, "B K h w"],
    target: Float[Tensor, "B K h w"],
    known: Bool[Tensor, "B #K h w"],
) -> Float[Tensor, ""]:
    """Sum over known cells of -(1 - p)^2 log p where the target t is 1, and of -(1 - t)^4 p^2 log(1 - p) elsewhere."""
    logits = logits.float()
    probability = logits.sigmoid()
    right = (1 - probability).square() * F.softplus(-logits)
    wrong = (1 - target) ** 4 * probability.square() * F.softplus(logits)
    return (torch.where(target == 1, right, wrong) * known).sum()


def person_boxes(
    people: Float[Tensor, "B N K 3"],
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 2"]]:
    """Middle x, y and sides w, h of the box around each person's labelled joints; zeros where there are none."""
    labelled = people[..., 2:] > 0
    points = people[..., :2]
    low = points.masked_fill(~labelled, torch.inf).amin(2)
    high = points.masked_fill(~labelled, -torch.inf).amax(2)
    there = labelled.any(2)
    return torch.where(there, (low + high) / 2, 0), torch.where(there, high - low, 0)


def read_cells(maps: Float[Tensor, "B D h w"], cells: Tensor) -> Float[Tensor, "B N D"]:
    """The D numbers at each of N flat cells y * w + x of every image."""
    return maps.float().flatten(2).gather(2, cells[:, None].expand(-1, maps.shape[1], -1)).mT


def _displacement_loss(
    found: Tensor, cells: Tensor, width: int, people: Tensor, size: Tensor, inside: Tensor
) -> Tensor:
    """Mean distance, in sizes of the person, between each labelled joint and where its centre sees it."""
    place = torch.stack([cells % width, cells // width], dim=2) + 0.5  # B N 2
    joints = place[:, :, None] + found.unflatten(2, (people.shape[2], 2)).flip(3)  # B N K 2
    labelled = (people[..., 2] > 0) & inside[..., None]
    distance = (joints - people[..., :2]).abs().sum(3) / size[..., None]
    return (distance * labelled).sum() / labelled.sum().clamp(min=1)


def _to_cells(keypoints: Tensor, factor: float) -> Tensor:
    """Pixels of the input to cells of a map, where cell c reaches from c to c + 1."""
    return torch.cat([(keypoints[..., :2] + 0.5) * factor, keypoints[..., 2:]], dim=3) * (
        keypoints[..., 2:] > 0
    )


def _cover(
    people: Tensor, chosen: Tensor, height: int, width: int, *, margin: float = 0.1
) -> Bool[Tensor, "B 1 h w"]:
    """Where the boxes of some of the people are, a little larger all round."""
    center, sides = person_boxes(people)
    half = sides * (0.5 + margin) + 0.5
    low, high = center - half, center + half  # B N 2
    chosen = chosen & (people[..., 2] > 0).any(2)
    x = torch.arange(width, device=people.device) + 0.5
    y = torch.arange(height, device=people.device) + 0.5
    columns = (x >= low[..., :1]) & (x <= high[..., :1]) & chosen[..., None]  # B N w
    rows = (y >= low[..., 1:]) & (y <= high[..., 1:])  # B N h
    return (torch.einsum("bnh,bnw->bhw", rows.float(), columns.float()) > 0)[:, None]
