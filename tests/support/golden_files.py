"""Golden numbers as one assertion."""

from pathlib import Path

from golden.families import FAMILIES, run


def assert_equal(golden: Path, family: str) -> None:
    """All cases of a family of golden numbers are as `bottomup` computes them.

    Args:
        golden: the folder with a folder for every family.
        family: the name of one.
    """
    report = run(family, FAMILIES[family](golden / family))
    assert not report.failures, "\n".join(report.failures)
