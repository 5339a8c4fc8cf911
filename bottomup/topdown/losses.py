"""Losses of top-down methods: of networks for one person in a crop, and of the detector."""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from bottomup.method import targets
from bottomup.method.losses import SPARSE
from bottomup.method.voting_losses import person_boxes, read_cells, soft_focal_loss
from bottomup.processes import mean_count
from bottomup.topdown.person_detector import CenterMaps
from bottomup.topdown.person_net import PersonOutput


@dataclasses.dataclass(frozen=True)
class PersonCriterion:
    """The loss of a network for one person, by name.

    Heatmaps are compared with Gaussians by squared difference (L2), points with points by absolute
    difference (L1). Unlabelled joints cost nothing, and joints outside the crop have no Gaussian.

    Attributes:
        sigma: of the Gaussians, in cells.
        foreground: the weight of a cell on a joint, in addition to the 1 of every cell.
    """

    sigma: float = 2.0
    foreground: float = 10.0
    weights = {"heatmap": 1.0, "points": 1.0}  # noqa: RUF012  not a field

    def __call__(
        self,
        output: PersonOutput,
        keypoints: Float[Tensor, "B 1 K 3"],
        mask: Bool[Tensor, "B H W"],
        boxes: Float[Tensor, "B 1 4"] | None = None,
    ) -> dict[str, Tensor]:
        """Compute "heatmap", the mean over joints and cells, or "points", in heights of the crop.

        Args:
            output: of the network.
            keypoints: x, y in pixels of the crop, and visibility.
            mask: only its size is used, which is that of the crop.
            boxes: not used.
        """
        labelled = keypoints[:, 0, :, 2] > 0  # B K
        if output.heatmaps is None:
            distance = (output.points.float() - keypoints[:, 0, :, :2]).abs().sum(2) / mask.shape[1]
            return {"points": (distance * labelled).sum() / mean_count(labelled.sum())}

        height, width = output.heatmaps.shape[2:]
        cells = targets.to_cells(keypoints, mask.shape[1:], (height, width))
        target = targets.render_heatmaps(cells, height, width, sigma=self.sigma, exact=True)
        squares = (output.heatmaps.float() - target).square() * (1 + self.foreground * target)
        return {"heatmap": (squares.mean((2, 3)) * labelled).sum() / mean_count(labelled.sum())}


@dataclasses.dataclass(frozen=True)
class DetectorCriterion:
    """The losses of a detector, by name.

    Centres are classified by the quality focal loss (Li et al., arXiv:2006.04388). Sizes and
    offsets are regressed at the centres only, by L1, sizes relative to the true ones. A scale
    learns from the people that suit it, and ignores the centres of the others. The finest scale
    suits people of up to `largest` cells, coarser scales those of at least `smallest` of their own
    cells.

    Attributes:
        center_weight: of the centres' loss in the total.
        offset_weight: of the loss of the offsets within a cell.
        size_weight: of the box sizes' loss.
        largest: of the longer side of a box, in cells.
        smallest: likewise.
        center_sigma: spread of a centre, as a share of the geometric mean of the box's sides; it is
            at least one cell.
    """

    center_weight: float = 1.0
    offset_weight: float = 0.3
    size_weight: float = 1.0
    largest: float = 90.0
    smallest: float = 24.0
    center_sigma: float = 0.05

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss in the total."""
        return {
            "center": self.center_weight,
            "offset": self.offset_weight,
            "size": self.size_weight,
        }

    def __call__(
        self,
        outputs: list[CenterMaps],
        keypoints: Float[Tensor, "B N 2 3"],
        mask: Bool[Tensor, "B H W"],
        boxes: Float[Tensor, "B N 4"] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses in `weights`, unweighted, summed over the scales, per person.

        Args:
            outputs: of the network, fine to coarse.
            keypoints: the corners of every box in pixels of the input, with visibility 0 for a box
                that does not count.
            mask: of the input's size, False in ignored regions.
            boxes: not used: the keypoints are their corners.
        """
        losses: dict[str, Tensor] = {}
        for scale, maps in enumerate(outputs):
            found = self._scale_losses(
                maps, keypoints, mask, is_finest=scale == 0, is_coarsest=scale + 1 == len(outputs)
            )
            losses = {name: losses.get(name, 0) + loss for name, loss in found.items()}
        return losses

    def _scale_losses(
        self,
        maps: CenterMaps,
        keypoints: Tensor,
        mask: Tensor,
        *,
        is_finest: bool,
        is_coarsest: bool,
    ) -> dict[str, Tensor]:
        # the boxes in cells, and which of them suit this scale
        height, width = maps.center.shape[2:]
        corners = targets.to_cells(keypoints, mask.shape[1:], (height, width))
        center, sides = person_boxes(corners)  # B N 2
        counts = (keypoints[..., 2] > 0).all(2)  # B N
        size = sides.amax(2)
        suits = ((size >= self.smallest) | is_finest) & ((size <= self.largest) | is_coarsest)
        chosen, others = counts & suits, counts & ~suits

        # centres
        target = self._render(center, sides, chosen, height, width)
        valid = F.interpolate(mask[:, None].float(), (height, width), mode="area") > 0.5
        # a cell of an unsuitable person is invalid, unless it is also one of a suitable person
        is_other = self._render(center, sides, others, height, width) > 0.05
        valid = valid & ~(is_other & (target < 0.05))
        centers = soft_focal_loss(maps.center, target, valid)

        # offsets and sizes, read at the centres
        points = torch.cat([center, chosen[..., None]], dim=2)[:, :, None]  # B N 1 3
        cells, inside = (part[..., 0] for part in targets.locate_joints(points, height, width))
        place = torch.stack([cells % width, cells // width], dim=2) + 0.5
        offset = (read_cells(maps.offset, cells) - (center - place)).abs().sum(2)
        wanted = sides.flip(2).clamp(min=1)
        relative = ((read_cells(maps.box_size, cells) - wanted).abs() / wanted).sum(2)
        num_people = mean_count(inside.sum())
        return {
            "center": centers / num_people.clamp(min=SPARSE * len(inside)),
            "offset": (offset * inside).sum() / num_people,
            "size": (relative * inside).sum() / num_people,
        }

    def _render(
        self, center: Tensor, sides: Tensor, chosen: Tensor, height: int, width: int
    ) -> Tensor:
        """B 1 h w, a Gaussian at the centre of every chosen box."""
        widest = max(self.center_sigma * max(height, width), 1.0)
        spread = (self.center_sigma * sides.prod(2).sqrt()).clamp(1, widest)
        points = torch.cat([center, chosen[..., None]], dim=2)[:, :, None]
        return targets.render_heatmaps(
            points, height, width, sigma=spread, max_sigma=widest, exact=True
        )
