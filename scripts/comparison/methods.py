"""The compared methods: commands that read images and write results, run once and kept until something changes."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from bottomup.evaluation.keypoints import Matches, match_results
from comparison.datasets import Dataset, write_json
from comparison.timing import UNAVAILABLE, Timing, TimingError, read_timing

KINDS = ("bottom-up", "top-down", "other")
SECONDS_PER_LINE = 30.0  # of progress
KEY = "key.json"  # written last, when all is well
MATCHING = (
    threading.Lock()
)  # pycocotools prints, and who silences it may do so in one thread at a time only


@dataclasses.dataclass(frozen=True)
class Method:
    """A method as a command.

    Attributes:
        name: in the report and of its folder.
        command: its words; "{python}" is this interpreter, "{here}" the folder of the table,
            "$NAME" an environment variable.
        kind: "bottom-up", "top-down" or "other".
        boxes: whether `--boxes FILE` gives it people's boxes.
        ours: whether it takes part in the sweeps of drawn people.
    """

    name: str
    command: tuple[str, ...]
    kind: str = "other"
    boxes: bool = False
    ours: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a method on a dataset.

    Attributes:
        status: "done", "unavailable" or "failed".
        reason: why not, in a line; empty if done.
        entries: its COCO results.
        matches: the results matched to the people.
        timing: its cost.
        seconds: that the run took; 0 if it was there already.
    """

    status: str
    reason: str = ""
    entries: tuple[Any, ...] = ()
    matches: Matches | None = None
    timing: Timing | None = None
    seconds: float = 0.0


def read_methods(path: Path) -> dict[str, Method]:
    """Read a table of methods: YAML, a mapping from names to `command` and what else a `Method` has.

    Raises:
        ValueError: the table is wrong; the message names the entry.
        OSError: it cannot be read.
    """
    try:
        table = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(table, dict):
        raise ValueError(
            f"{path} must map names of methods to their commands, not be a {type(table).__name__}"
        )
    methods = {str(name): _method(str(name), entry, path) for name, entry in table.items()}
    here = str(path.resolve().parent)
    return {
        name: dataclasses.replace(
            method, command=tuple(word.replace("{here}", here) for word in method.command)
        )
        for name, method in methods.items()
    }


def parse_method(text: str) -> Method:
    """A method from NAME=COMMAND.

    Raises:
        ValueError: it is not of that form.
    """
    name, equals, command = text.partition("=")
    if not equals or not command.strip():
        raise ValueError(f"a method is NAME=COMMAND, not {text!r}")
    return _method(name, {"command": command}, None)


