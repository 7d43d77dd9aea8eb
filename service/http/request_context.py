"""What is known of a request while it is answered: its id, its times, and what the log and the metrics tell of it."""

import logging
import random
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from service.http.body_budget import BodyBudget, Share
from service.settings import Settings

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked for every few seconds by machines; logged only when debugging.
QUIET = frozenset({"health.live", "health.ready", "health.metrics", "pages.static"})
# A line for each would take a tenth of the service's speed; the metrics count them.
PREDICTING = frozenset({"tensorflow_serving.predict", "open_inference.infer"})


@dataclass(slots=True)
class RequestContext:
    """What is known of the request that is answered.

    Attributes:
        request_id: the client's own or a new one; the answer carries it.
        environ: the WSGI request.
        started: clock of `time.monotonic`.
        deadline: when the client waits no longer, by the same clock.
        share: the memory that its body takes.
        settings: see `Settings`.
        protocol: which one the request speaks; one of `PROTOCOLS`.
        endpoint: Flask's name of the route, `other` where there is none.
        model: name of the served model that was asked, `unknown` for another name, "" where none is concerned.
        version, signature, rows: of a prediction.
        status: the answer's.
        reason: the sentence of an answer that is an error.
        refusal: why the request was refused or cut off, for the metrics; one of `REFUSALS`, or "".
    """

    request_id: str
    environ: dict[str, Any]
    started: float
    deadline: float
    share: Share
    settings: Settings
    protocol: str
    endpoint: str = "other"
    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int | None = None
    status: int = 500
    reason: str = ""
    refusal: str = ""


# A context variable belongs to a thread, and to a greenlet, whether or not gevent has patched the standard library.
_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)
# Has the HTTP server close the connection after the answer; the server sets it for each request.
close_connection: ContextVar[Callable[[], None]] = ContextVar("close_connection", default=lambda: None)


def begin(environ: dict[str, Any], settings: Settings, budget: BodyBudget) -> RequestContext:
    """Makes the context of a request, which is the `current` one until `end`.

    Args:
        environ: the WSGI request.
        settings: how long it may take, unless the client gives less time.
        budget: the memory for bodies.
    """
    given = environ.get("HTTP_X_REQUEST_ID")
    identity = given if given and REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
    wanted = environ.get("HTTP_X_REQUEST_TIMEOUT")
    most = settings.timeout_seconds
    seconds = most if wanted is None else parse_timeout(wanted, most)
    started = time.monotonic()
    deadline = started + seconds
    share = Share(budget, deadline, environ.get("gunicorn.socket"))
    protocol = protocol_of(environ["PATH_INFO"])
    context = RequestContext(identity, environ, started, deadline, share, settings, protocol)
    _current.set(context)
    return context


def current() -> RequestContext:
    """The context of the request that is answered here.

    Raises:
        LookupError: there is none.
    """
    context = _current.get()
    if context is None:
        raise LookupError("No request is being answered")
    return context


def end() -> None:
    """The request is answered; nothing of it is kept."""
    _current.set(None)


def protocol_of(path: str) -> str:
    """The protocol that a path belongs to."""
    if path[:4].lower() == "/v1/":
        return "tensorflow_serving"
    return "open_inference" if path[:3] == "/v2" and path[:11] != "/v2/health/" else "http"


def parse_timeout(text: str, most_seconds: float) -> float:
    """The seconds that a client gives, at most those of the settings; what is not a positive number means those."""
    try:
        seconds = float(text)
    except ValueError:
        return most_seconds
    return min(seconds, most_seconds) if seconds > 0 else most_seconds


def log_request(context: RequestContext, seconds: float) -> None:
    """One line per request; predictions that succeed only when debugging; a failure of ours is an error."""
    is_routine = context.endpoint in QUIET or (context.status == 200 and context.endpoint in PREDICTING)
    level = logging.DEBUG if is_routine and not context.refusal else logging.INFO
    if context.status >= 500 and context.status != 503:
        level = logging.ERROR
    if not logger.isEnabledFor(level):
        return
    fields = {
        "request_id": context.request_id,
        "client": context.environ.get("REMOTE_ADDR", ""),
        "method": context.environ["REQUEST_METHOD"],
        "path": context.environ["PATH_INFO"],
        "status": context.status,
        "duration_seconds": round(seconds, 6),
    }
    if context.model:
        fields["model"] = context.model
    if context.rows is not None:
        fields |= {"version": context.version, "signature": context.signature, "rows": context.rows}
    if context.reason:
        fields["reason"] = context.reason
    # Made by hand: `logger.log` would look for the line of code that calls it, each time.
    entry = logging.LogRecord(logger.name, level, __file__, 0, "Request answered", None, None)
    entry.fields = fields
    logger.handle(entry)
