"""Losses of associative embedding, without a loop over people and without a wait for the device.

Per image, with n people of at least one joint, t_ik the tag vector of joint k of person i and m_i
their mean:

    pull = 1/n sum_i mean_k |t_ik - m_i|^2
    push = 1/2 sum_{i != j} exp(-|m_i - m_j|^2) / (n (n - 1)),    0 if n < 2

Newell et al., "Associative Embedding" (NeurIPS 2017), in the form of HigherHRNet's public training
code. For trainings of minutes there are losses that teach more per step: joints as probabilities,
and tags that are told the place to name.
"""

import dataclasses
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bottomup.method import targets
from bottomup.models.heads import HeadOutput


def heatmap_loss(
    predicted: Float[Tensor, "B K H W"],
    target: Float[Tensor, "B K H W"],
    mask: Float[Tensor, "B #K H W"],
) -> Float[Tensor, " B"]:
    """Mean squared error over joints and all pixels; masked pixels cost 0 but stay in the denominator."""
    return ((_precise(predicted) - target).square() * mask).mean(dim=(1, 2, 3))


def read_tags(
    tags: Float[Tensor, "B K L H W"], indices: Int[Tensor, "B N J"]
) -> Float[Tensor, "B N J L"]:
    """Read tag vectors at flat indices (k * H + y) * W + x, as `targets.locate_joints` gives them."""
    batch, num_people, num_joints = indices.shape
    flat = tags.transpose(1, 2).flatten(2)  # B L K*H*W
    where = indices.reshape(batch, 1, num_people * num_joints).expand(-1, flat.shape[1], -1)
    return (
        flat.gather(2, where).transpose(1, 2).reshape(batch, num_people, num_joints, flat.shape[1])
    )


