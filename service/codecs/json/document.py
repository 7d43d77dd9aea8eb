"""A request body as a JSON document, strictly: UTF-8, one value, finite numbers, nothing behind it.

Of a key that stands twice in an object the last one counts.
"""

import json
import math
import re
from typing import Any

import orjson

from service.codecs.json.size import check_structure
from service.errors import InvalidJson

DUMP_BYTES = 256
NOT_A_NUMBER = re.compile(rb"-?(NaN|Infinity)")
# A character beyond 16 bits is written as two escapes; half of one is none, but Python's parser lets it pass.
HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")
# What a document may take where nobody says how large it may be: labels, say, or what to load.
SMALL_BODY_BYTES = 2**20
LEAST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
TYPE_NAMES: dict[type, str] = {str: "String", list: "Array", dict: "Object"}


def parse_document(body: bytes, most_bytes: int = SMALL_BODY_BYTES, *, nan_tokens: bool = False) -> Any:
    """Parses a body.

    Args:
        body: UTF-8 text.
        most_bytes: the largest body that is accepted; a text that would take several times that in memory is refused.
        nan_tokens: whether `NaN`, `Infinity` and `-Infinity` are taken as numbers.

    Returns:
        Dicts, lists, strings, numbers, bools and None.

    Raises:
        InvalidJson: it is not valid JSON; the sentence names the offset in bytes.
        InvalidPayload: it would take too much memory.
    """
    check_structure(body, most_bytes)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if nan_tokens and NOT_A_NUMBER.search(body):
            return parse_tokens(body, error)
        raise InvalidJson(f"JSON Parse error: {explain(error, body)}") from None


def parse_tokens(body: bytes, failure: orjson.JSONDecodeError) -> Any:
    """Parses a body with `NaN` or `Infinity` in it, which only Python's own parser takes; `failure` is orjson's."""
    try:
        text = body.decode()
        value = json.loads(text, parse_float=to_finite, parse_int=to_integer)
        if "\\u" in text and HALF_CHARACTER.search(json.dumps(value, ensure_ascii=False)):
            raise ValueError("half of a character")
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        raise InvalidJson(f"JSON Parse error: Invalid value. at offset: {offset} ({error.msg})") from None
    except (ValueError, RecursionError):
        raise InvalidJson(f"JSON Parse error: {explain(failure, body)}") from None
    return value


def to_finite(digits: str) -> float:
    """A number with a point or exponent; `Infinity` must be said, not computed."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:32]} is infinity when parsed as double")
    return number


def to_integer(digits: str) -> int | float:
    """A whole number; beyond 64 bits it is a float, as orjson has it."""
    if len(digits) <= 20 and LEAST_INTEGER <= int(digits) <= LARGEST_INTEGER:
        return int(digits)
    return to_finite(digits)


def explain(error: orjson.JSONDecodeError, body: bytes) -> str:
    """Says what is wrong, in TensorFlow Serving's words where it has some."""
    if not body.strip():
        return "The document is empty"
    if NOT_A_NUMBER.match(body, max(error.pos - 1, 0)) or NOT_A_NUMBER.match(body, error.pos):
        return f"NaN and Infinity are not JSON; numbers must be finite. at offset: {error.pos}"
    return f"Invalid value. at offset: {error.pos} ({error.msg})"


def dump(value: Any) -> str:
    """The value as JSON, cut at 256 bytes, to be quoted in a message."""
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    try:
        text = orjson.dumps(value)
    except TypeError:
        return "[...]" if isinstance(value, list) else "{...}"  # nested deeper than orjson writes
    return text[:DUMP_BYTES].decode("utf-8", "ignore")


def type_name(value: Any) -> str:
    """The JSON type as TensorFlow Serving's messages name it."""
    if value is None or isinstance(value, bool):
        return str(value).replace("None", "Null")
    return TYPE_NAMES.get(type(value), "Number")
