"""Several devices or workers that train one network: who takes part, and what all of them have to agree on.

Each worker runs the same program. The chief alone measures, decides and writes; what it measured goes to the others, so
that all stop, lower the rate and go on together.
"""

import functools
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pipeline.distribution_cluster import Cluster
from pipeline.distribution_meeting import wait_for_workers
from pipeline.errors import ParamsError, TrainingError, WorkerLost

if TYPE_CHECKING:
    import tensorflow as tf

START_SECONDS = 600
"""How long the first workers wait for the last one; a cluster may have to fetch an image for it."""

SILENCE_SECONDS = 60
"""A worker that gave no sign of life for so long is lost. One whose process ended is noticed at once."""


class Distribution:
    """The devices and workers that train one network together; without a strategy, this process alone.

    Attributes:
        strategy: TensorFlow's; None where nothing is distributed.
        workers: processes.
        index: of this one; 0 is the chief.
    """

    def __init__(self, strategy: "tf.distribute.Strategy | None" = None, cluster: Cluster | None = None) -> None:
        self.strategy = strategy
        self.workers = len(cluster.addresses) if cluster else 1
        self.index = cluster.index if cluster else 0

    @property
    def is_chief(self) -> bool:
        """Whether this worker writes the results."""
        return self.index == 0

    def scope(self) -> Any:
        """A context in which variables are made once per replica, equal on all workers."""
        return self.strategy.scope() if self.strategy else nullcontext()

    def sum_over_workers(self, values: "tf.Tensor") -> "tf.Tensor":
        """The sum of what each worker gives: float32 of one shape. To be called by all, while a function is traced."""
        if self.workers == 1:
            return values
        return self.strategy.reduce("SUM", values, axis=None)

    def share(self, payload: bytes) -> bytes:
        """Gives every worker what the chief has. All have to call it.

        Args:
            payload: of any length; only the chief's counts.

        Returns:
            The chief's.
        """
        if self.workers == 1:
            return payload
        length = int.from_bytes(self._share_bytes(len(payload).to_bytes(8, "little"), 8), "little")
        # TensorFlow crashes when it sums no numbers at all.
        return self._share_bytes(payload, length) if length else b""

    def check_equal(self, key: str) -> None:
        """Makes sure that this worker trains what the chief trains.

        Args:
            key: of parameters, rows and code.

        Raises:
            TrainingError: the chief has another one.
        """
        expected = self.share(key.encode()).decode()
        if key != expected:
            raise TrainingError(
                f"Worker {self.index} trains something else than the chief: expected the key {expected} of parameters, "
                f"rows and code, received {key}. Give all workers the same commit, params.yaml and data/prepared."
            )

    @contextmanager
    def report_losses(self) -> Iterator[None]:
        """Turns TensorFlow's errors about workers that are gone into one that says what to do.

        Raises:
            WorkerLost: another worker, or the way to it, is gone.
        """
        if self.workers == 1:
            yield
            return
        import tensorflow as tf

        errors = tf.errors
        try:
            yield
        except (
            errors.UnavailableError,
            errors.AbortedError,
            errors.CancelledError,
            errors.DeadlineExceededError,
        ) as error:
            raise WorkerLost(
                f"Worker {self.index} of {self.workers} lost another one ({_first_reason(error.message)}). Start all "
                "workers again with the same command: they go on after the last finished epoch."
            ) from None

    @functools.cached_property
    def _sum_floats(self) -> Callable[[np.ndarray], "tf.Tensor"]:
        import tensorflow as tf

        return tf.function(self.sum_over_workers, input_signature=[tf.TensorSpec((None,), tf.float32)], autograph=False)

    def _share_bytes(self, payload: bytes, length: int) -> bytes:
        # Two bytes to a number, which float32 holds exactly; every device and every kind of network adds float32.
        numbers = np.zeros(-(-length // 2), np.float32)
        if self.is_chief:
            numbers[:] = np.frombuffer(payload + b"\0" * (length % 2), "<u2")
        return self._sum_floats(numbers).numpy().astype("<u2").tobytes()[:length]


ALONE = Distribution()
"""One device in one process."""


def start_distribution(kind: str, cluster: Cluster | None) -> Distribution:
    """Brings devices and workers together; waits for the other workers. Before TensorFlow is used for anything else.

    Args:
        kind: `train.distribute`: `none`, `mirrored` or `multi_worker`.
        cluster: of `multi_worker`.

    Returns:
        What trains together.

    Raises:
        ParamsError: the port is taken, or Keras runs on another backend than TensorFlow.
        WorkerLost: the other workers did not come.
    """
    if kind == "none":
        return ALONE
    if keras.backend.backend() != "tensorflow":
        raise ParamsError(
            f"train.distribute: {kind!r} needs TensorFlow, received the backend {keras.backend.backend()!r}. Allowed "
            "with it: 'none'."
        )
    if kind == "mirrored":
        return _mirrored()
    return _start_workers(cluster)


@functools.cache
def _mirrored() -> Distribution:
    """Once per process: a second strategy would count its exchanges from the start again, and meet the first one's."""
    import tensorflow as tf

    return Distribution(tf.distribute.MirroredStrategy())


def _start_workers(cluster: Cluster) -> Distribution:
    import tensorflow as tf

    # TensorFlow has no public way to set these times; its strategy keeps what was configured before it.
    from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
    from tensorflow.python.eager import context

    others = [address for index, address in enumerate(cluster.addresses) if index != cluster.index]
    print(  # noqa: T201
        f"Worker {cluster.index} of {len(cluster.addresses)} at {cluster.addresses[cluster.index]} waits for "
        f"{', '.join(others) or 'nobody'}.",
        flush=True,
    )
    wait_for_workers(cluster, START_SECONDS)
    distribution = Distribution(cluster=cluster)
    context.context().configure_coordination_service(
        "standalone",
        service_leader=f"/job:{next(iter(cluster.jobs))}/replica:0/task:0",
        cluster_register_timeout_in_ms=START_SECONDS * 1000,
        heartbeat_timeout_in_ms=SILENCE_SECONDS * 1000,
        coordinated_jobs=[CoordinatedJob(name=job, num_tasks=count) for job, count in cluster.jobs.items()],
    )
    with _bounded_start(), distribution.report_losses():
        distribution.strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return distribution


@contextmanager
def _bounded_start() -> Iterator[None]:
    """Ends the process when a worker dies just while all of them start: TensorFlow waits for it, deaf and for ever."""
    terminate = signal.getsignal(signal.SIGTERM)
    # Not a thread: TensorFlow holds Python's lock while it waits.
    signal.alarm(START_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        # TensorFlow's own handler of SIGTERM does nothing, so workers could not be ended.
        signal.signal(signal.SIGTERM, terminate or signal.SIG_DFL)


def _first_reason(message: str) -> str:
    """The line of TensorFlow's message that names the cause; the others are about its graph."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    place = next((place for place, line in enumerate(lines) if "aborted by:" in line), 0)
    reason = lines[place].rpartition("aborted by:")[2].strip()
    # A list begins with a colon.
    return " ".join([reason, *lines[place + 1 : place + 2]]) if reason.endswith(":") else reason
