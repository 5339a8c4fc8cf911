"""Losses of associative embedding, without loops over people or device synchronisation.

For an image with n people (of at least one joint each), t_ik is the tag vector of joint k of person
i, and m_i the mean tag vector of person i:

    pull = 1/n sum_i mean_k |t_ik - m_i|^2
    push = 1/2 sum_{i != j} exp(-|m_i - m_j|^2) / (n (n - 1)),    0 if n < 2

Newell et al., "Associative Embedding" (NeurIPS 2017), in the form of HigherHRNet's public training
code. Two other losses need fewer training steps: `quality_focal_loss` for heatmaps that are
probabilities, and `place_loss`, which supervises tags by the position of their person.
"""

import dataclasses
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bottomup.method import targets
from bottomup.models.heads import HeadOutput
from bottomup.processes import mean_count

Maps, Factors = Float[Tensor, "B K H W"], Float[Tensor, "B #K H W"]

# People per image that count at least where background adds to a loss. Without a floor, a batch of
# nobody has a gradient as many times larger than that of another as the other has joints.
SPARSE = 0.5
CUT_OFFSET = 0.5  # pixels of the input: what predictions lack after targets at truncated positions


def heatmap_loss(predicted: Maps, target: Maps, mask: Factors) -> Float[Tensor, " B"]:
    """Mean squared error over joints and cells; cells of mask 0 add 0, but count in the mean."""
    return ((_precise(predicted) - target).square() * mask).mean(dim=(1, 2, 3))


def read_tags(
    tags: Float[Tensor, "B K L H W"], indices: Int[Tensor, "B N K"]
) -> Float[Tensor, "B N K L"]:
    """Tag vectors at the flat indices (k * H + y) * W + x of `targets.locate_joints`."""
    batch, num_people, num_joints = indices.shape
    flat = tags.transpose(1, 2).flatten(2)  # B L K*H*W
    where = indices.reshape(batch, 1, num_people * num_joints).expand(-1, flat.shape[1], -1)
    return flat.gather(2, where).transpose(1, 2).unflatten(1, (num_people, num_joints))


