"""gunicorn's gevent worker, with what it lacks; only its public methods are overridden.

It answers unreadable requests with JSON, gives up answers that nobody takes, ends idle connections when it is told to
end, and logs and counts what it cuts off. `docs/decisions/0001-front-end-worker.md` says why this worker.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any

import gevent
import orjson
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http import errors
from gunicorn.util import close_graceful
from gunicorn.workers.ggevent import GeventWorker

from service.engine.resources import give_memory_back
from service.http.body_budget import end_reading
from service.http.request_context import close_connection

# What a client did wrong before the request could be read; anything else is answered 400.
STATUSES = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (errors.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
)
# When so many connections have ended, the memory that they took is given back to the system.
MANY = 100
# How long a worker that has accepted its share of connections leaves the next ones to the others.
PAUSE_SECONDS = 0.001
# A connection that has waited for its next request for so long is idle.
IDLE_SECONDS = 1.0
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


class MissingHost(errors.ParseException):
    """HTTP/1.1 without the header Host (RFC 9112, section 3.2)."""

    def __str__(self) -> str:
        return "HTTP/1.1 needs the header Host"


@dataclass(eq=False, slots=True)
class Connection:
    """A client's connection.

    Attributes:
        client: its socket.
        address: the client's.
        waiting_since: clock of `time.monotonic` since when its next request is awaited; None once that has come whole.
        requests: how many did.
    """

    client: socket.socket
    address: str
    waiting_since: float | None = None
    requests: int = 0


class RequestWait(gevent.Timeout):
    """The time in which a connection's next request has to come, but for its body.

    Args:
        seconds: how long that is.
        connection: see `Connection`.
        expired: called where it did not come.
    """

    def __init__(self, seconds: float, connection: Connection, expired: Callable[[Connection], None]) -> None:
        super().__init__(seconds, False)
        self._connection, self._expired = connection, expired

    def __enter__(self) -> "RequestWait":
        self._connection.waiting_since = time.monotonic()
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._connection.waiting_since = None
        if error is self:
            self._expired(self._connection)
        elif error is None:
            self._connection.requests += 1
        is_over: bool | None = super().__exit__(kind, error, traceback)
        return is_over


class Server(StreamServer):
    """Accepts connections for a worker, and leaves some to the others.

    A greenlet costs so little that one worker would accept all of the connections that come at once, and answer them
    with one core, before another one wakes up.

    Args:
        listener: where connections come.
        worker: whose they are.
        spawn: where the greenlets run.
    """

    def __init__(self, listener: Any, worker: "Worker", spawn: Pool, **_unused: Any) -> None:
        super().__init__(listener, partial(worker.handle, listener), spawn=spawn)
        self._has_others = worker.cfg.workers > 1
        self._accepted = 0

    def do_read(self) -> Any:
        """The next connection; None once the worker has accepted its share, so that the other workers have theirs."""
        # Half as many again as it had: else those who come while it is busy would wait for long.
        share = (self.pool.size - self.pool.free_count() - self._accepted) // 2
        if self._has_others and self._accepted >= max(1, share):
            self._accepted = 0
            self.stop_accepting()
            gevent.spawn_later(PAUSE_SECONDS, self.go_on)
            return None
        connection = super().do_read()
        self._accepted += connection is not None
        return connection

    def go_on(self) -> None:
        """Accepts again, unless the worker is about to end."""
        if self.started:
            self.start_accepting()


class Worker(GeventWorker):
    """Serves each connection in a greenlet."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.server_class = partial(Server, worker=self)
        self.connections: dict[Any, Connection] = {}
        self.most_connections = 0

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:
        """Serves a connection until it ends."""
        current = gevent.getcurrent()
        self.connections[current] = Connection(client, str(addr[0]))
        try:
            super().handle(listener, client, addr)
        finally:
            del self.connections[current]

    def timeout_ctx(self) -> RequestWait:
        """The time that the current connection has for its next request."""
        return RequestWait(self.cfg.keepalive, self.connections[gevent.getcurrent()], self.note_slow_head)

    def handle_request(self, listener_name: Any, req: Any, sock: socket.socket, addr: Any) -> None:
        """Answers a request; the client has to take the answer in time."""
        if req.version >= (1, 1) and not any(name == "HOST" for name, _ in req.headers):
            raise MissingHost
        close_connection.set(req.force_close)
        # For each piece of a body that is read or written.
        sock.settimeout(self.wsgi.settings.timeout_seconds)
        try:
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError:
            self.refuse("slow_answer", str(addr[0]), "The client did not take its answer")
            raise StopIteration from None
        finally:
            if req.must_close and sock.fileno() >= 0:
                # Otherwise what is left of the request would reset the connection, and the answer be lost.
                close_graceful(sock)
            sock.settimeout(None)

    def notify(self) -> None:
        """Says each second that the worker lives; once it is told to end, ends idle connections."""
        super().notify()
        self.most_connections = max(self.most_connections, len(self.connections))
        if len(self.connections) < self.most_connections - MANY:
            self.most_connections = len(self.connections)
            give_memory_back()
        if not self.alive:
            for connection in list(self.connections.values()):
                # A client that is between two requests gets an answer that says that it is the last one.
                since = connection.waiting_since
                if since is not None and time.monotonic() - since > IDLE_SECONDS:
                    end_reading(connection.client)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answers a request that is not HTTP, or too long in its line or headers."""
        if not isinstance(exc, errors.ParseException) or isinstance(exc, OURS):
            super().handle_error(req, client, addr, exc)
            return
        status = next((status for kind, status in STATUSES if isinstance(exc, kind)), HTTPStatus.BAD_REQUEST)
        sentence = f"The request cannot be read: {exc}."
        self.refuse("unreadable", str(addr[0]), sentence, status.value)
        try:
            client.settimeout(1.0)
            client.sendall(error_answer(status, sentence))
            close_graceful(client)
        except OSError:
            self.log.debug("The client had gone")

    def note_slow_head(self, connection: Connection) -> None:
        """A connection's next request did not come. That is usual where there was one before."""
        if not connection.requests:
            sentence = f"No complete request came within {self.cfg.keepalive} seconds"
            self.refuse("slow_head", connection.address, sentence)

    def refuse(self, reason: str, address: str, sentence: str, status: int | None = None) -> None:
        """Counts and logs a request that the application does not see, or an answer that its client does not."""
        self.wsgi.measures.refused(reason)
        fields = {"client": address, "reason": sentence} | ({} if status is None else {"status": status})
        self.log.info("Request refused", extra={"fields": fields})


def error_answer(status: HTTPStatus, sentence: str) -> bytes:
    """The whole answer to a request that could not be read."""
    body = orjson.dumps({"error": sentence})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
