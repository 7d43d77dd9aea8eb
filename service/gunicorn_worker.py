"""gunicorn's threaded worker with the service's manners."""

import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from gunicorn.http import errors
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from service.fleet import FOLDER_VARIABLE, Fleet

# What a client did wrong before the request could be read; anything else is answered 400.
STATUSES = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    (errors.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED),
)
OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


class Worker(ThreadWorker):
    """Answers unreadable requests with JSON, and leaves connections to the others while it cannot answer them."""

    def run(self) -> None:
        """Answers requests until told to end, and ends."""
        super().run()
        self.end()

    def handle_quit(self, _sig: int, _frame: Any) -> None:
        """SIGINT or SIGQUIT: ends at once."""
        self.end()

    def end(self) -> None:
        """Leaves without the interpreter's goodbye, which would wait for a thread that is still importing TensorFlow.

        Every answer has been sent, and nothing else is left to be written: metrics lie in mapped files.
        """
        self.log.info("Worker ends")
        os._exit(0)

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
        """Accepts connections, but not as a spare; gunicorn asks again every second.

        So nobody notices that a worker died and its successor is still loading.
        """
        is_spare = enabled and Fleet(Path(os.environ[FOLDER_VARIABLE])).is_spare(self.pid)
        super().set_accept_enabled(enabled and not is_spare)


def unreadable(error: BaseException) -> bytes:
    """The whole answer to a request that could not be read."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
    body = orjson.dumps({"error": f"The request cannot be read: {error}."})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
