"""Flask, with what every request of the service needs and without what it does not: this is the hot path.

Hooks before and after each request, and the proxies by which they would reach it, cost more than reading a picture out
of a request. So a request is begun, checked, counted and logged here, in the methods that Flask has for it.
"""

import logging
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from flask import Flask
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from flask.wrappers import Request
from werkzeug.routing import MapAdapter, Rule

from service import record
from service.engine.repository import Repository
from service.metrics import Metrics
from service.protocols.access import Guard
from service.protocols.paths import fold_case
from service.readiness import Readiness
from service.settings import Settings

logger = logging.getLogger(__name__)

ExceptionInfo = tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]
# Endpoints whose routes are remembered by path, and of how many paths.
PREDICTING = frozenset({"tensorflow_serving.predict", "open_inference.infer"})
MOST_ROUTES = 1024

Route = tuple[Rule, dict[str, Any]]


class KnownRoute:
    """Stands for werkzeug's search for a route where it would find what it found before.

    Args:
        route: what that was.
    """

    __slots__ = ("_route",)

    def __init__(self, route: Route) -> None:
        self._route = route

    def match(self, return_rule: bool) -> Route:  # noqa: ARG002
        """The route; see `MapAdapter.match`."""
        return self._route


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

    def wsgi_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request, and logs and counts it."""
        made = record.begin(environ, self.settings)
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) not in self._routes:
            environ["PATH_INFO"] = fold_case(environ["PATH_INFO"])

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            made.status = int(status[:3])
            headers.append((record.REQUEST_ID_HEADER, made.request_id))
            return start_response(status, headers, *rest)

        self.measures.began(made.protocol)
        try:
            return super().wsgi_app(environ, start)
        finally:
            seconds = time.monotonic() - made.started
            version = "" if made.version is None else str(made.version)
            labels = (made.protocol, made.endpoint, made.model, version, made.signature)
            self.measures.answered(labels, str(made.status), seconds)
            self.measures.ended(made.protocol)
            record.log_request(made, seconds)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | KnownRoute | None:
        """Finds the route of a request; that of a prediction is looked for once."""
        if request is not None:
            environ = request.environ
            route = self._routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            if route is not None:
                return KnownRoute(route)
        return super().create_url_adapter(request)

    def dispatch_request(self) -> ResponseReturnValue:
        """Checks whether the request is allowed, and has it answered."""
        request = request_ctx.request
        made = record.current()
        rule = request.url_rule
        if request.routing_exception is not None or rule is None:
            self._guard.check("", request.environ)
            return super().dispatch_request()
        made.endpoint = endpoint = rule.endpoint
        self._guard.check(endpoint, request.environ)
        if request.method == "OPTIONS":
            return super().dispatch_request()
        arguments = request.view_args or {}
        if endpoint in PREDICTING:
            self._remember(request.environ, (rule, arguments))
        return self.view_functions[endpoint](**arguments)

    def _remember(self, environ: dict[str, Any], route: Route) -> None:
        if len(self._routes) >= MOST_ROUTES:
            self._routes.clear()
        self._routes[environ["REQUEST_METHOD"], environ["PATH_INFO"]] = route

    def log_exception(self, exc_info: ExceptionInfo) -> None:
        """Logs what the client is not told, under the id that the client is told."""
        fields = {"request_id": record.current().request_id}
        logger.error("Request failed", exc_info=exc_info, extra={"fields": fields})
