"""What `bottomup predict` does: from sources to a folder of results, with a summary."""

import argparse
import collections
import contextlib
import dataclasses
import functools
import importlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2

from bottomup.cli import exit_codes
from bottomup.cli.interruption import Interruption
from bottomup.cli.native_messages import native_messages_off
from bottomup.cli.progress import progress
from bottomup.cli.report import Tally, matching, nothing_to_do, printable, summarise
from bottomup.cli.settings import engine_of, settings_of
from bottomup.data.image_ids import Annotated, ImageIds, read_annotated
from bottomup.distributed.blocks import is_run
from bottomup.distributed.places import Place
from bottomup.images import SAMPLES
from bottomup.images.frames import Frame, Stamp, map_ahead, read
from bottomup.images.isolation import IsolatedReader
from bottomup.images.remote import is_url, local_path
from bottomup.images.sources import scan
from bottomup.inference.journal import JOURNAL, End, Journal, Record, Session, State, read_state
from bottomup.inference.lists import MAX_LISTED, are_newer, collect
from bottomup.inference.locking import locked
from bottomup.inference.prediction import Prediction
from bottomup.inference.predictor import Predictor
from bottomup.inference.run_folder import OVERLAYS, Renderer, holds_overlays
from bottomup.inference.shards import belongs_to, difference, first_names
from bottomup.inference.tables import require_pyarrow


class Overlays:
    """Tells the folders of overlays, of this run and of earlier ones, and remembers them."""

    def __init__(self, out: Path) -> None:
        self._own = os.path.realpath(out / OVERLAYS)
        self._is_new = not os.path.exists(self._own)
        self._found: set[str] = set()

    def __call__(self, folder: str) -> bool:
        """Whether a folder holds overlays."""
        is_own = os.path.realpath(folder) == self._own
        if is_own and self._is_new:
            return True
        is_one = is_own or holds_overlays(folder)
        self._found |= {folder} if is_one else set()
        return is_one

    def report(self) -> None:
        """Print in one line which were found."""
        folders = [printable(folder) for folder in sorted(self._found)]
        if folders:
            print(f"left out, written by earlier runs: {first_names(folders)}")


def predict(arguments: argparse.Namespace) -> int:
    """Predict as the arguments say; returns the exit code.

    Raises:
        ValueError: an argument does not fit; nothing has been written then.
        OSError: the output cannot be written.
    """
    out = _checked_out(arguments.out)
    if arguments.parquet:
        require_pyarrow()
    arguments.out = str(out)
    arguments.sources = arguments.sources or [str(SAMPLES)]
    annotated = read_annotated(arguments.annotations) if arguments.annotations else None
    left_out = Overlays(out)
    frames = something_to_read(scan(arguments.sources, exclude=left_out))
    if annotated and "-" not in arguments.sources:
        names = (frame.name for frame in scan(arguments.sources, exclude=Overlays(out)))
        check_annotations(annotated, arguments.annotations, names)
    with contextlib.ExitStack() as stack:
        predictor = predictor_of(arguments, stack)
        settings = settings_of(arguments, predictor)
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(out))
        state = _state(arguments, out, settings)
        interruption = stack.enter_context(Interruption())
        run = _Run(arguments, state, interruption)
        session = Session(settings, engine_of(predictor), retries=arguments.retry_failed)
        try:
            is_new = run.write(frames, predictor, session)
            left_out.report()
            if not is_new and are_newer(out, out / JOURNAL, parquet=arguments.parquet):
                return nothing_to_do(run.tally, len(state.failed), out)
            summary = collect([out], out, annotated, parquet=arguments.parquet)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on where it was")
            return exit_codes.after(interruption.came)
        except BrokenPipeError:  # the reader of the output has closed it
            raise
        except OSError as error:
            raise OSError(f"{error}; once that is mended, the same command goes on") from error
    return summarise(run.tally, summary, out, signal_number=interruption.came)


def _checked_out(path: str) -> Path:
    """The folder of results.

    Raises:
        ValueError: no run of this machine can go there.
    """
    path = local_path(path)
    if is_url(path):
        raise ValueError(f"--out {path!r} is a URL: name a folder, or add --cluster ray")
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError(f"--out {path!r} is a file: name a folder")
    if is_run(Place(path)):
        remedy = "choose another folder, or go on with --cluster ray"
        raise ValueError(f"--out {path!r} holds a run on a cluster: {remedy}")
    return Path(path)


