"""Probes and metrics: `/v2/health/live`, `/v2/health/ready`, `/metrics`.

Source:
    Open Inference Protocol, `inference_rest.md`, for the paths and the keys `live` and `ready`.
"""

from typing import Any

import orjson
from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.http.readiness import Readiness
from service.metrics import Metrics


def create_blueprint(readiness: Readiness, metrics: Metrics) -> Blueprint:
    """Makes the routes.

    Args:
        readiness: whether requests should be sent here.
        metrics: what `/metrics` shows.
    """
    routes = Blueprint("health", __name__)

    @routes.get("/v2/health/live")
    def live() -> Response:
        trouble = readiness.trouble()
        return answer({"live": False, "reason": trouble}, 503) if trouble else answer({"live": True}, 200)

    @routes.get("/v2/health/ready")
    def ready() -> Response:
        obstacles = readiness.obstacles()
        if not obstacles:
            return answer({"live": True, "ready": True}, 200)
        return answer({"live": not readiness.trouble(), "ready": False} | explain(obstacles), 503)

    @routes.get("/metrics", endpoint="metrics")
    def show_metrics() -> Response:
        return Response(metrics.expose(), content_type=CONTENT_TYPE_LATEST)

    return routes


def explain(obstacles: dict[str, str]) -> dict[str, Any]:
    """Why the service is not ready, in an answer's keys."""
    models = {name: sentence for name, sentence in obstacles.items() if name}
    reason = obstacles.get("") or "; ".join(f"model {name}: {sentence}" for name, sentence in models.items())
    return {"reason": reason, "models": models}


def answer(value: dict[str, Any], status: int) -> Response:
    """A JSON answer that no proxy keeps."""
    response = Response(orjson.dumps(value), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
