"""Flask, with what every request of the service needs, and a short way for predictions: this is the hot path.

Flask's hooks, proxies and contexts cost more than reading a picture out of a request. So a request is begun, checked,
counted and logged in methods here, and the two routes of predictions are found and called without Flask. Everything
else goes through Flask, and so does every error, so all are answered in one place.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any

from flask import Flask, Response
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue

from service.engine.repository import Repository
from service.engine.resources import give_memory_back
from service.http import cors, request_context
from service.http.access import Authorizer
from service.http.body_budget import FREE_BYTES, BodyBudget, Share
from service.http.prediction import Answer
from service.http.readiness import Readiness
from service.http.request_context import RequestContext
from service.http.routing import find_prediction, fold_case
from service.metrics import Metrics
from service.settings import Settings

logger = logging.getLogger(__name__)

ExceptionInfo = tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]
# Where a prediction that failed has its error, until Flask answers it.
ERROR = "kiln.error"
# A large answer is sent in pieces, each of which a client has to take in time.
PIECE_BYTES = 256 * 1024


class Sending:
    """The body of an answer, after which there is something to be done.

    Args:
        body: its bytes.
        share: the memory that the request may use.
        afterwards: what to do when they have been sent; nobody waits for that.
    """

    __slots__ = ("_afterwards", "_body", "_share")

    def __init__(self, body: bytes, share: Share, afterwards: Callable[[], None]) -> None:
        self._body, self._share, self._afterwards = body, share, afterwards

    def __iter__(self) -> Iterator[bytes]:
        if len(self._body) <= FREE_BYTES:
            yield self._body
            return
        self._share.hold_answer(len(self._body))
        for start in range(0, len(self._body), PIECE_BYTES):
            self._share.wait_for_client()
            yield self._body[start : start + PIECE_BYTES]
            self._share.note_moved(PIECE_BYTES)

    def close(self) -> None:
        """The server has done with the answer."""
        self._body = b""
        self._afterwards()


class KilnApp(Flask):
    """The application with what its worker needs of it.

    Args:
        settings: what it is made with.
        repository: the models.
        authorizer: who may ask for what.
        budget: the memory for bodies.

    Attributes:
        settings, repository: the same.
        readiness: whether requests should be sent here.
        measures: the metrics.
    """

    def __init__(self, settings: Settings, repository: Repository, authorizer: Authorizer, budget: BodyBudget) -> None:
        super().__init__("service", static_folder=None)
        self.settings = settings
        self.repository = repository
        self.readiness = Readiness(repository)
        self.measures = Metrics()
        self.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
        self._authorizer = authorizer
        self._budget = budget
        # Predictions are answered to pages of other origins too, where the settings say so.
        self._headers = tuple(cors.HEADERS.items()) if settings.cors else ()

    def wsgi_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request, and logs and counts it."""
        context = request_context.begin(environ, self.settings, self._budget)
        self.measures.began(context.protocol)
        found = find_prediction(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        # The application behind KILN_ADMIN_PORT has no such views.
        answer = self._predict(context, *found) if found is not None and found[0] in self.view_functions else None
        if answer is not None:
            context.status = 200
            self._start(context, start_response, "200 OK", [*answer.headers(), *self._headers])
            return Sending(answer.body, context.share, partial(self._finish, context))
        try:
            return self._ask_flask(context, start_response)
        finally:
            self._finish(context)

    def _start(
        self, context: RequestContext, start_response: Callable[..., Any], status: str, headers: list[tuple[str, str]]
    ) -> Any:
        """Starts an answer, which is its connection's last where the worker is told to end."""
        if self.readiness.is_stopping():
            request_context.close_connection.get()()
        headers.append((request_context.REQUEST_ID_HEADER, context.request_id))
        return start_response(status, headers)

    def _finish(self, context: RequestContext) -> None:
        """Counts and logs a request, and forgets it."""
        seconds = time.monotonic() - context.started
        version = "" if context.version is None else str(context.version)
        labels = (context.protocol, context.endpoint, context.model, version, context.signature)
        self.measures.answered(labels, str(context.status), seconds)
        self.measures.ended(context.protocol)
        if context.share.was_cut and not context.refusal:
            context.refusal, context.reason = "slow_answer", "The client took its answer too slowly."
        if context.refusal:
            self.measures.refused(context.refusal)
        request_context.log_request(context, seconds)
        request_context.end()
        if context.share.release():
            give_memory_back()

    def _predict(self, context: RequestContext, endpoint: str, arguments: dict[str, str]) -> Answer | None:
        """Answers a prediction on the short way; None leaves its error to Flask."""
        context.endpoint = endpoint
        try:
            self._authorizer.authorize(endpoint, context.environ)
            # The views of predictions give an `Answer`, which is none of Flask's types.
            view: Callable[..., Any] = self.view_functions[endpoint]
            answer: Answer = view(**arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, Flask's handlers answer it, as on every other route
            context.environ[ERROR] = error
            return None
        finally:
            context.share.leave()
        return answer

    def _ask_flask(self, context: RequestContext, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a request as Flask does."""
        environ = context.environ
        environ["PATH_INFO"] = fold_case(environ["PATH_INFO"])

        def start(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
            context.status = int(status[:3])
            return self._start(context, start_response, status, headers)

        return super().wsgi_app(environ, start)

    def dispatch_request(self) -> ResponseReturnValue:
        """Checks whether the request is allowed, and has it answered."""
        request = request_ctx.request
        environ = request.environ
        if ERROR in environ:
            raise environ.pop(ERROR)
        rule = request.url_rule
        if request.routing_exception is not None or rule is None:
            self._authorizer.authorize("", environ)
            return super().dispatch_request()
        request_context.current().endpoint = rule.endpoint
        self._authorizer.authorize(rule.endpoint, environ)
        answer = super().dispatch_request()
        if isinstance(answer, Answer):
            return Response(answer.body, headers=answer.headers())
        return answer

    def log_exception(self, exc_info: ExceptionInfo) -> None:
        """Logs what the client is not told, under the id that the client is told."""
        fields = {"request_id": request_context.current().request_id}
        logger.error("Request failed", exc_info=exc_info, extra={"fields": fields})
        if exc_info[1] is not None:
            # Flask keeps the error in a frame that is part of its traceback: a circle, with the request in it.
            exc_info[1].__traceback__ = None
