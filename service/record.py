"""One record per request: its id, its times, and what the log and the metrics tell of it."""

import logging
import random
import re
import threading
import time
from dataclasses import dataclass
from typing import Any

from service.settings import Settings

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked for every few seconds by machines; logged only when debugging.
QUIET = frozenset({"health.live", "health.ready", "health.metrics", "pages.static"})
# A line for each would take a tenth of the service's speed; the metrics count them.
PREDICTING = frozenset({"tensorflow_serving.predict", "open_inference.infer"})

# What Flask's `g` would hold; a request stays in one thread, and this takes a tenth of the time.
_thread = threading.local()


@dataclass(slots=True)
class Record:
    """What is known of the request in hand.

    Attributes:
        request_id: the client's own or a new one; the answer carries it.
        environ: the WSGI request.
        started: clock of `time.monotonic`.
        deadline: when the client waits no longer, by the same clock.
        most_body_bytes: the largest body that is accepted.
        protocol: which one the request speaks; one of `PROTOCOLS`.
        endpoint: Flask's name of the route, `other` where there is none.
        model: name of the served model that was asked, `unknown` for another name, "" where none is concerned.
        version, signature, rows: of a prediction.
        status: the answer's.
    """

    request_id: str
    environ: dict[str, Any]
    started: float
    deadline: float
    most_body_bytes: int
    protocol: str
    endpoint: str = "other"
    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int | None = None
    status: int = 500


def begin(environ: dict[str, Any], settings: Settings) -> Record:
    """Makes the record of a request, which is this thread's `current` one from now on.

    Args:
        environ: the WSGI request.
        settings: how long it may take, unless the client gives less time, and how large it may be.
    """
    given = environ.get("HTTP_X_REQUEST_ID")
    identity = given if given and REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
    wanted = environ.get("HTTP_X_REQUEST_TIMEOUT")
    most = settings.timeout_seconds
    seconds = most if wanted is None else parse_timeout(wanted, most)
    started = time.monotonic()
    protocol = protocol_of(environ["PATH_INFO"])
    record = Record(identity, environ, started, started + seconds, settings.max_body_bytes, protocol)
    _thread.record = record
    return record


def current() -> Record:
    """The record of the request that this thread answers."""
    record: Record = _thread.record
    return record


def protocol_of(path: str) -> str:
    """The protocol that a path belongs to."""
    if path[:4].lower() == "/v1/":
        return "tensorflow_serving"
    return "open_inference" if path[:3] == "/v2" and path[:11] != "/v2/health/" else "http"


def parse_timeout(text: str, most_seconds: float) -> float:
    """The seconds that a client gives, at most those of the settings; what is no positive number means those."""
    try:
        seconds = float(text)
    except ValueError:
        return most_seconds
    return min(seconds, most_seconds) if seconds > 0 else most_seconds


def log_request(record: Record, seconds: float) -> None:
    """One line per request; predictions that succeed only when debugging; a failure of ours is an error."""
    is_routine = record.endpoint in QUIET or (record.status == 200 and record.endpoint in PREDICTING)
    level = logging.DEBUG if is_routine else logging.INFO
    if record.status >= 500 and record.status != 503:
        level = logging.ERROR
    if not logger.isEnabledFor(level):
        return
    fields = {
        "request_id": record.request_id,
        "method": record.environ["REQUEST_METHOD"],
        "path": record.environ["PATH_INFO"],
        "status": record.status,
        "duration_seconds": round(seconds, 6),
    }
    if record.model:
        fields["model"] = record.model
    if record.rows is not None:
        fields |= {"version": record.version, "signature": record.signature, "rows": record.rows}
    # Made by hand: `logger.log` would look for the line of code that calls it, each time.
    entry = logging.LogRecord(logger.name, level, __file__, 0, "Request answered", None, None)
    entry.fields = fields
    logger.handle(entry)