def pull_push(
    tags: Float[Tensor, "B N J L"], present: Bool[Tensor, "B N J"], *, hinge: bool = False
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Pull a person's tags together, push the means of different people apart.

    Computed in float32 at least, also under autocast. Any number of people; rows without a joint do
    not count.

    Args:
        tags: the tag vector of every joint of every person, anything where there is none.
        present: which joints there are.
        hinge: push with max(1 - |m_i - m_j|, 0) in place of the exponential.

    Returns:
        pull and push of every image, unweighted.
    """
    tags = _precise(tags)
    weights = present.to(tags.dtype)[..., None]  # B N J 1
    num_joints = weights.sum(2)  # B N 1
    means = (tags * weights).sum(2) / num_joints.clamp(min=1)  # B N L
    spread = ((tags - means[:, :, None]).square() * weights).sum((2, 3)) / num_joints[..., 0].clamp(
        min=1
    )
    person = present.any(2)  # B N
    num_people = person.sum(1).to(tags.dtype)  # B
    pull = spread.sum(1) / num_people.clamp(min=1)

    gaps = (means[:, :, None] - means[:, None]).square().sum(-1)  # B N N
    closeness = (1 - _safe_sqrt(gaps)).clamp(min=0) if hinge else torch.exp(-gaps)
    pairs = person[:, :, None] & person[:, None]
    pairs = pairs & ~torch.eye(person.shape[1], dtype=torch.bool, device=person.device)
    push = 0.5 * (closeness * pairs).sum((1, 2)) / (num_people * (num_people - 1)).clamp(min=1)
    return pull, push


def focal_loss(
    predicted: Float[Tensor, "B K H W"],
    target: Float[Tensor, "B K H W"],
    mask: Float[Tensor, "B #K H W"],
) -> Float[Tensor, ""]:
    """Quality focal loss of probabilities: their cross entropy, weighed by the square of the error; summed.

    What is nearly right costs next to nothing, so that the empty background does not drown the
    joints, and a joint's Gaussian is still what the loss is least at (Li et al., "Generalized Focal
    Loss", arXiv:2006.04388).

    Args:
        predicted: from 0 to 1.
        target: likewise.
        mask: factor of every pixel.
    """
    probability = _precise(predicted).clamp(1e-5, 1 - 1e-5)
    entropy = -(target * probability.log() + (1 - target) * (-probability).log1p())
    return (entropy * (target - probability).square() * mask).sum()


def place_loss(
    tags: Float[Tensor, "B N J 2"],
    keypoints: Float[Tensor, "B N J 3"],
    present: Bool[Tensor, "B N J"],
    anchor: float,
) -> Float[Tensor, ""]:
    """How far anchored tags are from the middle of their person: mean over joints of the smooth L1 distance.

    Args:
        tags: the tag of every joint, anything where there is none.
        keypoints: x, y in pixels of the map that the tags come from; the third number does not
            count.
        present: which joints there are.
        anchor: `tag_anchor` of the head, the difference between the tags of neighbouring cells to
            start with.
    """
    weights = present.float()
    num_joints = weights.sum(2)[..., None, None]  # B N 1 1
    points = keypoints[..., :2] - 0.5  # the centre of cell c is c
    centre = (points * weights[..., None]).sum(2, keepdim=True) / num_joints.clamp(min=1)  # B N 1 2
    error = F.smooth_l1_loss(
        _precise(tags), (anchor * centre).expand_as(tags), reduction="none", beta=0.1
    ).sum(3)
    return (error * weights).sum() / weights.sum().clamp(min=1)


@dataclasses.dataclass(frozen=True)
class Criterion:
    """From the network's outputs and the people of the images to named losses.

    Attributes:
        heatmap_weight: factor of the heatmap loss.
        pull_weight: factor of the pull loss.
        push_weight: factor of the push loss.
        sigma: spread of the Gaussians in cells, the same at every resolution.
        scale_aware: draw narrower Gaussians for small people (`targets.adaptive_sigma`).
        ignore_undefined: leave the heatmap of joint k free where a labelled person's joint k is not
            labelled; the published networks were trained to answer 0 there.
        foreground: how much more a pixel on a joint weighs than one far from all joints: 0 as
            published, 10 for short trainings, which otherwise spend their first thousands of steps
            on an empty map.
        centres: "truncated" or "exact", see `targets.render_heatmaps`; the network's
            `keypoint_offset` goes with it.
        heatmaps: "squares" as published, or "focal" (`focal_loss` divided by the number of joints
            in the batch) for heads that predict probabilities.
        place_weight: factor of `place_loss`, which pulls anchored tags to the middle of their
            person; pull and push can then be 0.
        tag_anchor: of the network's head, where there is a `place_weight`.

    Raises:
        ValueError: there is a `place_weight` without a `tag_anchor`.
    """

    heatmap_weight: float = 1.0
    pull_weight: float = 1e-3
    push_weight: float = 1e-3
    sigma: float = 2.0
    scale_aware: bool = False
    ignore_undefined: bool = False
    foreground: float = 0.0
    centres: str = targets.TRUNCATED
    heatmaps: Literal["squares", "focal"] = "squares"
    place_weight: float = 0.0
    tag_anchor: float = 0.0

    def __post_init__(self) -> None:
        if self.place_weight and not self.tag_anchor:
            raise ValueError(
                f"a place_weight of {self.place_weight} needs the tag_anchor of the network's head, not 0"
            )

    def __call__(
        self,
        outputs: list[HeadOutput],
        keypoints: Float[Tensor, "B N K 3"],
        mask: Bool[Tensor, "B H W"],
    ) -> dict[str, Tensor]:
        """Compute the weighted losses "heatmap", "pull" and "push", each the mean over the batch, summed over outputs.

        With a `place_weight` there is "place" too.

        Args:
            outputs: of the network, any resolutions.
            keypoints: x, y in pixels of the network's input, and visibility; rows of zeros fill the
                batch up.
            mask: of the input's size, False where the heatmaps are left free (crowds, people
                without keypoints).
        """
        zero = torch.zeros((), device=mask.device)
        losses = {"heatmap": zero, "pull": zero, "push": zero} | (
            {"place": zero} if self.place_weight else {}
        )
        for output in outputs:
            points = self._to_map(keypoints, mask.shape[1:], output.heatmaps.shape[2:])
            losses["heatmap"] = losses["heatmap"] + self.heatmap_weight * self._heatmap(
                output, points, mask
            )
            if output.tags is not None:
                for name, loss in self._tags(output.tags, points).items():
                    losses[name] = losses[name] + loss
        return losses

    def _to_map(self, keypoints: Tensor, input_size: torch.Size, map_size: torch.Size) -> Tensor:
        shift = 0.5 if self.centres == targets.EXACT else 0.0
        x = (keypoints[..., 0] + shift) * (map_size[1] / input_size[1])
        y = (keypoints[..., 1] + shift) * (map_size[0] / input_size[0])
        return torch.stack([x, y, keypoints[..., 2]], dim=-1)

    def _heatmap(self, output: HeadOutput, points: Tensor, mask: Tensor) -> Tensor:
        height, width = output.heatmaps.shape[2:]
        sigma = targets.adaptive_sigma(points, sigma=self.sigma) if self.scale_aware else self.sigma
        target = targets.render_heatmaps(
            points, height, width, sigma=sigma, max_sigma=self.sigma, centres=self.centres
        )
        free = F.interpolate(mask[:, None].float(), (height, width), mode="area") > 0.5
        if self.ignore_undefined:
            free = free & ~(targets.undefined_joints(points, height, width) & (target == 0))
        weight = free * (1 + self.foreground * target)
        if self.heatmaps == "focal":
            return focal_loss(output.heatmaps, target, weight) / (points[..., 2] > 0).sum().clamp(
                min=1
            )
        return heatmap_loss(output.heatmaps, target, weight).mean()

    def _tags(self, tags: Tensor, points: Tensor) -> dict[str, Tensor]:
        indices, present = targets.locate_joints(points, *tags.shape[3:])
        vectors = read_tags(tags, indices)
        pull, push = pull_push(vectors, present)
        losses = {"pull": self.pull_weight * pull.mean(), "push": self.push_weight * push.mean()}
        if self.place_weight:
            losses["place"] = self.place_weight * place_loss(
                vectors, points, present, self.tag_anchor
            )
        return losses


def _precise(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _safe_sqrt(squares: Tensor) -> Tensor:
    """Square root whose gradient is 0 at 0, where the true one is infinite."""
    positive = squares > 0
    return torch.where(positive, squares, 1).sqrt() * positive
