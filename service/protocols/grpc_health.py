"""`grpc.health.v1.Health`: SERVING while every model is ready and the service is not stopping."""

import threading
from collections.abc import Callable, Mapping, Sequence

from grpc_health.v1.health import OVERALL_HEALTH, HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Health:
    """Follows the models' readiness.

    Args:
        obstacles: what is in the way of readiness; see `Repository.pending`.
        services: the full names of the services, beside the server as a whole.
        poll_seconds: how often to look.

    Attributes:
        servicer: what a gRPC server registers.
    """

    def __init__(
        self, obstacles: Callable[[], Mapping[str, str]], services: Sequence[str], poll_seconds: float = 0.5
    ) -> None:
        self.servicer = HealthServicer()
        self._obstacles = obstacles
        self._services = (OVERALL_HEALTH, *services)
        self._poll_seconds = poll_seconds
        self._state: int | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="grpc-health", daemon=True)
        self._look()

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Says NOT_SERVING from now on."""
        self._stopping.set()
        self._thread.join()
        self.servicer.enter_graceful_shutdown()

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            self._look()

    def _look(self) -> None:
        state = NOT_SERVING if self._obstacles() else SERVING
        if state == self._state:
            return
        self._state = state
        for service in self._services:
            self.servicer.set(service, state)
