"""Folders of runs, made without a network."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bottomup import Poses
from bottomup.inference.journal import JOURNAL, End, Entry, Journal, Record, Session, encode
from bottomup.inference.lists import Summary, collect
from bottomup.inference.predictor import Prediction
from bottomup.inference.run_folder import Renderer
from tests.support.picture_files import HALVES

SESSION = Session({"size": 64, "shard": None}, "cpu")


def people(num: int = 1) -> Poses:
    keypoints = np.random.default_rng(0).uniform(0, 40, (num, 17, 2)).astype(np.float32)
    return Poses(keypoints, np.full((num, 17), 0.5, np.float32), np.full(num, 0.5, np.float32))


def prediction(name: str, poses: Poses | None = None, image: np.ndarray = HALVES) -> Prediction:
    return Prediction(name, Path(name), image, people() if poses is None else poses)


def record(name: str, num_people: int = 1, **values: Any) -> Record:
    """Of an image of 60 x 40 pixels."""
    found = people(num_people).to_coco(0)
    return Record(name, 10, 20, 60, 40, found, num_people, **values)


def write_journal(folder: Path, entries: Iterable[Entry]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL
    path.write_bytes(b"".join(map(encode, entries)))
    return path


def write_run(folder: Path, predictions: list[Prediction], **arguments: Any) -> Summary:
    """A finished run with its lists."""
    folder.mkdir(exist_ok=True)
    renderer = Renderer(folder, **arguments)
    with Journal(folder / JOURNAL) as journal:
        journal.append(SESSION)
        for index, one in enumerate(predictions):
            journal.append(renderer(one, index))
        journal.append(End(len(predictions)))
    return collect([folder], folder)


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def rows_of(page: Path) -> list[dict[str, Any]]:
    """The entries of index.html."""
    text = page.read_text()
    start = text.index('type="application/json">') + len('type="application/json">')
    return json.loads(text[start : text.index("</script>", start)])
