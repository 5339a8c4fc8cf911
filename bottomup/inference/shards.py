"""Parts of a run that are made apart: what belongs to one, and whether several belong together."""

import collections
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bottomup.images.frames import Frame
from bottomup.inference.journal import JOURNAL, State, read_state

MAX_LISTED = 20  # names in a message


def belongs_to(frame: Frame, shard: tuple[int, int] | None) -> bool:
    """Whether an image belongs to a shard: i of n, from 1; the same on every machine.

    What cannot be listed, as a folder that cannot be opened, belongs to all, as do its images.
    """
    if shard is None or frame.error is not None:
        return True
    number = hashlib.blake2b(frame.name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(number) % shard[1] == shard[0] - 1


def difference(
    settings: Mapping[str, Any], others: Mapping[str, Any], *, but: Iterable[str] = ()
) -> str | None:
    """The first setting in which two runs differ, as "NAME X, not Y"; None if there is none.

    Args:
        settings: of one run.
        others: of another.
        but: names that may differ.
    """
    for name in (*others, *settings):
        before, now = settings.get(name), others.get(name)
        if before != now and name not in but:
            return f"{name} {json.dumps(before)}, not {json.dumps(now)}"
    return None


def read_parts(folders: Iterable[Path]) -> dict[str, State]:
    """The state of each of several folders that hold parts of one run, by the path of the folder.

    Raises:
        ValueError: a folder holds no run, or one with other settings than the first.
        OSError: a journal cannot be read.
    """
    parts: dict[str, State] = {}
    for folder in folders:
        if not (folder / JOURNAL).is_file():
            raise ValueError(f"{str(folder)!r} holds no run: there is no {JOURNAL} in it")
        parts[str(folder)] = state = read_state(folder / JOURNAL)
        one, first = next(iter(parts.items()))
        problem = difference(_settings(state), _settings(first), but=["shard"])
        if problem is None and _num_shards(first) != _num_shards(state):
            problem = f"{_num_shards(state)} shards, not {_num_shards(first)}"
        if problem is not None:
            raise ValueError(
                f"{str(folder)!r} holds a run with {problem} as in {one!r}: collect them apart"
            )
    return parts


def problems_of(parts: Mapping[str, State]) -> list[str]:
    """What is missing of the run, or there twice; a sentence each."""
    problems = []
    if unfinished := [folder for folder, state in parts.items() if not state.is_finished]:
        problems.append(f"not finished: {first_names(unfinished)}")
    shards = collections.Counter(shard[0] for state in parts.values() if (shard := _shard(state)))
    num_shards = _num_shards(next(iter(parts.values())))
    if missing := [f"{i}/{num_shards}" for i in range(1, num_shards + 1) if i not in shards]:
        problems.append(f"missing shards: {first_names(missing)}")
    if double := [f"{i}/{num_shards}" for i, number in shards.items() if number > 1]:
        problems.append(f"shards that are there twice: {first_names(double)}")
    return problems


def engines_of(parts: Mapping[str, State]) -> dict[str, list[str]]:
    """What the network ran on, with the folders of each."""
    engines: dict[str, list[str]] = {}
    for folder, state in parts.items():
        for engine in sorted(state.engines):
            engines.setdefault(engine, []).append(folder)
    return engines


def _settings(state: State) -> Mapping[str, Any]:
    return {} if state.session is None else state.session.settings


def _shard(state: State) -> tuple[int, int] | None:
    """The part and the number of parts."""
    match _settings(state).get("shard"):
        case [int(part), int(number)]:
            return part, number
    return None


def _num_shards(state: State) -> int:
    shard = _shard(state)
    return 0 if shard is None else shard[1]


def first_names(names: Sequence[str]) -> str:
    """The first of some names, in one line."""
    more = f" and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
