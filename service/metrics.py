"""What Prometheus reads at `/metrics`: counters and timings, from all worker processes together.

Under gunicorn, prometheus_client keeps the values in files under PROMETHEUS_MULTIPROC_DIR, which must be set before it
is imported; `service/processes/gunicorn.conf.py` sees to that. `fold_dead_worker` keeps those files from piling up.
"""

import fcntl
import logging
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service import VERSION

logger = logging.getLogger(__name__)

# The folder in which the processes of one service meet; prometheus_client names it.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
LOCK = "lock"
# The values of the label `protocol`; "http" is what belongs to none.
PROTOCOLS = ("tensorflow_serving", "open_inference", "tensorflow_serving_grpc", "http")
# Why a request was refused, or a client's connection ended, before there was an answer from a model.
REFUSALS = ("unreadable", "slow_head", "slow_body", "no_memory", "slow_answer")

DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CALL = ("model", "version", "signature")
REQUEST = ("protocol", "endpoint", *CALL)


# prometheus_client writes to its files as to memory, which ends the process (SIGBUS) where the disk has no space left.
LEAST_FREE_BYTES = 4 * 2**20


class Nothing:
    """Stands for a metric while there is no space for it."""

    def inc(self, _amount: float = 1) -> None:
        """Counts nothing."""

    dec = set = observe = inc

    def set_to_current_time(self) -> None:
        """Keeps no time."""


# How the numbers of several processes become one.
Mode = Literal["livemax", "livesum"]
# What is counted of a signature's calls; see `EngineMetrics`.
CallMetrics = tuple[Histogram | Nothing, Histogram | Nothing, Counter | Nothing, Histogram | Nothing, Gauge | Nothing]


class Registry:
    """Where a process's metrics are made. Labels come from closed sets: a model that is not served is `unknown`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._folder = os.environ.get(FOLDER_VARIABLE)
        self._was_full = False

    def child(self, metric: Any, *labels: object) -> Any:
        """A metric's value for these labels; `NOTHING`, not to be kept, while the disk is full."""
        is_full = self._folder is not None and not has_space(Path(self._folder))
        if is_full and not self._was_full:
            logger.error("Metrics stop: the disk of %s is full", self._folder)
        self._was_full = is_full
        return NOTHING if is_full else metric.labels(*labels)

    def counter(self, name: str, description: str, labels: Sequence[str]) -> Counter:
        """A number that only grows."""
        return Counter(name, description, labels, registry=self._registry)

    def histogram(
        self, name: str, description: str, labels: Sequence[str], buckets: Sequence[float] = DURATIONS
    ) -> Histogram:
        """How often values fell into ranges."""
        return Histogram(name, description, labels, buckets=buckets, registry=self._registry)

    def gauge(self, name: str, description: str, labels: Sequence[str], mode: Mode = "livemax") -> Gauge:
        """A number that goes up and down; `mode` says how those of several processes become one."""
        return Gauge(name, description, labels, multiprocess_mode=mode, registry=self._registry)

    def expose(self) -> bytes:
        """All processes' metrics in Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry(support_collectors_without_names=True)
        MultiProcessCollector(registry, self._folder)
        with locked(Path(self._folder), fcntl.LOCK_SH):
            return generate_latest(registry)


NOTHING = Nothing()


class Metrics:
    """What a front end counts: requests of every protocol."""

    def __init__(self) -> None:
        registry = self._registry = Registry()
        self.expose = registry.expose
        self._requests = registry.counter("kiln_requests", "Answered requests.", [*REQUEST, "code"])
        self._duration = registry.histogram(
            "kiln_request_duration_seconds", "Seconds from reading a request to its answer.", REQUEST
        )
        in_flight = registry.gauge("kiln_in_flight_requests", "Requests being answered.", ["protocol"], "livesum")
        self._in_flight = {protocol: registry.child(in_flight, protocol) for protocol in PROTOCOLS}
        refusals = registry.counter("kiln_refusals", "Requests that were refused or cut off.", ["reason"])
        self._refusals = {reason: registry.child(refusals, reason) for reason in REFUSALS}
        self._children: dict[tuple[str, ...], tuple[Counter | Nothing, Histogram | Nothing]] = {}
        build = registry.gauge("kiln_build_info", "Versions of what the service is made of.", list(versions()))
        registry.child(build, *versions().values()).set(1)

    def began(self, protocol: str) -> None:
        """A request has come."""
        self._in_flight[protocol].inc()

    def ended(self, protocol: str) -> None:
        """It is over."""
        self._in_flight[protocol].dec()

    def refused(self, reason: str) -> None:
        """A request was refused or cut off; `reason` is one of `REFUSALS`."""
        self._refusals[reason].inc()

    def answered(self, request: tuple[str, str, str, str, str], code: str, seconds: float) -> None:
        """A request was answered.

        Args:
            request: protocol, endpoint, model, version and signature; "" where one does not apply.
            code: the status.
            seconds: how long it took.
        """
        key = (*request, code)
        children = self._children.get(key)
        if children is None:
            child = self._registry.child
            children = child(self._requests, *key), child(self._duration, *request)
            if NOTHING not in children:
                self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)


class EngineMetrics:
    """What the engine counts: queues, calls and loads."""

    def __init__(self) -> None:
        registry = self._registry = Registry()
        self._call = registry.histogram("kiln_model_call_duration_seconds", "Seconds that a model call took.", CALL)
        self._batch = registry.histogram("kiln_batch_rows", "Rows in a call of a model.", CALL, BATCHES)
        self._rows = registry.counter("kiln_model_rows", "Rows that were predicted.", CALL)
        self._wait = registry.histogram("kiln_queue_wait_seconds", "Seconds that a request waited for its call.", CALL)
        self._queued = registry.gauge("kiln_queued_rows", "Rows that wait for a call.", CALL, "livesum")
        version = CALL[:2]
        self._loads = registry.counter("kiln_model_loads", "Versions that were loaded.", ["model"])
        self._load_failures = registry.counter("kiln_model_load_failures", "Versions that could not be.", ["model"])
        self._load_duration = registry.gauge("kiln_model_load_duration_seconds", "What loading it took.", version)
        self._loaded_at = registry.gauge("kiln_model_load_timestamp_seconds", "When a version was loaded.", version)
        self._loaded = registry.gauge("kiln_model_loaded", "1 for a version that is loaded, else 0.", version)
        self._children: dict[tuple[str, int, str], CallMetrics] = {}

    def _of(self, place: tuple[str, int, str]) -> CallMetrics:
        children = self._children.get(place)
        if children is None:
            metrics = (self._call, self._batch, self._rows, self._wait, self._queued)
            children = tuple(self._registry.child(metric, *place) for metric in metrics)
            if NOTHING not in children:
                self._children[place] = children
        return children

    def executed(self, place: tuple[str, int, str], rows: int, seconds: float) -> None:
        """A call of a model has ended; `place` is its name, version and signature."""
        call, batch, total, _, _ = self._of(place)
        call.observe(seconds)
        batch.observe(rows)
        total.inc(rows)

    def waited(self, place: tuple[str, int, str], seconds: float) -> None:
        """A request's wait is over."""
        self._of(place)[3].observe(seconds)

    def queued(self, place: tuple[str, int, str], rows: int) -> None:
        """So many rows wait now."""
        self._of(place)[4].set(rows)

    def loaded(self, name: str, version: int, seconds: float) -> None:
        """A version was loaded."""
        child = self._registry.child
        child(self._loads, name).inc()
        child(self._load_duration, name, version).set(seconds)
        child(self._loaded_at, name, version).set_to_current_time()
        child(self._loaded, name, version).set(1)

    def load_failed(self, name: str) -> None:
        """A version could not be loaded."""
        self._registry.child(self._load_failures, name).inc()

    def unloaded(self, name: str, version: int) -> None:
        """A version is not served any more."""
        self._registry.child(self._loaded, name, version).set(0)


