"""Compare bottomup with golden numbers of the reference implementation, family by family.

    python scripts/check_golden.py FOLDER              # network, aggregation, geometry, ...
    python scripts/check_golden.py FOLDER loss targets # only these

FOLDER holds a folder of cases for every family. Each family prints one line: its number of cases,
the deviation that is the largest share of its tolerance, and the first case that fails. Status 0
means that all families pass, 1 that one fails or is missing, 2 that the call or an index is wrong.
"""

import argparse
import sys
from pathlib import Path

from golden.families import FAMILIES, run


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Compare bottomup with golden numbers of the reference implementation."
    )
    parser.add_argument("folder", type=Path, help="holds a folder of cases for every family")
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"of {', '.join(FAMILIES)}; without: all"
    )
    arguments = parser.parse_args()
    folder, families = arguments.folder, arguments.families or list(FAMILIES)
    if unknown := set(families) - FAMILIES.keys():
        parser.error(f"no family {', '.join(sorted(unknown))}; choose from {', '.join(FAMILIES)}")
    if not any((folder / name).is_dir() for name in FAMILIES):
        parser.error(f"{str(folder)!r} is no folder with any of {', '.join(FAMILIES)}")
    try:
        cases = {
            name: FAMILIES[name](folder / name) for name in families if (folder / name).is_dir()
        }
    except ValueError as error:
        parser.error(str(error))

    passed = True
    for name in families:
        if name not in cases:
            print(f"{name:12}FAIL  {folder / name} is no folder", flush=True)
            passed = False
            continue
        report = run(name, cases[name])
        print(report, flush=True)
        passed &= not report.failures
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
