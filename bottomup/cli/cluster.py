"""What `bottomup predict --cluster ray` does: the same run on many machines."""

import argparse
import contextlib
import copy
import functools
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bottomup.cli import exit_codes
from bottomup.cli.interruption import Interruption
from bottomup.cli.native_messages import native_messages_off
from bottomup.cli.prediction import (
    Overlays,
    check_annotations,
    predictor_of,
    something_to_read,
)
from bottomup.cli.progress import progress
from bottomup.cli.report import Tally, nothing_to_do, summarise
from bottomup.cli.settings import engine_of, settings_of
from bottomup.data.image_ids import Annotated, read_annotated
from bottomup.distributed import cluster
from bottomup.distributed.blocks import (
    Progress,
    block_name,
    clear,
    end_name,
    gather,
    is_run,
    read_progress,
    to_parquet,
    written,
)
from bottomup.distributed.places import Place
from bottomup.distributed.work import CHUNK, Item, Listing, Report, Total, added
from bottomup.images import SAMPLES
from bottomup.images.frames import Frame, read
from bottomup.images.isolation import read_isolated
from bottomup.images.remote import is_url
from bottomup.inference.journal import JOURNAL, End, Record, encode
from bottomup.inference.lists import Summary, are_newer, collect
from bottomup.inference.locking import locked
from bottomup.inference.predictor import Predictor
from bottomup.inference.run_folder import holds_overlays
from bottomup.inference.shards import difference
from bottomup.inference.tables import require_pyarrow

LOST = "each process that had it has ended, perhaps for lack of memory"


def predict(arguments: argparse.Namespace) -> int:
    """Predict as the arguments say; returns the exit code.

    Raises:
        ValueError: an argument does not fit; nothing has been written then.
        OSError: the cluster cannot be reached, or the output cannot be written.
    """
    place = _place(arguments)
    annotated = read_annotated(arguments.annotations) if arguments.annotations else None
    listing = _listing(arguments, place)
    something_to_read(listing.frames())
    if annotated:
        check_annotations(annotated, arguments.annotations, (f.name for f in listing.frames()))
    with contextlib.ExitStack() as stack:
        on_driver = _with(arguments, device="cpu", isolate=False)
        predictor = predictor_of(on_driver, stack)
        # what the variables of this machine say holds for the workers
        arguments = _with(arguments, backend=predictor.backend, precision=predictor.precision)
        settings = settings_of(arguments, predictor) | {"cluster": "ray"}
        if place.path is not None:
            place.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(place.path))
        run = _Run(arguments, place, listing, _progress(arguments, place, settings))
        try:
            is_new = run.work(predictor, settings)
            if not is_new and _has_lists(place, parquet=arguments.parquet):
                return nothing_to_do(run.tally, run.before.num_failed, place.root)
            summary = _collect(place, annotated, parquet=arguments.parquet)
        except KeyboardInterrupt as stop:
            print("interrupted; the same command goes on where it was")
            return exit_codes.after(*stop.args or (2,))
        except BrokenPipeError:  # the reader of the output has closed it
            raise
        except OSError as error:
            raise OSError(f"{error}; once that is mended, the same command goes on") from error
    return summarise(run.tally, summary, place.root, signal_number=run.signal_number)


class _Run:
    """From a source to blocks.

    Args:
        arguments: of the command line.
        place: of the results.
        listing: of the source.
        before: what was done before.

    Attributes:
        tally: how far it has come.
        signal_number: of the signal that has stopped it; 0 if none has.
    """

    def __init__(
        self, arguments: argparse.Namespace, place: Place, listing: Listing, before: Progress
    ) -> None:
        self.tally, self.before, self.signal_number = Tally(), before, 0
        self._arguments, self._place, self._listing = arguments, place, listing
        self._number = before.number + 1

    def work(self, predictor: Predictor, settings: Mapping[str, Any]) -> bool:
        """Do the images that were not done before; whether there was anything to do.

        Raises:
            OSError: the cluster cannot be reached, or the output cannot be written.
            KeyboardInterrupt: a signal came before there was anything to do.
        """
        first = next(self._listing.items(self.before.done))
        if isinstance(first, Total):
            self.tally.num_listed, self.tally.num_kept = first.num_listed, first.num_kept
            if not self.before.is_finished:
                self._place.write(end_name(self.before.number), encode(End(first.num_listed)))
            return not self.before.is_finished
        with (
            native_messages_off(),
            cluster.connected(self._arguments.ray_address) as machines,
            Interruption() as interruption,
        ):
            try:
                with interruption.at_once():
                    self._do_all(predictor, settings, machines)
            except KeyboardInterrupt:
                self.signal_number = interruption.came
        if self.signal_number and not is_run(self._place):
            raise KeyboardInterrupt(self.signal_number)
        if not self.signal_number:
            self._place.write(end_name(self._number), encode(End(self.tally.num_listed)))
        return True

    def _do_all(
        self,
        predictor: Predictor,
        settings: Mapping[str, Any],
        machines: Sequence[Mapping[str, float]],
    ) -> None:
        """All images, then the lost ones one by one; those that nothing helps have failed."""
        device = self._arguments.device
        has_gpu = any(has.get("GPU", 0) >= 1 for has in machines)
        is_on_gpu = device == "cuda" or (device == "auto" and has_gpu)
        resources = {"num_cpus": self._arguments.threads or 1, "num_gpus": 1 if is_on_gpu else 0}
        cluster.require_room(machines, resources)
        on_worker = _with(
            self._arguments,
            weights=predictor.net,
            isolate=False,
            device="cuda" if is_on_gpu else "cpu",
        )
        worker = {
            "make_predictor": functools.partial(_on_worker, on_worker),
            "out": self._place.root,
            "number": self._number,
            "settings": dict(settings),
            "drawing": _drawing(self._arguments),
        }
        done, chunk_size = self.before.done, CHUNK
        while True:
            reports = cluster.run_pass(
                self._listing,
                done,
                worker,
                _reader(self._arguments),
                chunk_size=chunk_size,
                num_workers=self._arguments.workers,
                resources=resources,
            )
            num_before = self.tally.num_done
            is_complete = self._follow(reports)
            if is_complete or (chunk_size == 1 and self.tally.num_done == num_before):
                break
            # what a dead machine had is done again; what nothing can be done about is left then
            since = self._number if self._arguments.retry_failed else 0
            done, chunk_size = read_progress(self._place, failed_since=since).done, 1
        if not is_complete:
            items = self._listing.items(done)
            self._record_lost(item for item in items if isinstance(item, Item))

    def _follow(self, reports: Iterator[Report | Total]) -> bool:
        """Show how far a pass has come; whether it has done all images.

        Raises:
            OSError: the results cannot be written, or no worker lives long enough.
        """
        total, checksum, num_done = None, 0, 0
        with contextlib.closing(reports), progress() as show:  # type: ignore[type-var]
            for report in reports:
                if isinstance(report, Total):
                    total = report
                    if not self.tally.num_listed:
                        self.tally.num_listed, self.tally.num_kept = (
                            report.num_listed,
                            report.num_kept,
                        )
                    continue
                if report.problem is not None:
                    raise OSError(report.problem)
                checksum, num_done = added(checksum, report.checksum), num_done + report.num_images
                self.tally.num_done += report.num_images
                self.tally.num_people += report.num_people
                done = self.tally.num_kept + self.tally.num_done
                of = f"{done} of {total.num_listed}" if total else f"{done} images"
                show(done, total.num_listed if total else None, f"{of}, {self.tally}")
        num_wanted = None if total is None else total.num_listed - total.num_kept
        if not self.tally.num_done and (num_wanted is None or num_wanted > CHUNK):
            raise OSError(f"no image was done: {LOST}")
        return total is not None and checksum == total.checksum

    def _record_lost(self, items: Iterator[Item]) -> None:
        while chunk := list(itertools.islice(items, CHUNK)):
            records = [Record(item.frame.name, *item.stamp, error=LOST) for item in chunk]
            self._place.write(block_name(self._number, records), to_parquet(records))
            self.tally.num_done += len(records)


