"""Our goals for the speed of prediction: ratios of two things measured in one run."""

from collections.abc import Mapping

import torch

from bottomup.engines.devices import has_bfloat16

KINDS = ("AMX", "AVX512-BF16 without AMX", "neither")  # of processors
TO_TORCH = ": to torch in float32"
# what is measured, how its figure begins and ends (the smallest counts), at most, by KINDS
GOALS: tuple[tuple[str, str, str, tuple[float | None, float | None, float | None]], ...] = (
    ("bundled network and voting, 1 thread", "network, mobile", TO_TORCH, (0.45, 0.65, 0.85)),
    ("HigherHRNet-W32, 2 threads", "network, higherhrnet", TO_TORCH, (0.32, None, 0.85)),
    ("predict of 100 photos, whole command", "end-to-end, chosen", TO_TORCH, (0.5, 0.7, 0.9)),
    (
        "whole command of 500 photos / network and voting alone",
        "end-to-end, default: whole to network",
        "",
        (1.25, 1.25, 1.25),
    ),
    ("grouping 20 people", "decode, 20 people, from outputs", "", (0.55, 0.55, 0.55)),
    ("first result beyond import torch, s", "start, first result", "", (0.8, 0.8, 0.8)),
    ("--help / import torch", "start, --help", "", (0.2, 0.2, 0.2)),
)


def report(figures: Mapping[str, float]) -> None:
    """Print each goal for this processor, and what was seen."""
    amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
    kind = 0 if amx else 1 if has_bfloat16("cpu") else 2
    print(f"\ngoals for processors with {KINDS[kind]}, {'at most':>20}  seen")
    for what, begin, end, limits in GOALS:
        seen = [v for name, v in figures.items() if name.startswith(begin) and name.endswith(end)]
        limit = limits[kind]
        verdict = "" if limit is None else "reached" if min(seen) <= limit else "MISSED"
        print(f"{what:56} {limit or '':>6} {min(seen):6.2f}  {verdict}")
