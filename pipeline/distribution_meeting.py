"""Workers wait for each other before TensorFlow does, which waits without a word, a bound or an ear for signals."""

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.distribution_cluster import Cluster
from pipeline.errors import ParamsError, WorkerLost

LOOK_SECONDS = 0.2
"""Between two looks at who is there."""

CONNECT_SECONDS = 2.0
"""A host that does not even refuse a connection within this time is asked again later."""


def wait_for_workers(cluster: Cluster, timeout_seconds: float) -> None:
    """Listens at this worker's port until every other worker listens at its own.

    Args:
        cluster: who takes part.
        timeout_seconds: how long to wait.

    Raises:
        ParamsError: another process has the port.
        WorkerLost: somebody did not come.
    """
    missing = [address for index, address in enumerate(cluster.addresses) if index != cluster.index]
    end = time.monotonic() + timeout_seconds
    with _listening(cluster):
        while missing := [address for address in missing if not _answers(address)]:
            if time.monotonic() > end:
                raise WorkerLost(
                    f"Worker {cluster.index} waited {timeout_seconds:.0f} s for {', '.join(missing)}, expected one at "
                    "each address of TF_CONFIG, received no connection. Start all workers; they must reach each other."
                )
            time.sleep(LOOK_SECONDS)


@contextmanager
def _listening(cluster: Cluster) -> Iterator[None]:
    port = int(cluster.addresses[cluster.index].rpartition(":")[2])
    has_both = socket.has_dualstack_ipv6()
    try:
        family = socket.AF_INET6 if has_both else socket.AF_INET
        server = socket.create_server(("", port), family=family, dualstack_ipv6=has_both)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        # gRPC would not mind and share the port with whoever has it.
        raise ParamsError(
            f"TF_CONFIG: worker {cluster.index} is to listen at port {port}, expected a free one, received: "
            f"{error.strerror}. End the other process (an earlier worker?) or choose another port for all workers."
        ) from None
    with server:
        yield


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS):
            return True
    except OSError:
        # Refused, or a name that is not known yet: the worker is about to start.
        return False