def pull_push(
    tags: Float[Tensor, "B N K L"], present: Bool[Tensor, "B N K"], *, hinge: bool = False
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Pull a person's tags together, push the means of different people apart.

    Computed in float32 at least, also under autocast. Rows without joints (padding) do not count.

    Args:
        tags: the tag vector of every joint of every person; any value for absent joints.
        present: which joints are labelled and inside the map.
        hinge: push with max(1 - |m_i - m_j|, 0) in place of the exponential.

    Returns:
        Pull and push of every image, unweighted.
    """
    # pull: the mean squared distance of a person's tags from their mean
    tags = _precise(tags)
    weights = present.to(tags.dtype)[..., None]  # B N K 1
    num_joints = weights.sum(2)  # B N 1
    means = (tags * weights).sum(2) / num_joints.clamp(min=1)  # B N L
    spread = ((tags - means[:, :, None]).square() * weights).sum((2, 3))
    spread = spread / num_joints[..., 0].clamp(min=1)  # B N
    person = present.any(2)  # B N
    num_people = person.sum(1).to(tags.dtype)  # B
    pull = spread.sum(1) / num_people.clamp(min=1)

    # push: the mean over all ordered pairs of different people
    gaps = (means[:, :, None] - means[:, None]).square().sum(-1)  # B N N
    closeness = (1 - gaps.clamp(min=1e-30).sqrt()).clamp(min=0) if hinge else torch.exp(-gaps)
    pairs = person[:, :, None] & person[:, None]
    pairs = pairs & ~torch.eye(person.shape[1], dtype=torch.bool, device=person.device)
    push = 0.5 * (closeness * pairs).sum((1, 2)) / (num_people * (num_people - 1)).clamp(min=1)
    return pull, push


def quality_focal_loss(predicted: Maps, target: Maps, mask: Factors) -> Float[Tensor, ""]:
    """Cross entropy, weighted by the squared error, and summed over the batch.

    Cells that are nearly right cost almost nothing, so the empty background does not outweigh the
    joints. The minimum is still at the target. Source: Li et al., "Generalized Focal Loss",
    arXiv:2006.04388.

    Args:
        predicted: probabilities from 0 to 1.
        target: from 0 to 1.
        mask: a factor for every cell.
    """
    probability = _precise(predicted).clamp(1e-5, 1 - 1e-5)
    entropy = -(target * probability.log() + (1 - target) * (-probability).log1p())
    return (entropy * (target - probability).square() * mask).sum()


def place_loss(
    tags: Float[Tensor, "B N K 2"],
    keypoints: Float[Tensor, "B N K 3"],
    present: Bool[Tensor, "B N K"],
    anchor: float,
) -> Float[Tensor, ""]:
    """Position supervision: all tags of a person should be `anchor` times its mean joint position.

    Returns the smooth L1 distance, averaged over the joints of the batch.

    Args:
        tags: the tag of every joint; any value for absent joints.
        keypoints: x, y in cells of the map that the tags come from; the visibility is unused.
        present: which joints are labelled and inside the map.
        anchor: `tag_anchor` of the head, tag units per cell.
    """
    weights = present.float()
    num_joints = weights.sum(2)[..., None, None]  # B N 1 1
    points = keypoints[..., :2] - 0.5  # as in `TagHead`, cell c has its centre at c
    mean = (points * weights[..., None]).sum(2, keepdim=True) / num_joints.clamp(min=1)  # B N 1 2
    target = (anchor * mean).expand_as(tags)
    error = F.smooth_l1_loss(_precise(tags), target, reduction="none", beta=0.1).sum(3)
    return (error * weights).sum() / mean_count(weights.sum())


@dataclasses.dataclass(frozen=True)
class Criterion:
    """Computes named losses from the network's outputs and the keypoints of the images.

    Attributes:
        heatmap_weight: weight of the heatmap loss in the total.
        pull_weight: weight of the pull loss.
        push_weight: weight of the push loss.
        place_weight: weight of `place_loss`, for anchored tags only; the weights of pull and push
            can then be 0.
        sigma: standard deviation of the Gaussians in cells, the same at every resolution.
        scale_aware: draw narrower Gaussians for small people (`targets.adaptive_sigma`).
        heatmaps: "squares" (`heatmap_loss`) as published, or "focal" (`quality_focal_loss` divided
            by the number of joints in the batch) for heads that predict probabilities.
    """

    heatmap_weight: float = 1.0
    pull_weight: float = 1e-3
    push_weight: float = 1e-3
    place_weight: float = 0.0
    sigma: float = 2.0
    scale_aware: bool = False
    heatmaps: Literal["squares", "focal"] = "squares"

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss in the total."""
        names = ("heatmap", "pull", "push", "place")[: 4 if self.place_weight else 3]
        return {name: getattr(self, f"{name}_weight") for name in names}

    def __call__(
        self,
        outputs: list[HeadOutput],
        keypoints: Float[Tensor, "B N K 3"],
        mask: Bool[Tensor, "B H W"],
        boxes: Float[Tensor, "B N 4"] | None = None,
        *,
        offset: float = 0.5,
        tag_anchor: float = 0.0,
    ) -> dict[str, Tensor]:
        """Compute the losses in `weights`, unweighted and summed over the resolutions.

        Args:
            outputs: of the network, of any resolutions.
            keypoints: x, y in pixels of the network's input, and visibility; padding rows are 0.
            mask: of the input's size, False in ignored regions (crowds, people without keypoints).
            boxes: not used.
            offset: `Preprocessing.offset` of the network. `CUT_OFFSET`: targets are drawn at
                truncated positions, as published; otherwise at exact ones, less the offset.
            tag_anchor: of the network's head, see `TagHead`.

        Raises:
            ValueError: `place_weight` is set, but the head's tags are not anchored.
        """
        if (weight := self.place_weight) and not tag_anchor:
            raise ValueError(f"a place_weight of {weight} needs anchored tags: set tag_anchor")
        losses = {name: torch.zeros((), device=mask.device) for name in self.weights}
        for output in outputs:
            points = targets.to_cells(keypoints, mask.shape[1:], output.heatmaps.shape[2:], offset)
            heat = self._heatmap_loss(output.heatmaps, points, mask, offset != CUT_OFFSET)
            found = {"heatmap": heat}
            if output.tags is not None:
                found |= self._tag_losses(output.tags, points, tag_anchor)
            for name, loss in found.items():
                losses[name] = losses[name] + loss
        return losses

    def _heatmap_loss(self, heatmaps: Tensor, points: Tensor, mask: Tensor, exact: bool) -> Tensor:
        height, width = heatmaps.shape[2:]
        sigma = targets.adaptive_sigma(points, sigma=self.sigma) if self.scale_aware else self.sigma
        target = targets.render_heatmaps(
            points, height, width, sigma=sigma, max_sigma=self.sigma, exact=exact
        )
        # a cell is valid if most of its pixels are
        valid = F.interpolate(mask[:, None].float(), (height, width), mode="area") > 0.5
        if self.heatmaps == "squares":
            return heatmap_loss(heatmaps, target, valid.float()).mean()
        num_joints = mean_count((points[..., 2] > 0).sum(), SPARSE * target[..., 0, 0].numel())
        return quality_focal_loss(heatmaps, target, valid.float()) / num_joints

    def _tag_losses(self, tags: Tensor, points: Tensor, tag_anchor: float) -> dict[str, Tensor]:
        indices, present = targets.locate_joints(points, *tags.shape[3:])
        vectors = read_tags(tags, indices)
        pull, push = pull_push(vectors, present)
        losses = {"pull": pull.mean(), "push": push.mean()}
        if self.place_weight:
            losses["place"] = place_loss(vectors, points, present, tag_anchor)
        return losses


def _precise(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
