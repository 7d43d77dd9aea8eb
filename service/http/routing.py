"""The paths of TensorFlow Serving's REST API: without regard to case, and wrong ones answered as it answers them."""

import re

from werkzeug.routing import BaseConverter

from service.engine.interface import LARGEST_VERSION
from service.errors import InvalidPayload, MalformedRequest, ServiceError

# The fixed words of a route, and between them the model's name and a label, which stay as they are.
ROUTE = re.compile(
    r"(/v1/models)(?:(/[^/:]+)(/versions/[0-9]+|/labels)?((?<=/labels)/[^/:]+)?(/metadata|:[a-z]+)?)?", re.IGNORECASE
)
# The two routes of which a service gets most of its requests.
PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?:predict", re.ASCII)
INFER = re.compile(r"/v2/models/([^/:]+)(?:/versions/([0-9]+))?/infer", re.ASCII)


class ModelConverter(BaseConverter):
    """A model's name in a path."""

    regex = "[^/:]+"


class LabelConverter(ModelConverter):
    """A version's label in a path."""


class VersionConverter(BaseConverter):
    """A version in a path, as the digits that were sent."""

    regex = "[0-9]+"


def fold_case(path: str) -> str:
    """The path with the fixed words of the API in lower case; names and labels stay as they are."""
    match = ROUTE.fullmatch(path)
    if not match:
        return path
    start, name, version, label, end = match.groups(default="")
    return f"{start.lower()}{name}{version.lower()}{label}{end.lower()}"


def find_prediction(method: str, path: str) -> tuple[str, dict[str, str]] | None:
    """The endpoint of a prediction and what its view is called with; None for every other request.

    Args:
        method: the request's.
        path: its `PATH_INFO`. One that is not ASCII is left to Flask, which decodes it.
    """
    if method != "POST" or not path.isascii():
        return None
    names: tuple[str, ...]
    if match := PREDICT.fullmatch(path):
        names, endpoint = ("model", "version", "label"), "tensorflow_serving.predict"
    elif match := INFER.fullmatch(path):
        names, endpoint = ("model", "version"), "open_inference.infer"
    else:
        return None
    return endpoint, {name: text for name, text in zip(names, match.groups(), strict=True) if text is not None}


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
    """The error for a path of the API that is not a route of it, or not with this method."""
    return MalformedRequest(f"Malformed request: {method} {path}")
