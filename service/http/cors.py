"""Cross-origin requests: pages of other origins may ask for predictions, where the settings say so.

That goes for the two protocols under /v1 and /v2; metrics and pages stay with their own origin.

Source:
    TensorFlow Serving, `http_rest_api_util.cc`, for the headers; the Fetch standard, for what a preflight asks.
"""

from flask import Flask, Response, request

from service.errors import MalformedRequest

HEADERS = {
    "Access-Control-Allow-Origin": "*",
    # Not PUT and DELETE: administration is not for pages of other origins.
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": (
        "Content-Type, Authorization, Inference-Header-Content-Length, X-Request-ID, X-Request-Timeout"
    ),
    "Access-Control-Expose-Headers": "Inference-Header-Content-Length, Retry-After, X-Request-ID",
    "Access-Control-Max-Age": "600",
}
SCHEMES = ("http://", "https://")
SHARED = ("/v1/", "/v2/")


def allow_origins(app: Flask) -> None:
    """Answers preflights, and adds the headers to every answer.

    Args:
        app: the application.
    """

    @app.before_request
    def preflight() -> Response | None:
        if request.method != "OPTIONS" or not is_shared(request.path):
            return None
        origin = request.headers.get("Origin", "")
        if not origin.startswith(SCHEMES):
            raise MalformedRequest(f"OPTIONS needs the header Origin, with http:// or https://. Got: '{origin[:256]}'")
        return Response(status=200)

    @app.after_request
    def allow(response: Response) -> Response:
        if is_shared(request.path):
            response.headers.extend(HEADERS)
        return response


def is_shared(path: str) -> bool:
    """Whether pages of other origins may ask for this."""
    return path.lower().startswith(SHARED)
