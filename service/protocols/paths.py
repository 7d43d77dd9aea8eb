"""The paths of TensorFlow Serving's REST API: without regard to case, and wrong ones answered as it answers them."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.routing import BaseConverter

from service.errors import InvalidPayload, MalformedRequest, ServiceError

ROUTE = re.compile(r"(/v1/models)(?:(/[^/:]+)((?:/versions/[0-9]+)?(?:/metadata|:[a-z]+)?))?", re.IGNORECASE)
LABEL = re.compile(r"/v1/models/[^/:]+/labels/([^/:]+)(?:/metadata|:(?:classify|regress|predict))?", re.IGNORECASE)
LARGEST_VERSION = 2**63 - 1


class ModelConverter(BaseConverter):
    """A model's name in a path."""

    regex = "[^/:]+"


class VersionConverter(BaseConverter):
    """A version in a path, as the digits that were sent."""

    regex = "[0-9]+"


class CaseFoldingMiddleware:
    """Writes the fixed words of the API's paths in lower case before they are matched; names stay as they are.

    Args:
        application: the WSGI application behind it.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers a WSGI request."""
        match = ROUTE.fullmatch(environ.get("PATH_INFO", ""))
        if match:
            start, name, end = match.groups(default="")
            environ["PATH_INFO"] = start.lower() + name + end.lower()
        return self._application(environ, start_response)


def parse_version(digits: str | None) -> int | None:
    """The version that a path names; None for the newest.

    Raises:
        InvalidPayload: the number is larger than versions can be.
    """
    if digits is None:
        return None
    if len(digits) > 19 or int(digits) > LARGEST_VERSION:
        raise InvalidPayload(f"Failed to convert version: {digits[:64]} to numeric.")
    return int(digits)


def is_inside(path: str) -> bool:
    """Whether the path belongs to the API, right or wrong."""
    return path[:4].lower() == "/v1/"


def explain_path(method: str, path: str) -> ServiceError:
    """The error for a path of the API that is no route of it, or not with this method."""
    label = LABEL.fullmatch(path)
    if label:
        return InvalidPayload(f"Unrecognized servable version label: {label[1]}")
    return MalformedRequest(f"Malformed request: {method} {path}")
