"""One record per request: its id, its times, and what the log and the metrics tell of it."""

import logging
import os
import re
import time
from dataclasses import dataclass, field

from flask import Flask, Response, g, request

from service.metrics import Metrics

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked for every few seconds by machines; logged only when debugging.
QUIET = frozenset({"health.live", "health.ready", "health.metrics", "pages.static"})


@dataclass(slots=True)
class Record:
    """What is known of the request in hand.

    Attributes:
        request_id: the client's own or a new one; the answer carries it.
        started: clock of `time.perf_counter`.
        model: name of the served model that was asked, `unknown` for another name, "" where none is concerned.
        version, signature, rows: of a prediction.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int | None = None


def watch_requests(app: Flask, metrics: Metrics) -> None:
    """Gives every request a record, and logs and counts it when it has been answered."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        g.record = Record(given if REQUEST_ID.fullmatch(given) else os.urandom(8).hex())
        metrics.in_flight.inc()

    @app.after_request
    def finish(response: Response) -> Response:
        record: Record = g.record
        seconds = time.perf_counter() - record.started
        endpoint = request.endpoint or "other"
        response.headers[REQUEST_ID_HEADER] = record.request_id
        metrics.requests.labels(record.model, endpoint, response.status_code).inc()
        metrics.request_duration.labels(record.model, endpoint).observe(seconds)
        log_request(record, endpoint, response.status_code, seconds)
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        if "record" in g:
            metrics.in_flight.dec()


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
