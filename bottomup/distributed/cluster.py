"""The work of a run on a cluster of Ray: listed, read and predicted as one stream of chunks.

Ray starts dead workers anew and does their chunks again. Whatever it loses all the same is found by
comparing checksums, and is done once more, one image at a time; so an image that ends every worker
costs only itself. What was done is what lies in the blocks, not what Ray says.
"""

import contextlib
import functools
import importlib.util
import logging
import os
import pickle
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bottomup.distributed.work import CHUNK, Listing, Report, Total, Worker, read_chunk
from bottomup.images.frames import Frame
from bottomup.threads import num_cpus

ATTEMPTS = 2  # of a chunk whose worker has died
LISTER, READER = 0.01, 0.5  # CPUs that listing and reading ask for; different, so Ray keeps apart


def require_ray() -> None:
    """Check that there is a Ray to run on.

    Raises:
        ValueError: its package is not installed.
    """
    missing = [name for name in ("ray", "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f'--cluster ray needs {missing[0]}: pip install "ray[data]", or "bottomup[ray]"'
        )


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[list[Mapping[str, float]]]:
    """A connection to a cluster; without an address, to one that lives on this machine meanwhile.

    Gives what each of its machines has, by name: "CPU", "GPU". Nothing is printed to the standard
    output meanwhile: Ray would tell there of every worker that dies.

    Raises:
        OSError: there is no cluster at that address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {}
    if address is None:  # it listens on this machine alone: Ray runs whatever it is sent
        own = {"num_cpus": num_cpus() + 1, "include_dashboard": False}
        own["_node_ip_address"] = "127.0.0.1"
    try:
        _require_server(address)
        ray.init(address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"no cluster of Ray at {address!r}: {reason[:300]}") from error
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            yield [node["Resources"] for node in ray.nodes() if node["Alive"]]
        finally:
            ray.shutdown()


def require_room(machines: Sequence[Mapping[str, float]], resources: Mapping[str, float]) -> None:
    """Check that a worker fits on a machine, and reading beside it; Ray would wait for one.

    Args:
        machines: what each of them has.
        resources: what a worker asks for: num_cpus, num_gpus.

    Raises:
        OSError: it does not.
    """
    cpus, gpus = resources["num_cpus"], resources["num_gpus"]
    fits = any(has.get("CPU", 0) >= cpus and has.get("GPU", 0) >= gpus for has in machines)
    num_cpus = sum(has.get("CPU", 0) for has in machines)
    if not fits or num_cpus < cpus + READER + LISTER:
        wanted = f"{cpus:g} CPUs" + (" and a GPU" if gpus else "")
        raise OSError(
            f"no machine of the cluster has room for a worker, which takes {wanted}, "
            f"or {READER + LISTER:g} more CPUs are missing for reading: add machines, "
            "or choose other --threads or --device"
        )


def _require_server(address: str | None) -> None:
    """Check that something listens at HOST:PORT, which Ray would wait for for many minutes.

    Raises:
        OSError: nothing does.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and "/" not in host:
        with socket.create_connection((host, int(port)), timeout=10):
            pass


def run_pass(
    listing: Listing,
    done: np.ndarray,
    worker: Mapping[str, Any],
    reader: Callable[[Frame], Frame],
    *,
    chunk_size: int = CHUNK,
    num_workers: int | None = None,
    resources: Mapping[str, Any],
) -> Iterator[Report | Total]:
    """Do the images that were not done before, in any order.

    Args:
        listing: of the source.
        done: sorted keys of the images that were done before.
        worker: arguments of `Worker`.
        reader: reads a frame.
        chunk_size: images of a chunk at most; chunks of one are not tried again.
        num_workers: networks at a time at most; None is as many as the cluster has room for.
        resources: what a worker asks for: num_cpus, num_gpus.

    Yields:
        what the workers have done; once, when the source has been listed, its total.

    Raises:
        OSError: no worker can be started.
    """
    import ray.data
    from ray.exceptions import RayError

    _silence()
    is_single = chunk_size == 1  # a pass after the first one, and perhaps not the last
    num_retries = 0 if is_single else ATTEMPTS - 1
    tasks: dict[str, Any] = {"max_retries": num_retries}
    actors: dict[str, Any] = {"max_restarts": -1, "max_task_retries": num_retries}
    pool = ray.data.ActorPoolStrategy(
        min_size=1,
        max_size=num_workers,
        # no image waits at a worker that another one ends
        max_tasks_in_flight_per_actor=1 if is_single else None,
    )
    rows = ray.data.read_datasource(
        _source(listing, ray.put(done), chunk_size),
        override_num_blocks=1,
        num_cpus=LISTER,
    )
    read = functools.partial(_read, reader)
    rows = rows.flat_map(read, num_cpus=READER, **tasks)  # type: ignore[arg-type]
    reports = rows.map_batches(
        _Actor,
        batch_size=1,
        compute=pool,
        fn_constructor_kwargs=dict(worker),
        **resources,
        **actors,
    )
    try:
        for row in reports.iter_rows():
            yield pickle.loads(row["report"])
    except RayError as error:
        raise OSError(f"the cluster gave up: {_cause(error)}") from error


def _source(listing: Listing, done: Any, chunk_size: int) -> Any:
    """The chunks of a source as rows. One task lists it as a stream, no faster than it is read."""
    import pyarrow as pa
    import ray
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    def rows() -> Iterator[pa.Table]:
        chunks = listing.chunks(ray.get(done), chunk_size)
        try:
            for chunk in chunks:
                yield pa.table({"chunk": [pickle.dumps(chunk)]})
        except (OSError, ValueError) as error:
            problem = Report(problem=f"the source cannot be listed: {error}")
            yield pa.table({"chunk": [pickle.dumps(problem)]})

    class Source(Datasource):
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_: object, **__: object) -> list[ReadTask]:
            nothing: Any = None
            return [ReadTask(rows, BlockMetadata(nothing, nothing, nothing, nothing))]

    return Source()


def _read(reader: Callable[[Frame], Frame], row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    chunk = pickle.loads(row["chunk"])
    parts = read_chunk(chunk, reader) if isinstance(chunk, list) else [chunk]
    for part in parts:
        yield {"chunk": pickle.dumps(part)}


class _Actor:
    """A worker as Ray Data calls it."""

    def __init__(self, **arguments: Any) -> None:
        self._work = Worker(**arguments)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        reports = []
        for data in batch["chunk"]:
            chunk = pickle.loads(data)
            reports.append(self._work(chunk) if isinstance(chunk, list) else chunk)
        return {"report": [pickle.dumps(report) for report in reports]}


def _silence() -> None:
    """Keep what Ray prints out of the output, and let it treat every row as a block of its own."""
    import ray.data
    import ray.util.annotations

    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1  # bytes: no chunk waits for the next
    context.max_errored_blocks = -1  # what dies costs its chunk, not the run
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    warnings.filterwarnings("ignore", category=ray.util.annotations.RayDeprecationWarning)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _cause(error: BaseException) -> str:
    """The last line of what went wrong at its root."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
