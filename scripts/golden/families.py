"""The families of golden data, and running one of them."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from golden.comparison import Case, Deviation
from golden.maps import aggregation_cases, geometry_cases
from golden.network import network_cases
from golden.people import crowd_cases, evaluation_cases, grouping_cases
from golden.training import loss_cases, target_cases

FAMILIES: dict[str, Callable[[Path], list[Case]]] = {
    "network": network_cases,
    "aggregation": aggregation_cases,
    "geometry": geometry_cases,
    "grouping": grouping_cases,
    "crowds": crowd_cases,
    "loss": loss_cases,
    "targets": target_cases,
    "evaluation": evaluation_cases,
}
"""By the name of its folder, what lists the cases of a family."""


@dataclasses.dataclass(frozen=True)
class Report:
    """How a family compares.

    Attributes:
        family: its name.
        num_cases: how many were compared.
        failures: one line for each case that fails.
        worst: the case and its deviation that is the largest share of its tolerance; None if
            nothing was compared.
        seconds: how long it took.
    """

    family: str
    num_cases: int
    failures: list[str]
    worst: tuple[str, Deviation] | None
    seconds: float

    def __str__(self) -> str:
        verdict = "FAIL" if self.failures else "PASS"
        worst = "nothing compared"
        if self.worst:
            case, deviation = self.worst
            size = f"{deviation.size:.1e} of {deviation.allowed:.1e} ({case}, {deviation.what})"
            worst = f"worst {size}" if deviation.size else "no deviation"
        line = f"{self.family:12}{verdict}{self.num_cases:5} cases {self.seconds:6.1f} s  {worst}"
        if not self.failures:
            return line
        return f"{line}; {len(self.failures)} failed, the first: {self.failures[0]}"


def run(family: str, cases: Sequence[Case]) -> Report:
    """Compare all cases; one that raises an error, or compares nothing, fails."""
    start = time.perf_counter()
    failures, compared = [], []
    for case in cases:
        deviations, reason = [], None
        try:
            for deviation in case.compare():
                deviations.append(deviation)  # those before an error count, too
        except Exception as error:  # whatever stops a case is a finding about that case
            reason = " ".join(f"{type(error).__name__}: {error}".split())  # on one line
        if not deviations and not reason:
            reason = "nothing to compare"
        wrong = next((deviation for deviation in deviations if not deviation.passes), None)
        if wrong:
            reason = f"{wrong.what}: {wrong.detail}"
        if reason:
            failures.append(f"{case.name}: {reason}")
        compared += [(case.name, deviation) for deviation in deviations]
    worst = max(compared, key=lambda pair: pair[1].share, default=None)
    if not cases:
        failures = ["no cases"]
    return Report(family, len(cases), failures, worst, time.perf_counter() - start)