def versions() -> dict[str, str]:
    """Versions of Kiln, Python and the packages that matter, by label."""
    return {"kiln": VERSION, "python": platform.python_version()} | {
        label: installed_version(package)
        for label, package in (("flask", "flask"), ("gunicorn", "gunicorn"), ("tensorflow", "tensorflow"))
    }


def installed_version(package: str) -> str:
    """The version of a package, or of its build for CPUs only; "" where there is neither."""
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def fold_dead_worker(pid: int, folder: Path) -> None:
    """Adds a dead worker's counters and histograms to one file that stands for all the dead, and removes its own files.

    Otherwise the files would pile up with every worker that ends, or the counters go back when they are removed.

    While the disk is full, its files stay as they are.

    Args:
        pid: the dead worker's.
        folder: PROMETHEUS_MULTIPROC_DIR.
    """
    if not has_space(folder):
        return
    with locked(folder, fcntl.LOCK_EX):
        mark_process_dead(pid, str(folder))
        for kind in ("counter", "histogram"):
            dead = folder / f"{kind}_{pid}.db"
            # One that was killed while it made the file has counted nothing.
            if dead.is_file() and dead.stat().st_size:
                add_up(folder / f"{kind}_dead.db", dead)
            dead.unlink(missing_ok=True)


def has_space(folder: Path) -> bool:
    """Whether the folder's disk has space for more metrics."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize >= LEAST_FREE_BYTES


def add_up(total: Path, part: Path) -> None:
    """Adds the values in one of prometheus_client's files to those in another."""
    values = MmapedDict(str(total))
    try:
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(part)):
            values.write_value(key, values.read_value(key)[0] + value, 0.0)
    finally:
        values.close()


@contextmanager
def locked(folder: Path, operation: int) -> Iterator[None]:
    """Holds the folder's lock, shared by readers, so that no reader meets a worker's values twice or not at all."""
    with (folder / LOCK).open("a") as file:
        fcntl.flock(file, operation)
        yield
