import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bottomup import threads
from bottomup.cli import main
from bottomup.threads import default_threads, num_cpus, torch_threads


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 64 CPUs, the cgroup of the process, and files of limits."""

    def make(own: str, limits: dict[str, str], *, cpus: int = 64) -> int:
        (tmp_path / "own").write_text(own)
        for name, content in limits.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        monkeypatch.setattr(threads, "OWN_CGROUPS", tmp_path / "own")
        monkeypatch.setattr(threads, "CGROUPS", tmp_path / "cgroup")
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)), raising=False)
        num_cpus.cache_clear()
        return num_cpus()

    yield make
    monkeypatch.undo()
    num_cpus.cache_clear()


V1 = "4:memory:/job\n3:cpu,cpuacct:/job/step\n"


@pytest.mark.parametrize(
    ("own", "limits", "number"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000"}, 1),
        ("0::/\n", {"cpu.max": "nonsense"}, 64),
        ("0::/\n", {}, 64),
        # the tightest of all groups around the process
        ("0::/a/b/c\n", {"a/b/c/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "max 100000"}, 4),
        ("0::/a\n", {"other/cpu.max": "100000 100000"}, 64),
        # a container that sees the name on the host, but its own group as the root
        ("0::/docker/1234\n", {"cpu.max": "500000 100000"}, 5),
        ("0::/../../elsewhere\n", {"cpu.max": "500000 100000"}, 5),
        (V1, {"cpu/job/step/cpu.cfs_quota_us": "-1", "cpu/job/step/cpu.cfs_period_us": "1000"}, 64),
        (V1, {"cpu/job/cpu.cfs_quota_us": "6000", "cpu/job/cpu.cfs_period_us": "1000"}, 6),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "7000", "cpu,cpuacct/cpu.cfs_period_us": "1000"}, 7),
        (V1 + "0::/\n", {"unified/cpu.max": "100000 50000"}, 2),
    ],
)
def test_limits_of_cgroups(machine, own, limits, number):
    assert machine(own, limits) == number


def test_affinity(machine):
    assert machine("0::/\n", {"cpu.max": "900000 100000"}, cpus=3) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_affinity_of_this_process():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from bottomup.threads import *; print(num_cpus(), default_threads())"
    assert run(code) == "1 1"


def test_the_default_is_no_more_than_torch_would_take(machine, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine("0::/\n", {"cpu.max": "200000 100000"})
    with torch_threads(3):
        assert default_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert default_threads() == 3
    with torch_threads(1):
        assert default_threads() == 1


def test_threads_of_torch_are_as_before_afterwards():
    before = torch.get_num_threads()
    with torch_threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before


def run(code: str, **variables: str) -> str:
    """What a new process prints, without what is set here about threads."""
    names = (*threads.WAIT_VARIABLES, "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1])} | variables
    words = [sys.executable, "-c", code]
    return subprocess.check_output(words, env=environment, text=True).strip()


POLICY = "import os; print(os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("code", "variables", "policy"),
    [
        ("from bottomup.cli import main; main(['configs']);", {}, "PASSIVE"),
        (
            "from bottomup.cli import main; main(['configs']);",
            {"OMP_WAIT_POLICY": "ACTIVE"},
            "ACTIVE",
        ),
        ("from bottomup.cli import main; main(['configs']);", {"GOMP_SPINCOUNT": "5"}, "None"),
        ("from bottomup.cli import main; main(['configs']);", {"KMP_BLOCKTIME": "5"}, "None"),
        ("import torch; from bottomup.cli import main; main(['configs']);", {}, "None"),
        ("import bottomup.cli, bottomup.inference.predictor;", {}, "None"),
    ],
)
def test_only_the_command_line_lets_waiting_threads_sleep(code, variables, policy):
    assert run(f"{code} {POLICY}", **variables).splitlines()[-1] == policy


def test_the_policy_is_set_before_torch_is_imported():
    code = (
        "import sys; from bottomup.cli import main; assert 'torch' not in sys.modules;"
        "main(['predict', '--help']); assert 'torch' not in sys.modules;" + POLICY
    )
    assert run(code).splitlines()[-1] == "PASSIVE"


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5", "100000"])
def test_a_wrong_number_of_threads_is_wrong_usage(tmp_path, capsys, number):
    assert main(["predict", "--out", str(tmp_path / "out"), "--threads", number]) == 2
    assert number in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
