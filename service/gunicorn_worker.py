"""gunicorn's threaded worker with the service's manners."""

from http import HTTPStatus
from typing import Any

import orjson
from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

# What a client did wrong before the request could be read; anything else is answered 400.
STATUSES = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (errors.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
)
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


class Worker(ThreadWorker):
    """Answers unreadable requests with JSON, and when it is told to end, those too that wait to be accepted."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answers a request that is no HTTP, or too long in its line or headers."""
        if not isinstance(exc, errors.ParseException) or isinstance(exc, OURS):
            super().handle_error(req, client, addr, exc)
            return
        self.log.warning("Refused an unreadable request: %s", exc)
        try:
            write_nonblock(client, unreadable(exc))
        except OSError:
            self.log.debug("The client had gone")

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accepts connections or not; before it ends, those that the system has accepted in its name.

        They would be reset when the last worker closes the port.
        """
        if not self.alive and self._accepting and not enabled:
            for listener in self.sockets:
                self.accept_waiting(listener)
        super().set_accept_enabled(enabled)

    def accept_waiting(self, listener: Any) -> None:
        """Accepts what waits in the listener's queue."""
        before = -1
        while before < self.nr_conns < self.worker_connections:
            before = self.nr_conns
            self.accept(listener)


def unreadable(error: BaseException) -> bytes:
    """The whole answer to a request that could not be read."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
    body = orjson.dumps({"error": f"The request cannot be read: {error}."})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
