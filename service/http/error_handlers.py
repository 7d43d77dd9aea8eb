"""Every error as `{"error": "sentence"}` with its status, whatever raised it."""

import orjson
from flask import Flask, Response, request
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
)

from service.errors import PayloadTooLarge, ServiceError, Unauthorized
from service.http.request_context import current
from service.http.routing import explain_path, is_inside


def register_error_handlers(app: Flask, max_body_bytes: int) -> None:
    """Registers the handlers.

    Args:
        app: the application.
        max_body_bytes: the limit that the answer to a larger body states.
    """

    @app.errorhandler(ServiceError)
    def service_error(error: ServiceError) -> Response:
        response = answer_error(str(error), error.status)
        if error.retry_after_seconds is not None:
            response.headers["Retry-After"] = str(error.retry_after_seconds)
        if isinstance(error, Unauthorized):
            response.headers["WWW-Authenticate"] = 'Bearer realm="kiln"'
        return response

    @app.errorhandler(NotFound)
    @app.errorhandler(MethodNotAllowed)
    def no_route(error: HTTPException) -> Response:
        # The application behind KILN_ADMIN_PORT has neither models nor a description of its few paths.
        is_whole = "pages.openapi" in app.view_functions
        if is_whole and is_inside(request.path):
            return service_error(explain_path(request.method, request.path))
        if isinstance(error, MethodNotAllowed):
            allowed = ", ".join(sorted(error.valid_methods or ()))
            response = answer_error(f"{request.path} does not take {request.method}. Allowed: {allowed}.", 405)
            response.headers["Allow"] = allowed
            return response
        paths = sorted(rule.rule for rule in app.url_map.iter_rules())
        what = "/openapi.json describes what there is" if is_whole else f"Paths: {', '.join(paths)}"
        return answer_error(f"There is nothing at {request.path[:256]}. {what}.", 404)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_error: RequestEntityTooLarge) -> Response:
        return service_error(PayloadTooLarge(max_body_bytes))

    # What gunicorn raises while a chunked body is read; what is wrong with the head, it answers itself.
    @app.errorhandler(ParseException)
    @app.errorhandler(NoMoreData)
    def unreadable(error: ParseException | NoMoreData) -> Response:
        return answer_error(f"The request's body cannot be read: {error}.", 400)

    @app.errorhandler(InternalServerError)
    def internal(_error: InternalServerError) -> Response:
        return answer_error(f"Internal error. The log has its cause under request id {current().request_id}.", 500)

    @app.errorhandler(HTTPException)
    def other(error: HTTPException) -> Response:
        return answer_error(error.description or error.name, error.code or 500)


def answer_error(sentence: str, status: int) -> Response:
    """The answer for an error, whose sentence the log gets too."""
    current().reason = sentence
    return Response(orjson.dumps({"error": sentence}), status, content_type="application/json")
