"""`python -m service.processes.grpc_front_end` answers gRPC beside the HTTP workers; the supervisor starts it.

It ends with 0 after SIGTERM, or when the process that started it is gone, once the calls in flight are answered.
"""

import logging
import os
import signal
import sys
import threading

from service.auth import Access
from service.engine.ipc.client import connect
from service.engine.repository import Repository
from service.errors import InvalidSettings
from service.metrics import Metrics
from service.process_setup import end_when_a_thread_fails, end_with_parent, prefer_throughput, set_up_logging
from service.protocols.grpc.server import GrpcServer, create_server
from service.settings import Settings

# Its own name is `__main__`, whose lines would not be written.
logger = logging.getLogger("service.processes.grpc_front_end")

WRONG_USE = 2
PROTOCOL = "tensorflow_serving_grpc"


def main() -> int:
    """Runs the front.

    Returns:
        0 after SIGTERM or the parent's end; 2 where the settings do not allow a start.
    """
    end_with_parent()
    prefer_throughput()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    # It restarts the HTTP workers one after the other; a server that is alone on its port would leave a gap.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        settings = Settings.from_env(os.environ)
        set_up_logging(settings)
        server = create_server(
            settings, Repository(connect(os.environ)), Access(settings.token_file), Measures(Metrics())
        )
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_USE
    end_when_a_thread_fails()
    serve(server, settings, stopping)
    return 0


def serve(server: GrpcServer, settings: Settings, stopping: threading.Event) -> None:
    """Answers until told to stop, and then until the calls in flight are answered.

    Args:
        server: made, but not started.
        settings: see `Settings`.
        stopping: set when it is time to end.
    """
    server.start()
    fields = {"host": settings.host, "port": server.port, "tls": settings.grpc_tls_certificate is not None}
    logger.info("gRPC is listening", extra={"fields": fields})
    stopping.wait()
    logger.info("gRPC is stopping")
    server.stop(settings.graceful_timeout_seconds).wait()


class Measures:
    """Counts calls with the service's metrics.

    Args:
        metrics: the process's.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def began(self) -> None:
        """A call has come."""
        self._metrics.began(PROTOCOL)

    def ended(self, request: tuple[str, str, str, str], code: str, seconds: float) -> None:
        """It is over; see `Observer`."""
        self._metrics.ended(PROTOCOL)
        self._metrics.answered((PROTOCOL, *request), code, seconds)


if __name__ == "__main__":
    sys.exit(main())
