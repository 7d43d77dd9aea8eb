"""A request body as a JSON document, strictly: UTF-8, one value, finite numbers, nothing behind it.

Of a key that stands twice in an object the last one counts.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from service.errors import InvalidJson

DUMP_BYTES = 256
NOT_A_NUMBER = re.compile(rb"-?(NaN|Infinity)")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed body.

    Attributes:
        value: dicts, lists, strings, numbers, bools and None.
        has_booleans: whether `true` or `false` may stand in it. Where none does, numpy's own conversion of lists is
            strict enough; it would take them for 1 and 0.
    """

    value: Any
    has_booleans: bool


def parse_document(body: bytes) -> Document:
    """Parses a body.

    Args:
        body: UTF-8 text.

    Raises:
        InvalidJson: it is no JSON; the sentence names the offset in bytes.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJson(f"JSON Parse error: {explain(error, body)}") from None
    return Document(value, b"true" in body or b"false" in body)


def explain(error: orjson.JSONDecodeError, body: bytes) -> str:
    """Says what is wrong, in TensorFlow Serving's words where it has some."""
    if not body.strip():
        return "The document is empty"
    if NOT_A_NUMBER.match(body, max(error.pos - 1, 0)) or NOT_A_NUMBER.match(body, error.pos):
        return f"NaN and Infinity are not JSON; numbers must be finite. at offset: {error.pos}"
    return f"Invalid value. at offset: {error.pos} ({error.msg})"


def dump(value: Any) -> str:
    """The value as JSON, cut at 256 bytes, to be quoted in a message."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return "[...]" if isinstance(value, list) else "{...}"  # nested deeper than orjson writes
    return text[:DUMP_BYTES].decode("utf-8", "ignore")


def type_name(value: Any) -> str:
    """The JSON type as TensorFlow Serving's messages name it."""
    if value is None or isinstance(value, bool):
        return str(value).replace("None", "Null")
    return {str: "String", list: "Array", dict: "Object"}.get(type(value), "Number")
