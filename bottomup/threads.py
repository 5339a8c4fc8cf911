"""How many threads compute, and what they do while they wait."""

import contextlib
import functools
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
# what a user may have set already: the standard variable, those of GNU's runtime and of LLVM's
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@functools.cache
def num_cpus() -> int:
    """The number of CPUs that this process may use: by its affinity and by limits of cgroups.

    A limit of 1.5 CPUs counts as 2.
    """
    try:
        number = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        number = os.cpu_count() or 1
    return max(1, min([number, *map(math.ceil, _cgroup_limits())]))


def default_threads() -> int:
    """The threads that torch should compute with: no more than it would, and than there are CPUs.

    What the user has set by OMP_NUM_THREADS stays.
    """
    import torch

    number = torch.get_num_threads()
    return number if "OMP_NUM_THREADS" in os.environ else min(number, num_cpus())


@contextlib.contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch compute with this many threads, and afterwards with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sleep_while_waiting() -> None:
    """Let the threads of OpenMP soon sleep while they wait for each other; by default they spin.

    On a machine that does other work, a spinning thread takes the CPU from the thread that it waits
    for. But a thread that sleeps at once wakes up late, which costs a fifth on an idle machine. So
    it spins for some microseconds (GNU's runtime), which is about the time between two layers. The
    runtime reads this from the environment when it is loaded, so call it before torch is
    imported. What the user has set stays.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "5000"}


def _cgroup_limits() -> Iterator[float]:
    """Limits in CPUs of the control groups of this process and of all groups around them.

    A container often sees its own group as the root, so folders that do not exist are passed over.
    """
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            roots, names = [CGROUPS, CGROUPS / "unified"], ["cpu.max"]
        elif "cpu" in controllers.split(","):
            roots = [CGROUPS / "cpu", CGROUPS / controllers]
            names = ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        inner = Path(*(part for part in path.split("/") if part not in ("", "..")))
        for root in roots:
            for folder in (inner, *inner.parents):
                # no such folder, no limit ("max" or -1), or a kernel that is not as we know it
                with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                    words = " ".join((root / folder / name).read_text() for name in names).split()
                    if (quota := int(words[0])) > 0:
                        yield quota / int(words[1])
