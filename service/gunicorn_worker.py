"""gunicorn's threaded worker with the service's manners: patient with the many, not with the slow."""

import os
import select
import selectors
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import TConn, ThreadWorker

from service.crew import Crew
from service.custody.counts import is_supported
from service.custody.ward import Ward
from service.joined_writes import JoinedWrites
from service.metrics import FOLDER_VARIABLE

# What a client did wrong before the request could be read; anything else is answered 400.
STATUSES = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (errors.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
)
# A client that sends more slowly, and takes longer than that, would keep a thread from the others.
SLOW_SECONDS = 10.0
SLOW_BYTES_PER_SECOND = 50_000
LOOK_SECONDS = 1.0
# For so long a thread stays with a connection whose request it has answered, while there is a thread for each.
STAY_SECONDS = 1.0
# How long requests gather while the threads have more to do than they can.
PAUSE_SECONDS = 0.002
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


class Connection(TConn):
    """A client's connection, of which the keeper has a copy."""

    ward: Ward | None = None
    request: Any = None
    events: Any = None

    def note_end(self, plain: socket.socket, length: int, has_begun: bool) -> None:
        """The end of an answer is about to be sent through the socket; see `Ward.note`."""
        if self.ward is not None:
            with suppress(OSError):
                self.ward.note(plain, len(self.parser.unreader.buf.getvalue()), length, has_begun=has_begun)

    def close(self, graceful: bool = False) -> None:
        """Ends the connection; closing alone would not, while the keeper has a copy."""
        if self.ward is not None:
            self.ward.forget(self.sock)
            if not graceful:
                with suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)
        super().close(graceful=graceful)


class Worker(ThreadWorker):
    """Answers unreadable requests with JSON, and when it is told to end, those too that wait to be accepted.

    A connection gets a thread when there is something to read on it, and for so long as a request takes that comes at
    a decent speed. Where there are no more connections than threads, the thread then waits for the connection's next
    request itself: handing the connection to the main thread and back takes two wake-ups, which cost more than many a
    prediction. Where there are more, the thread leaves its connection to the main thread's poller and takes the next.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ward: Ward | None = None
        # When a thread began to read from a connection.
        self.reading: dict[Connection, float] = {}
        self.looked_at = 0.0
        self.crowded = False
        self.keeping = threading.Lock()

    def get_thread_pool(self) -> Crew:
        """The threads that answer."""
        return Crew(self.cfg.threads, self.serve)

    def enqueue_req(self, conn: Connection) -> None:
        """Has a thread read a request."""
        self.tpool.submit(conn)

    def init_process(self) -> None:
        """Meets the keeper, where there is one."""
        # Something can be read from it while threads should not stay with their connections.
        self.crowd, self.crowding = os.pipe()
        if is_supported():
            with suppress(OSError):
                self.ward = Ward(Path(os.environ[FOLDER_VARIABLE]))
        super().init_process()

    def run(self) -> None:
        """Serves until told to end."""
        if self.ward is not None:
            self.poller.register(self.ward.fileno(), selectors.EVENT_READ, self.adopt)
        super().run()

    def accept(self, listener: socket.socket) -> None:
        """Accepts a connection."""
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.begin(accepted, listener.getsockname())

    def adopt(self, _source: Any) -> None:
        """Goes on with a connection that a worker left which was killed."""
        connection = self.ward.receive()
        if connection is None:
            self.poller.unregister(self.ward.fileno())
        else:
            self.begin(connection, self.sockets[0].getsockname())

    def begin(self, accepted: socket.socket, address: Any) -> None:
        """Waits for the first request on a connection."""
        try:
            client = accepted.getpeername()
            is_kept = self.ward is not None and self.ward.take(accepted)
        except OSError:  # the client has gone already
            accepted.close()
            return
        connection = Connection(self.cfg, accepted, client, address)
        connection.ward = self.ward if is_kept else None
        connection.set_timeout()
        self.nr_conns += 1
        self.pending_conns.append(connection)
        self.poller.register(accepted, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection))

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Does what the main thread is told to do."""
        if self.tpool.is_busy():
            # The threads have enough to do; this one would take Python's lock from them for each request that comes.
            time.sleep(PAUSE_SECONDS)
        super().wait_for_and_dispatch_events(timeout)
        self.look_around()

    def look_around(self) -> None:
        """Lets threads stay with their connections, or not."""
        crowded = self.nr_conns > self.cfg.threads or not self.alive
        if crowded and not self.crowded:
            os.write(self.crowding, b".")
        elif self.crowded and not crowded:
            os.read(self.crowd, 1)
        self.crowded = crowded

    def serve(self, conn: Connection) -> None:
        """Reads and answers requests, in a thread, and leaves the connection to the main thread."""
        result: Any = False
        try:
            result = self.handle(conn)
        finally:
            if result is not True or not self.keep(conn):
                outcome: Future[Any] = Future()
                outcome.set_result(result)
                self.method_queue.defer(self.finish_request, conn, outcome)

    def keep(self, conn: Connection) -> bool:
        """Waits for a connection's next request without a thread, unless it is there already or the worker is to end.

        It does what `finish_request` does, for which the main thread would have to be woken.
        """
        if conn.parser.unreader.buf.getvalue():
            return False
        with self.keeping:
            if not self.alive:
                return False
            conn.set_timeout()
            self.keepalived_conns.append(conn)
            readable = partial(self.on_client_socket_readable, conn)
            self.poller.register(conn.sock, selectors.EVENT_READ, readable)
        return True

    def handle(self, conn: Connection) -> Any:
        """Reads and answers requests, in a thread."""
        while True:
            self.reading[conn] = time.monotonic()
            try:
                result = super().handle(conn)
            finally:
                del self.reading[conn]
            if result is not True or not self.stay(conn):
                return result

    def stay(self, conn: Connection) -> bool:
        """Waits for the next request on a connection; False leaves that to the main thread."""
        if self.crowded or conn.parser.unreader.buf.getvalue():
            return False
        if conn.events is None:
            conn.events = select.poll()
            conn.events.register(conn.sock, select.POLLIN)
            conn.events.register(self.crowd, select.POLLIN)
        ready = conn.events.poll(STAY_SECONDS * 1000)
        return bool(ready) and all(descriptor != self.crowd for descriptor, _ in ready)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Answers a request; its answer is noted and sent in one go."""
        plain = conn.sock
        joined = JoinedWrites(plain, partial(conn.note_end, plain))
        conn.sock, conn.request = joined, req
        try:
            result = super().handle_request(req, conn)
            joined.finish()
        finally:
            conn.sock, conn.request = plain, None
        return result

    def murder_pending(self) -> None:
        """Closes connections on which no request came, and reads no more of requests that come too slowly."""
        super().murder_pending()
        now = time.monotonic()
        if now < self.looked_at + LOOK_SECONDS:
            return
        self.looked_at = now
        for conn, began in list(self.reading.items()):
            with suppress(OSError):
                read = 0 if conn.ward is None else conn.ward.read_since_note(conn.sock)
                if now > began + SLOW_SECONDS + read / SLOW_BYTES_PER_SECOND:
                    # Ends the waiting for more; an answer that is being made can still be sent, as the last one here.
                    if conn.request is not None:
                        conn.request.force_close()
                    conn.sock.shutdown(socket.SHUT_RD)

    def _cap_keepalive(self, deadline: float) -> None:
        """Ends connections without a request soon, once the worker is to end."""
        # Until now, threads have added connections that they leave.
        with self.keeping:
            super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

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
