"""Where the golden numbers are: small copies in tests/golden, the full set in ../shared where a checkout has one."""

from pathlib import Path

HERE = Path(__file__).parents[1] / "golden"
FULL = Path(__file__).parents[3] / "shared" / "conformance"


def files(pattern: str) -> list[Path]:
    """All golden files of a pattern such as "loss/case_*.npz"."""
    return sorted(HERE.glob(pattern)) + sorted(FULL.glob(pattern))


def name(path: Path) -> str:
    """A readable id for a parametrised test."""
    return ("full-" if path.is_relative_to(FULL) else "") + path.stem
