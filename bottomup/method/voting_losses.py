"""Losses for `bottomup.models.center_voting.CenterVotingHead`.

Every cell is classified as centre or not with the focal loss of CornerNet (arXiv:1808.01244): the
cell that holds the point is the positive, and the nearer another cell is, the less it costs. Joints
are located within a cell: `soft_focal_loss` learns Gaussians at exact positions. Displacements and
box sizes are learned at centres only. Their errors are divided by the person's size, as in OKS. A
person's box is the one around its joints; one with a single labelled joint has its annotated box.
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bottomup.method import targets
from bottomup.method.losses import SPARSE, Maps
from bottomup.models.center_voting import DenseMaps
from bottomup.processes import mean_count

Valid = Bool[Tensor, "B #K H W"]


@dataclasses.dataclass(frozen=True)
class VotingCriterion:
    """Computes named losses from the dense maps of every scale and the keypoints of the images.

    Each scale learns from people of suitable size; at that scale, the boxes of other people are
    ignored regions. The size of a person is the longer side of its box, in cells of the scale.

    Attributes:
        center_weight: weight of the loss of the centres in the total.
        heatmap_weight: weight of the loss of the joints, also of those at stride 2.
        displacement_weight: weight of the loss of the displacements.
        size_weight: weight of the loss of the box sizes.
        largest: the largest size at all scales but the coarsest, which has no limit.
        smallest: the smallest size at all scales but the finest.
        tiny: the smallest size at the finest scale.
        sigma: standard deviation of a large person's joints in cells; less for small people, to 1.
        center_sigma: standard deviation of a centre as a share of the size; at least one cell.
        box_factor: sides of a person's box, relative to the box around its joints.
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

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss in the total."""
        names = ("center", "heatmap", "displacement", "size")
        weights = {name: getattr(self, f"{name}_weight") for name in names}
        return weights | {"fine_heatmap": self.heatmap_weight}

    def __call__(
        self,
        outputs: list[DenseMaps],
        keypoints: Float[Tensor, "B N K 3"],
        mask: Bool[Tensor, "B H W"],
        boxes: Float[Tensor, "B N 4"] | None = None,
        *,
        offset: float = 0.0,
    ) -> dict[str, Tensor]:
        """Compute the losses in `weights`, unweighted and summed over the scales.

        Each is divided by the number of its centres, joints or people in the batch of all
        processes. "fine_heatmap" is present only if the network has heatmaps at stride 2.

        Args:
            outputs: of the network, fine to coarse.
            keypoints: x, y in pixels of the network's input, and visibility; padding rows are 0.
            mask: of the input's size, False in ignored regions (crowds, people without keypoints).
            boxes: x0, y0, x1, y1 of the people, in pixels of the input. Without them, nothing is
                learned from people with a single labelled joint.
            offset: `Preprocessing.offset` of the network, which is taken off exact positions.
        """
        losses: dict[str, Tensor] = {}
        boxes = keypoints.new_zeros(*keypoints.shape[:2], 4) if boxes is None else boxes
        corners = boxes.unflatten(2, (2, 2))  # B N 2 2
        middle = corners.mean(2, keepdim=True)
        corners = middle + (corners - middle) / self.box_factor  # as if around the joints
        for scale, maps in enumerate(outputs):
            grids = (mask.shape[1:], maps.center.shape[2:])
            people = targets.to_cells(keypoints, *grids, offset)
            people = people * (people[..., 2:] > 0)  # zeros for unlabelled joints
            boxes = targets.to_cells(corners, *grids, offset).flatten(2)  # B N 4
            # which people this scale learns from
            center, sides = person_boxes(people, boxes)
            size = sides.amax(2) * self.box_factor
            has_joints = (people[..., 2] > 0).any(2)
            suits = has_joints & (size >= (self.smallest if scale else self.tiny))
            if scale + 1 < len(outputs):
                suits = suits & (size <= self.largest)
            # ignore cells of which half the pixels are ignored, and people of other sizes
            valid = F.interpolate(mask[:, None].float(), grids[1], mode="area") > 0.5
            half = sides * (0.5 + targets.MARGIN) + 0.5
            others = (center - half, center + half, (has_joints & ~suits)[..., None])
            valid = valid & ~targets.cells_in_boxes(*others, *grids[1], shift=0.5)  # B 1 h w
            found = self._scale_losses(maps, people * suits[..., None, None], boxes, valid)
            losses |= {name: losses.get(name, 0) + loss for name, loss in found.items()}
        return losses

    def _scale_losses(
        self, maps: DenseMaps, people: Tensor, boxes: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        height, width = maps.center.shape[2:]
        center, sides = person_boxes(people, boxes)
        size = (sides.amax(2) * self.box_factor).clamp(min=4)  # B N, a divisor below
        labelled = people[..., 2] > 0  # B N K
        has_joints = labelled.any(2)  # B N

        # a Gaussian at every centre
        widest = max(self.center_sigma * self.box_factor * max(height, width), 1.0)
        spread = (self.center_sigma * size).clamp(1, widest)
        points = torch.cat([center, has_joints[..., None]], dim=2)[:, :, None]  # B N 1 3
        centers = targets.render_heatmaps(points, height, width, sigma=spread, max_sigma=widest)
        num_people = mean_count(has_joints.sum(), SPARSE * len(has_joints))

        # displacements and sizes at the centres; sizes of people with a box or most joints labelled
        cells, inside = (part[..., 0] for part in targets.locate_joints(points, height, width))
        found = read_cells(maps.displacements, cells)
        displacement = _displacement_loss(found, cells, width, people, size, inside)
        num_labelled = labelled.sum(2)
        is_whole = inside & ((num_labelled * 2 > people.shape[2]) | (num_labelled == 1))
        size_error = (read_cells(maps.box_size, cells).amax(2) - size).abs() / size

        losses = {
            "center": focal_loss(maps.center, centers, valid) / num_people,
            "heatmap": self._heatmap_loss(maps.heatmaps, people, boxes, valid),
            "displacement": displacement,
            "size": (size_error * is_whole).sum() / mean_count(is_whole.sum()),
        }
        if maps.fine_heatmaps is not None:
            finer = people * people.new_tensor([2, 2, 1])
            valid = F.interpolate(valid.float(), scale_factor=2, mode="nearest") > 0
            losses["fine_heatmap"] = self._heatmap_loss(maps.fine_heatmaps, finer, 2 * boxes, valid)
        return losses

    def _heatmap_loss(self, logits: Tensor, people: Tensor, boxes: Tensor, valid: Tensor) -> Tensor:
        size, widest = logits.shape[2:], self.sigma
        sigma = targets.adaptive_sigma(people, boxes, sigma=widest)
        joints = targets.render_heatmaps(people, *size, sigma=sigma, max_sigma=widest, exact=True)
        # ignore cells that may show an unlabelled joint, except near labelled ones
        valid = valid & ~(targets.undefined_joints(people, *size, boxes=boxes) & (joints == 0))
        num_joints = mean_count((people[..., 2] > 0).sum(), SPARSE * joints[..., 0, 0].numel())
        return soft_focal_loss(logits, joints, valid) / num_joints


def focal_loss(logits: Maps, target: Maps, valid: Valid) -> Float[Tensor, ""]:
    """Sum over valid cells of -(1-p)^2 log p where target t is 1, else -(1-t)^4 p^2 log(1-p)."""
    logits = logits.float()
    probability = logits.sigmoid()
    positive = (1 - probability).square() * F.softplus(-logits)
    negative = (1 - target) ** 4 * probability.square() * F.softplus(logits)
    return (torch.where(target == 1, positive, negative) * valid).sum()


def soft_focal_loss(logits: Maps, target: Maps, valid: Valid) -> Float[Tensor, ""]:
    """`losses.quality_focal_loss` of logits, for targets from 0 to 1; its minimum is at them."""
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (entropy * (target - logits.sigmoid()).square() * valid).sum()


def person_boxes(
    people: Float[Tensor, "B N K 3"], boxes: Float[Tensor, "B N 4"] | None = None
) -> tuple[Float[Tensor, "B N 2"], Float[Tensor, "B N 2"]]:
    """Centre x, y and sides w, h of each box of `targets.joint_boxes`; 0 without any joint."""
    low, high = targets.joint_boxes(people, boxes)
    has_joints = low <= high
    return torch.where(has_joints, (low + high) / 2, 0), torch.where(has_joints, high - low, 0)


def read_cells(maps: Float[Tensor, "B D h w"], cells: Int[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
    """The D values at each of N flat cell indices y * w + x of every image."""
    return maps.float().flatten(2).gather(2, cells[:, None].expand(-1, maps.shape[1], -1)).mT


def _displacement_loss(
    found: Tensor, cells: Tensor, width: int, people: Tensor, size: Tensor, inside: Tensor
) -> Tensor:
    """Mean L1 distance between predicted and labelled joints, divided by the person's size."""
    centers = torch.stack([cells % width, cells // width], dim=2) + 0.5  # B N 2
    # the predicted y, x become x, y
    joints = centers[:, :, None] + found.unflatten(2, (people.shape[2], 2)).flip(3)  # B N K 2
    labelled = (people[..., 2] > 0) & inside[..., None]
    distance = (joints - people[..., :2]).abs().sum(3) / size[..., None]
    return (distance * labelled).sum() / mean_count(labelled.sum())
