"""Associative embedding, in reading order.

1. `targets`: from annotated people to the maps that the network should predict.
2. `losses`: from the network's outputs and those targets to numbers to bring down; `voting_losses`
   for the head whose people vote for the places of their joints.
3. `aggregation`: from the outputs of several resolutions, scales and a mirrored image to one stack
   of maps.
4. `peaks`: from maps to candidates for joints.
5. `grouping`: from candidates to people.
"""

from typing import Any

from bottomup.lazy import load

_FILES = {
    "Criterion": "losses",
    "Grouper": "grouping",
    "VotingCriterion": "voting_losses",
}


def __getattr__(name: str) -> Any:
    return load(__name__, name, _FILES)
