"""Associative embedding, in reading order.

1. `targets`: from annotated people to the maps that the network should predict.
2. `losses`: from outputs and targets to losses; `voting_losses` for `CenterVotingHead`.
3. `aggregation`: combines the maps of several resolutions, several scales and a mirrored image.
4. `peaks`: from maps to candidates for joints, and to positions finer than a cell.
5. `matching`: from candidates to people, with numpy and scipy only.
6. `grouping`: from maps to `Poses`, with `peaks` and `matching`.
"""

from bottomup.lazy import offer

__getattr__ = offer(
    __name__,
    {
        "Criterion": "losses",
        "Grouper": "grouping",
        "OFFICIAL": "matching",
        "ROBUST": "matching",
        "Rules": "matching",
        "VotingCriterion": "voting_losses",
    },
)
