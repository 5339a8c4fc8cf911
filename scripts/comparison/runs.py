"""Runs of methods on datasets: run once, kept until something changes."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bottomup.evaluation.keypoints import Matches, match_results
from bottomup.files import read_json
from comparison.datasets import Dataset, write_json
from comparison.methods import Method
from comparison.report import Problem
from comparison.timing import UNAVAILABLE, Timing, TimingError, read_timing

SECONDS_PER_LINE = 30.0  # of progress
KEY = "key.json"  # what a finished run depends on; written last
MATCHING = threading.Lock()  # pycocotools prints; it can be silenced in one thread at a time only


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a method on a dataset.

    Attributes:
        status: "done", "unavailable" or "failed".
        reason: why it is not done, in one line; empty if it is.
        entries: its COCO results.
        matches: the results matched to the people.
        timing: its cost.
        seconds: how long the run took; 0 if its results were there already.
    """

    status: str
    reason: str = ""
    entries: tuple[Any, ...] = ()
    matches: Matches | None = None
    timing: Timing | None = None
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a run may use.

    Attributes:
        threads: that the method may use.
        timeout: seconds until it is stopped.
        stop: once set, the method is stopped.
    """

    threads: int = 1
    timeout: float = 3600.0
    stop: threading.Event = dataclasses.field(default_factory=threading.Event)


class Runner:
    """Runs methods on datasets; collects what went wrong, and how long each part took.

    Args:
        folder: of the results of all runs.
        limits: of each run.
        jobs: methods that run at once where no time is measured.
        again: names of methods that run although their results are there.
        say: gets lines of progress; by default they go to stderr.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        *,
        jobs: int = 1,
        again: frozenset[str] = frozenset(),
        say: Callable[[str], None] | None = None,
    ):
        self.folder, self.limits, self.jobs, self.again = folder, limits, jobs, again
        self.say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self.problems: list[Problem] = []
        self.seconds: dict[str, float] = {}

    def run_all(
        self,
        dataset: Dataset,
        methods: Sequence[Method],
        part: str,
        *,
        is_timed: bool = False,
        extra: Sequence[str] = (),
    ) -> dict[str, Outcome]:
        """Run methods on a dataset.

        Args:
            dataset: the images.
            methods: to run.
            part: of the comparison: the name of the folder.
            is_timed: whether the time is measured, so that one method runs at a time.
            extra: further words of each command.

        Returns:
            the outcomes by name, in the order of the methods.
        """
        with self.clock(part), ThreadPoolExecutor(1 if is_timed else self.jobs) as pool:
            try:  # an interruption may come before the last method is submitted
                futures = {
                    method.name: pool.submit(self._run, method, dataset, part, extra)
                    for method in methods
                }
                outcomes = {name: future.result() for name, future in futures.items()}
            except BaseException:
                self.limits.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self.problems += [
            Problem(part, name, outcome.status, outcome.reason)
            for name, outcome in outcomes.items()
            if outcome.status != "done"
        ]
        return outcomes

    @contextlib.contextmanager
    def clock(self, part: str) -> Iterator[None]:
        """Add the time of a block to the seconds of a part."""
        start = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - start

    def _run(self, method: Method, dataset: Dataset, part: str, extra: Sequence[str]) -> Outcome:
        def say(line: str) -> None:
            self.say(f"{part}, {method.name}: {line}")

        folder, again = self.folder / part / method.name, method.name in self.again
        outcome = run(method, dataset, folder, self.limits, extra=extra, again=again, say=say)
        was_there = outcome.status == "done" and not outcome.seconds
        duration = "was there" if was_there else f"{outcome.seconds:.1f} s"
        say(f"{outcome.status}, {duration} {outcome.reason}".strip())
        return outcome


