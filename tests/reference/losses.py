"""Pull and push of one image, person by person, with autograd through Python loops."""

import torch


def pull_push(tags: torch.Tensor, people: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """tags (L, K*H*W), and for every person the flat indices of its joints -> pull, push."""
    means, pulls = [], []
    for joints in people:
        if joints:
            vectors = torch.stack([tags[:, joint] for joint in joints])
            mean = vectors.mean(0)
            means.append(mean)
            pulls.append(torch.stack([((vector - mean) ** 2).sum() for vector in vectors]).mean())
    if not means:
        return tags.sum() * 0, tags.sum() * 0
    count = len(means)
    push = tags.sum() * 0
    for i, mean in enumerate(means):
        for j, other in enumerate(means):
            if i != j:
                push = push + torch.exp(-((mean - other) ** 2).sum())
    return torch.stack(pulls).mean(), 0.5 * push / max(count * (count - 1), 1)


def loop_over_people(
    tags: torch.Tensor, people: list[list[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by a good loop: one indexing per person, all pairs of people at once."""
    groups = [tags[:, joints] for joints in people if joints]  # L joints
    if not groups:
        return tags.sum() * 0, tags.sum() * 0
    means = torch.stack([group.mean(1) for group in groups])  # N L
    pulls = [
        (group - mean[:, None]).square().sum(0).mean()
        for group, mean in zip(groups, means, strict=True)
    ]
    count = len(groups)
    close = torch.exp(-(means[:, None] - means[None]).square().sum(2)).sum() - count
    return torch.stack(pulls).mean(), 0.5 * close / max(count * (count - 1), 1)
