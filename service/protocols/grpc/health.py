"""`grpc.health.v1.Health`: SERVING while every model is ready and the service is not stopping.

It runs in the event loop and waits for nothing, so it answers whatever hangs.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

SERVING: int = HealthCheckResponse.SERVING
NOT_SERVING: int = HealthCheckResponse.NOT_SERVING


class Health(HealthServicer):
    """Follows the models' readiness.

    Args:
        obstacles: what is in the way of readiness; see `Repository.pending`.
        services: the full names of the services; "" is the server as a whole.
        poll_seconds: how often to look where somebody watches.

    Attributes:
        is_stopping: whether the service ends; set by what ends it.
    """

    def __init__(
        self, obstacles: Callable[[], Mapping[str, str]], services: Iterable[str], poll_seconds: float = 0.5
    ) -> None:
        self._obstacles = obstacles
        self._services = frozenset(["", *services])
        self._poll_seconds = poll_seconds
        self.is_stopping = False

    async def Check(  # noqa: N802
        self, request: HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> HealthCheckResponse:
        """Tells the state of a service."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Unknown service '{request.service[:256]}'.")
        return HealthCheckResponse(status=self._find_state())

    async def Watch(self, request: HealthCheckRequest, context: grpc.aio.ServicerContext) -> None:  # noqa: N802
        """Tells the state of a service at each change, until the client or the service ends."""
        told = None
        while True:
            is_last = self.is_stopping
            known = request.service in self._services
            state = self._find_state() if known else HealthCheckResponse.SERVICE_UNKNOWN
            if state != told:
                await context.write(HealthCheckResponse(status=state))
                told = state
            if is_last:
                return
            await asyncio.sleep(self._poll_seconds)

    def _find_state(self) -> int:
        return NOT_SERVING if self.is_stopping or self._obstacles() else SERVING
