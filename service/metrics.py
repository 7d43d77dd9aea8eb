"""What Prometheus reads at `/metrics`: counters and timings, from all worker processes together.

Under gunicorn, prometheus_client keeps the values in files under PROMETHEUS_MULTIPROC_DIR, which must be set before it
is imported; `service/gunicorn.conf.py` sees to that. `fold_dead_worker` keeps those files from piling up.
"""

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.fleet import FOLDER_VARIABLE

DURATIONS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The service's metrics. Labels come from closed sets: a model that is not served is called `unknown`.

    Attributes:
        requests: answered requests by model, endpoint and status.
        request_duration: seconds from reading the request to its answer, by model and endpoint.
        in_flight: requests being answered.
        call_duration: seconds that the model took, by model, version and signature.
        rows: rows that were predicted, by the same.
        load_timestamp: when a version was loaded, in seconds since 1970.
        models_loaded: versions that are available.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        call = ["model", "version", "signature"]
        self.requests = self._counter("kiln_requests", "Answered requests.", ["model", "endpoint", "code"])
        self.request_duration = self._histogram(
            "kiln_request_duration_seconds", "Seconds from reading a request to its answer.", ["model", "endpoint"]
        )
        self.in_flight = self._gauge("kiln_in_flight_requests", "Requests being answered.", "livesum", [])
        self.call_duration = self._histogram("kiln_model_call_duration_seconds", "Seconds that the model took.", call)
        self.rows = self._counter("kiln_model_rows", "Rows that were predicted.", call)
        self.load_timestamp = self._gauge(
            "kiln_model_load_timestamp_seconds", "When a version was loaded.", "livemax", ["model", "version"]
        )
        self.models_loaded = self._gauge("kiln_models_loaded", "Versions that every worker has loaded.", "livemin", [])
        build = self._gauge("kiln_build_info", "Versions of what the service is made of.", "livemax", list(versions()))
        build.labels(**versions()).set(1)

    def _counter(self, name: str, description: str, labels: list[str]) -> Counter:
        return Counter(name, description, labels, registry=self._registry)

    def _histogram(self, name: str, description: str, labels: list[str]) -> Histogram:
        return Histogram(name, description, labels, buckets=DURATIONS, registry=self._registry)

    def _gauge(self, name: str, description: str, mode: str, labels: list[str]) -> Gauge:
        return Gauge(name, description, labels, multiprocess_mode=mode, registry=self._registry)

    def expose(self) -> bytes:
        """All workers' metrics in Prometheus' text format."""
        folder = os.environ.get(FOLDER_VARIABLE)
        if folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry(support_collectors_without_names=True)
        MultiProcessCollector(registry, folder)
        with locked(Path(folder), fcntl.LOCK_SH):
            return generate_latest(registry)


def versions() -> dict[str, str]:
    """Versions of Python and the packages that matter, by label."""
    return {"python": platform.python_version()} | {
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

    Args:
        pid: the dead worker's.
        folder: PROMETHEUS_MULTIPROC_DIR.
    """
    with locked(folder, fcntl.LOCK_EX):
        mark_process_dead(pid, str(folder))
        for kind in ("counter", "histogram"):
            dead = folder / f"{kind}_{pid}.db"
            if dead.is_file():
                add_up(folder / f"{kind}_dead.db", dead)
                dead.unlink()


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
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, operation)
        yield
