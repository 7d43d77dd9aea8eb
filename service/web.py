"""Flask, with what every request of the service needs, and a short way for predictions: this is the hot path.

Flask's hooks, proxies and contexts cost more than reading a picture out of a request. So a request is begun, checked,
counted and logged in methods here; and once Flask has found the route of a prediction and answered it, the same path
goes straight to the same view. An error on the short way is handed to Flask, so all are answered in one place.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

from flask import Flask, Response
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue

from service import record
from service.engine.attempt import Attempt
from service.engine.repository import Repository
from service.joined_writes import JoinedWrites
from service.metrics import Metrics
from service.protocols.access import Guard
from service.protocols.paths import fold_case
from service.protocols.prediction import Answer
from service.readiness import Readiness
from service.settings import Settings

logger = logging.getLogger(__name__)

ExceptionInfo = tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]
# How many paths of predictions are remembered.
MOST_ROUTES = 1024
# Where a request that went the short way and failed has its error.
ERROR = "kiln.error"


class Route(NamedTuple):
    """What is remembered of a prediction's path.

    Attributes:
        endpoint: Flask's name of the route.
        view: the function that answers.
        arguments: what the path gives it.
    """

    endpoint: str
    view: Callable[..., Any]
    arguments: dict[str, Any]


class Sending:
    """The body of an answer, after which there is something to be done.

    Args:
        body: its bytes.
        environ: the WSGI request.
        afterwards: what to do when they have been sent; nobody waits for that.
    """

    __slots__ = ("_afterwards", "_body", "_environ")

    def __init__(self, body: bytes, environ: dict[str, Any], afterwards: Callable[[], None]) -> None:
        self._body, self._environ, self._afterwards = body, environ, afterwards

    def __iter__(self) -> Iterator[bytes]:
        yield self._body

    def close(self) -> None:
        """The server has done with the answer."""
        try:
            connection = self._environ.get("gunicorn.socket")
            if isinstance(connection, JoinedWrites):
                connection.finish()
        finally:
            self._afterwards()


class KilnApp(Flask):
    """The application with what its worker needs of it.

    Args:
        settings: what it is made with.
        repository: the models.
        guard: who may ask for what.

    Attributes:
        settings, repository: the same.
        readiness: whether requests should be sent here.
        measures: the metrics.
    """

    def __init__(self, settings: Settings, repository: Repository, guard: Guard) -> None:
        super().__init__("service", static_folder=None)
        self.settings = settings
        self.repository = repository
        self.readiness = Readiness(repository)
        self.measures = Metrics()
        self.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
        self._guard = guard
        self._routes: dict[tuple[str, str], Route] = {}
        # Pages of other origins need more headers, which are Flask's to add.
        self._is_short = not settings.cors

    def wsgi_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request, and logs and counts it."""
        made = record.begin(environ, self.settings)
        self.measures.began(made.protocol)
        route = self._routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        answer = None if route is None else self._predict(made, route)
        if answer is not None:
            made.status = 200
            start_response("200 OK", [*answer.headers(), (record.REQUEST_ID_HEADER, made.request_id)])
            return Sending(answer.body, environ, partial(self._finish, made))
        try:
            return self._ask_flask(made, start_response)
        finally:
            self._finish(made)

    def _finish(self, made: record.Record) -> None:
        """Counts and logs a request."""
        seconds = time.monotonic() - made.started
        version = "" if made.version is None else str(made.version)
        labels = (made.protocol, made.endpoint, made.model, version, made.signature)
        self.measures.answered(labels, str(made.status), seconds)
        self.measures.ended(made.protocol)
        record.log_request(made, seconds)

    def _predict(self, made: record.Record, route: Route) -> Answer | None:
        """Answers a prediction on the short way; None leaves its error to Flask."""
        made.endpoint = route.endpoint
        with Attempt() as attempt:
            self._guard.check(route.endpoint, made.environ)
            answer: Answer = route.view(**route.arguments)
        if attempt.error is None:
            return answer
        made.environ[ERROR] = attempt.error
        return None

    def _ask_flask(self, made: record.Record, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request as Flask does."""
        environ = made.environ
        environ["PATH_INFO"] = fold_case(environ["PATH_INFO"])

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            made.status = int(status[:3])
            headers.append((record.REQUEST_ID_HEADER, made.request_id))
            return start_response(status, headers, *rest)

        return super().wsgi_app(environ, start)

    def dispatch_request(self) -> ResponseReturnValue:
        """Checks whether the request is allowed, and has it answered."""
        request = request_ctx.request
        environ = request.environ
        if ERROR in environ:
            raise environ[ERROR]
        rule = request.url_rule
        if request.routing_exception is not None or rule is None:
            self._guard.check("", environ)
            return super().dispatch_request()
        record.current().endpoint = rule.endpoint
        self._guard.check(rule.endpoint, environ)
        answer = super().dispatch_request()
        if not isinstance(answer, Answer):
            return answer
        if self._is_short:
            self._remember(environ, rule.endpoint, request.view_args or {})
        return Response(answer.body, headers=answer.headers())

    def _remember(self, environ: dict[str, Any], endpoint: str, arguments: dict[str, Any]) -> None:
        if len(self._routes) >= MOST_ROUTES:
            self._routes.clear()
        key = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self._routes[key] = Route(endpoint, self.view_functions[endpoint], arguments)

    def log_exception(self, exc_info: ExceptionInfo) -> None:
        """Logs what the client is not told, under the id that the client is told."""
        fields = {"request_id": record.current().request_id}
        logger.error("Request failed", exc_info=exc_info, extra={"fields": fields})