def run(
    method: Method,
    dataset: Dataset,
    folder: Path,
    *,
    extra: Sequence[str] = (),
    threads: int = 1,
    timeout: float = 3600.0,
    again: bool = False,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Run a method on a dataset, or take what an earlier run with the same command and the same inputs left.

    Args:
        method: what to run.
        dataset: on what.
        folder: of its results.json, timing.json and log.txt.
        extra: further words of the command; files among them are inputs.
        threads: that the method may use.
        timeout: seconds until it is stopped.
        again: run also if nothing has changed.
        stop: once set, the method is stopped.
        say: gets lines of progress.

    Raises:
        KeyboardInterrupt: `stop` was set.
    """
    command = [_filled(word) for word in method.command]
    unset = re.search(r"\$\{?(\w+)", " ".join(command))
    if unset:
        return Outcome(
            "unavailable",
            f"the environment variable {unset[1]} is not set, which its command names",
        )
    key = {
        "command": [*method.command, *extra],
        "threads": threads,
        "inputs": _fingerprint(command, extra, dataset),
    }
    if again or not (folder / KEY).is_file() or json.loads((folder / KEY).read_text()) != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        outcome = _start(
            [*command, *extra],
            dataset,
            folder,
            threads=threads,
            timeout=timeout,
            stop=stop,
            say=say,
        )
        if outcome.status != "done":
            return outcome
        read = _read(folder, dataset)
        if read.status == "done":
            write_json(folder / KEY, key)
        return dataclasses.replace(read, seconds=outcome.seconds)
    return _read(folder, dataset)


def _method(name: str, entry: Any, path: Path | None) -> Method:
    where = f"{path}: {name}" if path else f"method {name!r}"
    if not re.fullmatch(r"[\w.+-]{1,60}", name) or name.startswith("."):
        raise ValueError(
            f"{where}: names are made of letters, digits and . _ + -, and start with no dot"
        )
    entry = {"command": entry} if isinstance(entry, str) else entry
    known = {field.name for field in dataclasses.fields(Method)} - {"name"}
    if (
        not isinstance(entry, dict)
        or not entry.keys() <= known
        or not isinstance(entry.get("command"), str)
    ):
        raise ValueError(
            f"{where}: needs a 'command' and may have {sorted(known - {'command'})}, not {entry!r:.200}"
        )
    if entry.get("kind", "other") not in KINDS:
        raise ValueError(f"{where}: kind must be one of {KINDS}, not {entry['kind']!r}")
    try:
        words = tuple(shlex.split(entry["command"]))
    except ValueError as error:
        raise ValueError(
            f"{where}: the command {entry['command']!r} cannot be split into words: {error}"
        ) from error
    return Method(name, words, **{key: value for key, value in entry.items() if key != "command"})


def _filled(word: str) -> str:
    return os.path.expandvars(word.replace("{python}", sys.executable))


def _fingerprint(command: Sequence[str], extra: Sequence[str], dataset: Dataset) -> str:
    """A hash of the dataset and of every file that the command names: scripts, weights, boxes."""
    digest = hashlib.sha256(dataset.fingerprint().encode())
    for word in [*command[1:], *extra]:
        path = Path(word.partition("=")[2] if word.startswith("--") and "=" in word else word)
        with contextlib.suppress(OSError, ValueError):  # a word that is no file
            if path.is_file():
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _start(
    command: Sequence[str],
    dataset: Dataset,
    folder: Path,
    *,
    threads: int,
    timeout: float,
    stop: threading.Event | None,
    say: Callable[[str], None],
) -> Outcome:
    words = [*command, "--images", str(dataset.images), "--annotations", str(dataset.annotations)]
    words += ["--results", str(folder / "results.json"), "--timing", str(folder / "timing.json")]
    words += ["--threads", str(threads)]
    log = folder / "log.txt"
    start = time.monotonic()
    try:
        with open(log, "wb") as file:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
            code = _wait(process, log, timeout, stop, say)
    except OSError as error:
        return Outcome("unavailable", f"{words[0]!r} cannot be started: {error.strerror}")
    seconds = time.monotonic() - start
    if code is None:
        return Outcome(
            "failed", f"stopped after {timeout:.0f} s: allow more with --timeout", seconds=seconds
        )
    if code == UNAVAILABLE:
        return Outcome("unavailable", _last_line(log) or "it gives no reason", seconds=seconds)
    if code != 0:
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Outcome("failed", f"{ended}: {_last_line(log)}", seconds=seconds)
    return Outcome("done", seconds=seconds)


def _wait(
    process: subprocess.Popen[bytes],
    log: Path,
    timeout: float,
    stop: threading.Event | None,
    say: Callable[[str], None],
) -> int | None:
    """The exit code; None if the time was over. Whatever happens, nothing of the method runs on."""
    start = said = time.monotonic()
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.1)
            now = time.monotonic()
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            if now - start > timeout:
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
    try:
        timing = read_timing(folder / "timing.json")
        with MATCHING:
            matches = match_results(folder / "results.json", dataset.annotations)
        entries = json.loads((folder / "results.json").read_bytes())
    except TimingError as error:
        return Outcome("failed", str(error))
    except (ValueError, TypeError, KeyError) as error:
        return Outcome("failed", f"wrong results: {error}")
    return Outcome("done", "", tuple(entries), matches, timing)
