"""One record per request: its id, its times, and what the log and the metrics tell of it."""

import logging
import os
import re
import time
from dataclasses import dataclass

from flask import Flask, Response, g, request

from service.metrics import PROTOCOLS, Metrics

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
# Seconds that the client is willing to wait; a number such as 0.5.
TIMEOUT_HEADER = "X-Request-Timeout"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked for every few seconds by machines; logged only when debugging.
QUIET = frozenset({"health.live", "health.ready", "health.metrics", "pages.static"})


@dataclass(slots=True)
class Record:
    """What is known of the request in hand.

    Attributes:
        request_id: the client's own or a new one; the answer carries it.
        started: clock of `time.monotonic`.
        deadline: when the client waits no longer, by the same clock.
        protocol: which one the request speaks; one of `PROTOCOLS`.
        model: name of the served model that was asked, `unknown` for another name, "" where none is concerned.
        version, signature, rows: of a prediction.
    """

    request_id: str
    started: float
    deadline: float
    protocol: str = "http"
    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int | None = None


def watch_requests(app: Flask, metrics: Metrics, timeout_seconds: float) -> None:
    """Gives every request a record, and logs and counts it when it has been answered.

    Args:
        app: the application.
        metrics: where requests are counted.
        timeout_seconds: how long a request may take, unless the client gives less time.
    """

    @app.before_request
    def begin() -> None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        started = time.monotonic()
        wanted = request.headers.get(TIMEOUT_HEADER)
        seconds = timeout_seconds if wanted is None else parse_timeout(wanted, timeout_seconds)
        identity = given if REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
        g.record = Record(identity, started, started + seconds)
        g.record.protocol = protocol_of(request.blueprint)
        metrics.began(g.record.protocol)

    @app.after_request
    def finish(response: Response) -> Response:
        record: Record = g.record
        seconds = time.monotonic() - record.started
        endpoint = request.endpoint or "other"
        response.headers[REQUEST_ID_HEADER] = record.request_id
        version = "" if record.version is None else str(record.version)
        labels = (record.protocol, endpoint, record.model, version, record.signature)
        metrics.answered(labels, str(response.status_code), seconds)
        log_request(record, endpoint, response.status_code, seconds)
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        if "record" in g:
            metrics.ended(g.record.protocol)


def protocol_of(blueprint: str | None) -> str:
    """The protocol of the routes in a blueprint."""
    return blueprint if blueprint in PROTOCOLS else "http"


def parse_timeout(text: str, most_seconds: float) -> float:
    """The seconds that a client gives, at most those of the settings; what is no positive number means those."""
    try:
        seconds = float(text)
    except ValueError:
        return most_seconds
    return min(seconds, most_seconds) if seconds > 0 else most_seconds


def log_request(record: Record, endpoint: str, status: int, seconds: float) -> None:
    """One line per request; a failure of ours is an error."""
    level = logging.DEBUG if endpoint in QUIET else logging.INFO
    if status >= 500 and status != 503:
        level = logging.ERROR
    if not logger.isEnabledFor(level):
        return
    fields = {
        "request_id": record.request_id,
        "method": request.method,
        "path": request.path,
        "status": status,
        "duration_seconds": round(seconds, 6),
    }
    if record.model:
        fields["model"] = record.model
    if record.rows is not None:
        fields |= {"version": record.version, "signature": record.signature, "rows": record.rows}
    logger.log(level, "Request answered", extra={"fields": fields})