class _Run:
    """From frames to records in the journal.

    Args:
        arguments: of the command line.
        state: what was done before.
        interruption: stops the run after the images that are under way.

    Attributes:
        tally: how far it has come.
    """

    def __init__(
        self, arguments: argparse.Namespace, state: State, interruption: Interruption
    ) -> None:
        self.tally = Tally()
        self._arguments, self._state, self._interruption = arguments, state, interruption
        self._out = Path(arguments.out)
        # of each image under way: its place in the source, and its stamp
        self._under_way: collections.deque[tuple[int, Stamp]] = collections.deque()

    def write(self, frames: Iterator[Frame], predictor: Predictor, session: Session) -> bool:
        """Do the images that were not done before; whether there was anything to do.

        Raises:
            OSError: the disk is full, or the like.
            KeyboardInterrupt: a second signal came, or one before there was anything to do.
        """
        todo = self._todo(frames)
        first = next(todo, None)
        if first is None and self._interruption.came:
            raise KeyboardInterrupt(self._interruption.came)
        if first is None and self._state.is_finished:
            return False
        todo = itertools.chain([] if first is None else [first], todo)
        with (
            Journal(self._out / JOURNAL, self._state.end) as journal,
            native_messages_off(),
            progress() as show,
            contextlib.closing(predictor.stream(todo)) as predictions,
        ):
            journal.append(session)
            total = self._count()
            for record in self._records(predictions):
                journal.append(record)
                self.tally.num_done += 1
                self.tally.num_people += record.shown or 0
                done = self.tally.num_kept + self.tally.num_done
                of_total = f"{done} of {total[0]}" if total else f"{done} images"
                show(done, total[0] if total else None, f"{of_total}, {self.tally}")
            if not self._interruption.came:
                journal.append(End(self.tally.num_listed))
        return True

    def _todo(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames that are to be done, until a signal comes."""
        while True:
            try:
                with self._interruption.at_once():
                    frame = next(frames, None)
            except KeyboardInterrupt:
                frame = None
            if self._interruption.came:
                message = "stopping after the images that are under way; once more stops at once"
                print(message, file=sys.stderr)
            if frame is None or self._interruption.came:
                return
            if not belongs_to(frame, self._arguments.shard):
                continue
            # the size and the time are those of before it is read: if it changes then, they differ
            stamp = frame.stamp
            self.tally.num_listed += 1
            before = self._state.stamps.get(hash(frame.name))
            # what was done stays, also if the file is gone
            if before == hash(stamp) or (before is not None and stamp == (None, None)):
                self.tally.num_kept += 1
            else:
                self._under_way.append((self.tally.num_listed - 1, stamp))
                yield frame

    def _records(self, predictions: Iterator[Prediction]) -> Iterator[Record]:
        """The records in order; threads draw images while the network sees the next ones."""
        renderer = Renderer(
            self._out,
            overlays=not self._arguments.no_overlays,
            score_threshold=self._arguments.score_threshold,
            keypoint_threshold=self._arguments.keypoint_threshold,
        )
        numbered = ((prediction, *self._under_way.popleft()) for prediction in predictions)
        last = time.monotonic()
        for record, (size, changed) in map_ahead(
            lambda item: (renderer(item[0], item[1]), item[2]), numbered
        ):
            seconds, last = time.monotonic() - last, time.monotonic()
            yield dataclasses.replace(record, size=size, time=changed, seconds=round(seconds, 4))

    def _count(self) -> list[int]:
        """A list that gets the number of images of the source, once a thread has counted them."""
        total: list[int] = []
        if "-" not in self._arguments.sources:
            frames = scan(self._arguments.sources, exclude=Overlays(self._out))
            shard = self._arguments.shard
            threading.Thread(
                target=lambda: total.append(sum(belongs_to(frame, shard) for frame in frames)),
                daemon=True,
            ).start()
        return total


def something_to_read(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames, after it is known that there is one to read.

    Raises:
        ValueError: none of them can be read.
    """
    seen: list[Frame] = []
    for frame in frames:
        seen.append(frame)
        if frame.error is None:
            return itertools.chain(seen, frames)
    problems = [f"{printable(frame.name)}: {frame.error}" for frame in seen[:MAX_LISTED]]
    reasons = "\n  ".join(problems or ["no source is left"])
    raise ValueError(f"there is nothing to read:\n  {reasons}")


def check_annotations(annotated: Annotated, path: str, names: Iterable[str]) -> None:
    """Say which images have no annotation, before the run.

    Raises:
        ValueError: none has.
    """
    ids, num_images = ImageIds(annotated.ids), 0
    for name in names:
        ids.claim(name)
        num_images += 1
    ids.match()
    if ids.unmatched:
        told = matching(annotated, path, ids.unmatched, num_images)
        if len(ids.unmatched) == num_images:
            remedy = "predict the folder that the names of the file are relative to"
            raise ValueError(f"{told}: {remedy}")
        print(f"bottomup: {told}: the others get other ids", file=sys.stderr)


def _state(arguments: argparse.Namespace, out: Path, settings: dict[str, object]) -> State:
    """What was done before, and is to be kept.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    if arguments.overwrite:
        return State()
    state = read_state(out / JOURNAL, overlays=out)
    problem = None
    if state.session is not None:
        problem = difference(state.session.settings, settings)
    elif state.stamps:
        problem = "settings that cannot be read"
    if problem is not None:
        raise ValueError(
            f"--out {str(out)!r} holds a run with {problem}: "
            "choose another folder, or start anew with --overwrite"
        )
    if arguments.retry_failed:
        state.forget_failed()
    return state


def predictor_of(arguments: argparse.Namespace, stack: contextlib.ExitStack) -> Predictor:
    """The predictor that the arguments ask for; what it needs meanwhile is closed by the stack.

    Raises:
        ValueError: an argument does not fit.
    """
    cv2.setNumThreads(1)  # files are read and drawn in threads already
    # the matching of joints needs it, a third of a second, so it comes while the network runs
    threading.Thread(target=importlib.import_module, args=["scipy.optimize"]).start()
    exif = not arguments.no_exif
    reader = functools.partial(read, exif=exif, max_pixels=round(arguments.pixel_limit * 1e6))
    return Predictor(
        arguments.weights,
        device=arguments.device,
        mode=arguments.mode,
        size=arguments.size,
        max_megapixels=arguments.max_megapixels,
        scales=arguments.scales,
        flip=arguments.flip,
        backend=arguments.backend,
        precision=arguments.precision,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        exif=exif,
        reduce=True,
        reader=stack.enter_context(IsolatedReader(reader)) if arguments.isolate else reader,
    )