def _place(arguments: argparse.Namespace) -> Place:
    """Where the results go.

    Raises:
        ValueError: the arguments do not fit a cluster, or there is another run.
    """
    cluster.require_ray()
    if arguments.parquet:
        require_pyarrow()
    arguments.sources = arguments.sources or [str(SAMPLES)]
    if "-" in arguments.sources:
        raise ValueError("--cluster cannot read -: write the paths to a file, such as list.txt")
    if arguments.device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"--device {arguments.device}: a cluster takes auto, cpu or cuda")
    for path in (*arguments.sources, arguments.out):
        if path.startswith("memory://"):
            raise ValueError(f"{path!r} is in the memory of this process: other machines lack it")
    place = Place(arguments.out if is_url(arguments.out) else os.path.abspath(arguments.out))
    if place.path is not None and place.path.exists() and not place.path.is_dir():
        raise ValueError(f"--out {place.root!r} is a file: name a folder")
    if place.path is not None and (place.path / JOURNAL).exists() and not is_run(place):
        raise ValueError(
            f"--out {place.root!r} holds a run of one machine: choose another folder, "
            "or go on without --cluster"
        )
    return place


def _progress(arguments: argparse.Namespace, place: Place, settings: Mapping[str, Any]) -> Progress:
    """What was done before, and is to be kept.

    Raises:
        ValueError: the folder holds a run with other settings.
    """
    if arguments.overwrite:
        clear(place)
    before = read_progress(place, failed_since=sys.maxsize if arguments.retry_failed else 0)
    if before.session is not None:
        problem = difference(before.session.settings, settings)
        if problem is not None:
            raise ValueError(
                f"--out {place.root!r} holds a run with {problem}: "
                "choose another folder, or start anew with --overwrite"
            )
    return before


def _listing(arguments: argparse.Namespace, place: Place) -> Listing:
    exclude = holds_overlays if place.path is None else Overlays(place.path)
    return Listing(arguments.sources, os.getcwd(), place.root, exclude, arguments.shard)


def _reader(arguments: argparse.Namespace) -> functools.partial[Frame]:
    max_pixels = round(arguments.pixel_limit * 1e6)
    reader = functools.partial(read, exif=not arguments.no_exif, max_pixels=max_pixels)
    return functools.partial(read_isolated, read=reader) if arguments.isolate else reader


def _drawing(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "overlays": not arguments.no_overlays,
        "score_threshold": arguments.score_threshold,
        "keypoint_threshold": arguments.keypoint_threshold,
    }


def _on_worker(arguments: argparse.Namespace) -> tuple[Predictor, str]:
    predictor = predictor_of(arguments, contextlib.ExitStack())
    return predictor, engine_of(predictor)


def _with(arguments: argparse.Namespace, **values: Any) -> argparse.Namespace:
    changed = copy.copy(arguments)
    vars(changed).update(values)
    return changed


def _has_lists(place: Place, *, parquet: bool) -> bool:
    path = place.path
    return path is not None and are_newer(path, path / JOURNAL, parquet=parquet)


def _collect(place: Place, annotated: Annotated | None, *, parquet: bool) -> Summary:
    with written(place) as folder:
        gather(place, folder / JOURNAL)
        return collect([Path(folder)], folder, annotated, parquet=parquet)