def run(
    method: Method,
    dataset: Dataset,
    folder: Path,
    limits: Limits | None = None,
    *,
    extra: Sequence[str] = (),
    again: bool = False,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Run a method on a dataset, or take the results of an earlier run of the same on the same.

    Args:
        method: what to run.
        dataset: on what.
        folder: of its results.json, timing.json and log.txt.
        limits: of the run.
        extra: further words of the command; files among them are inputs.
        again: run even if nothing has changed.
        say: gets lines of progress.

    Raises:
        KeyboardInterrupt: `limits.stop` was set.
    """
    limits = limits or Limits()
    try:
        command = method.words()
    except LookupError as error:
        return Outcome("unavailable", str(error))
    key = {
        "command": [*method.command, *extra],
        "threads": limits.threads,
        "inputs": _fingerprint(command, extra, dataset),
    }
    if not again and (folder / KEY).is_file() and read_json(folder / KEY, "key") == key:
        return _read(folder, dataset)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outcome = _start([*command, *extra], dataset, folder, limits, say)
    if outcome.status != "done":
        return outcome
    read = _read(folder, dataset)
    if read.status == "done":
        write_json(folder / KEY, key)
    return dataclasses.replace(read, seconds=outcome.seconds)


def _fingerprint(command: Sequence[str], extra: Sequence[str], dataset: Dataset) -> str:
    """A hash of the dataset and of every file that the command names: scripts, weights, boxes."""
    digest = hashlib.sha256(dataset.fingerprint().encode())
    for word in [*command[1:], *extra]:
        path = Path(word.partition("=")[2] if word.startswith("--") and "=" in word else word)
        with contextlib.suppress(OSError, ValueError):  # most words are not files
            if path.is_file():
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _start(
    command: Sequence[str],
    dataset: Dataset,
    folder: Path,
    limits: Limits,
    say: Callable[[str], None],
) -> Outcome:
    """Run a command to its end; the outcome has no results yet."""
    words = [*command, "--images", str(dataset.images), "--annotations", str(dataset.annotations)]
    words += ["--results", str(folder / "results.json"), "--timing", str(folder / "timing.json")]
    words += ["--threads", str(limits.threads)]
    log = folder / "log.txt"
    start = time.monotonic()
    try:
        with open(log, "wb") as file:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
            code = _wait(process, log, limits, say)
    except OSError as error:
        return Outcome("unavailable", f"{words[0]!r} cannot be started: {error.strerror}")
    status, reason = _verdict(code, log, limits)
    return Outcome(status, reason, seconds=time.monotonic() - start)


def _verdict(code: int | None, log: Path, limits: Limits) -> tuple[str, str]:
    """Status and reason from an exit code; None: the time was over."""
    if code is None:
        return "failed", f"stopped after {limits.timeout:.0f} s: allow more with --timeout"
    if code == UNAVAILABLE:
        return "unavailable", _last_line(log) or "it gives no reason"
    if code != 0:
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return "failed", f"{ended}: {_last_line(log)}"
    return "done", ""


def _wait(
    process: subprocess.Popen[bytes], log: Path, limits: Limits, say: Callable[[str], None]
) -> int | None:
    """The exit code; None if the time was over. In any case the method does not run on."""
    start = said = time.monotonic()
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.1)
            now = time.monotonic()
            if limits.stop.is_set():
                raise KeyboardInterrupt
            if now - start > limits.timeout:
                return None
            if now - said > SECONDS_PER_LINE:
                said = now
                say(f"{now - start:.0f} s: {_last_line(log)}")
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-4000:].decode("utf-8", "replace").replace("\r", "\n").splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _read(folder: Path, dataset: Dataset) -> Outcome:
    """The outcome of a run whose files are there."""
    try:
        timing = read_timing(folder / "timing.json")
        with MATCHING:
            matches = match_results(folder / "results.json", dataset.annotations)
        entries = read_json(folder / "results.json", "results")
    except TimingError as error:
        return Outcome("failed", str(error))
    except (ValueError, TypeError, KeyError) as error:
        return Outcome("failed", f"wrong results: {error}")
    return Outcome("done", "", tuple(entries), matches, timing)
