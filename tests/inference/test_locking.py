import os
import signal
import subprocess
import sys

import pytest

from bottomup.inference.locking import locked

HOLD = """
import sys, time
from bottomup.inference.locking import locked
with locked(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_told_the_process_of_the_first(tmp_path):
    with locked(tmp_path), pytest.raises(ValueError, match=f"process {os.getpid()} on "):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_the_lock_of_a_process_that_was_killed_is_stale(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=f"process {process.pid} on "):
            locked(tmp_path).__enter__()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(tmp_path):
        pass


def test_a_lock_file_of_any_content_is_replaced(tmp_path):
    (tmp_path / ".lock").write_bytes(b"\xff" * 1000)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")
