"""Associative embedding, in reading order.

1. `targets`: from annotated people to the maps that the network should predict.
2. `losses`: from outputs and targets to losses; `voting_losses` for the head whose people vote.
3. `aggregation`: maps of several resolutions, scales and of a mirrored image become one.
4. `peaks`: from maps to candidates for joints, and to positions finer than a cell.
5. `matching`: from candidates to people, with numpy and scipy alone.
6. `grouping`: from maps to `Poses`, by the two before.
"""

from bottomup.lazy import names_in

__getattr__ = names_in(
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
