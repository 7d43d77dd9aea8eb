"""The paths of TensorFlow Serving's REST API: without regard to case, and wrong ones answered as it answers them."""

import re

from werkzeug.routing import BaseConverter

ROUTE = re.compile(
    r"(/v1/models)(?:(/[^/:]+)(?:(/versions/[0-9]+|/labels(?=/))?(/[^/:]+)??(/metadata|/labels|:[a-z]+)?))?",
    re.IGNORECASE,
)
LARGEST_VERSION = 2**63 - 1


class ModelConverter(BaseConverter):
    """A model's name in a path, or a label."""

    regex = "[^/:]+"


class VersionConverter(BaseConverter):
    """A version in a path, as the digits that were sent."""

    regex = "[0-9]+"
