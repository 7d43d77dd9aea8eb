"""What the versions have done: for Open Inference's statistics, and for Prometheus."""

import threading
import time
from dataclasses import replace

from service.engine.batching.queue import Job, SignatureKey
from service.engine.interface import Statistics
from service.metrics import EngineMetrics

NANOSECONDS = 1_000_000_000


class StatisticsCollector:
    """Counts calls and answers; see `Observer`.

    Args:
        metrics: where they are counted too.
    """

    def __init__(self, metrics: EngineMetrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._versions: dict[tuple[str, int], Statistics] = {}

    def executed(self, key: SignatureKey, rows: int, seconds: float) -> None:
        """A call into TensorFlow has ended."""
        self._metrics.executed(key, rows, seconds)
        nanoseconds = int(seconds * NANOSECONDS)
        with self._lock:
            entry = self._entry(*key[:2])
            entry.executions += 1
            entry.compute_ns += nanoseconds
            count, total = entry.batches.get(rows, (0, 0))
            entry.batches[rows] = (count + 1, total + nanoseconds)

    def answered(self, job: Job, waited: float, seconds: float, *, failed: bool) -> None:
        """A request has been answered."""
        call = job.call
        self._metrics.waited((call.model, call.version, call.signature), waited)
        with self._lock:
            entry = self._entry(call.model, call.version)
            entry.last_call = time.time()
            entry.queue_ns += int(waited * NANOSECONDS)
            if failed:
                entry.failures += 1
                entry.failure_ns += int(seconds * NANOSECONDS)
            else:
                entry.calls += 1
                entry.rows += job.weight
                entry.total_ns += int(seconds * NANOSECONDS)

    def dropped(self, job: Job) -> None:
        """Nobody waited for a request when its turn came."""
        seconds = time.monotonic() - job.arrived
        self.answered(job, seconds, seconds, failed=True)

    def _entry(self, name: str, version: int) -> Statistics:
        entry = self._versions.get((name, version))
        if entry is None:
            entry = self._versions[name, version] = Statistics(name, version)
        return entry

    def read(self, name: str, version: int) -> Statistics:
        """What one version has done."""
        with self._lock:
            entry = self._entry(name, version)
            return replace(entry, batches=dict(entry.batches))

    def forget(self, name: str, version: int) -> None:
        """A version was unloaded."""
        with self._lock:
            self._versions.pop((name, version), None)
