"""A request for a prediction in TensorFlow Serving's JSON, read in the order in which its mistakes are reported.

First comes what needs no model: that it is JSON, an object, and what `signature_name` says. Then the caller looks up
the model and the signature, and asks for the arrays.
"""

from functools import partial
from typing import Any

from service.codecs.json.document import dump, parse_document
from service.codecs.json.numbers import NumberDocument, open_numbers
from service.codecs.json.tensors import decode_inputs, decode_instances
from service.engine.interface import Arrays
from service.engine.signature import DEFAULT_SIGNATURE, Signature
from service.errors import InvalidPayload


class PredictRequest:
    """A body of `:predict`, which can be decoded once.

    Args:
        body: as it came.
        most_bytes: the largest body that is accepted.
        nan_tokens: whether `NaN`, `Infinity` and `-Infinity` are taken as numbers.

    Raises:
        InvalidJson: the body is not valid JSON.
        InvalidPayload: it is not an object, or its `signature_name` no string, or it would take too much memory.

    Attributes:
        signature_name: the signature that it names.
    """

    __slots__ = ("_document", "_quick", "signature_name")

    def __init__(self, body: bytes, most_bytes: int, *, nan_tokens: bool = False) -> None:
        # The body for the quick way, and the parser of the strict one, which takes over where there is any doubt.
        self._quick: tuple[NumberDocument, partial[Any]] | None = None
        numbers = open_numbers(body, most_bytes)
        if numbers is not None:
            self._quick = numbers, partial(parse_document, body, most_bytes, nan_tokens=nan_tokens)
            self.signature_name = numbers.signature_name or DEFAULT_SIGNATURE
            return
        self._document: Any = parse_document(body, most_bytes, nan_tokens=nan_tokens)
        self.signature_name = read_signature_name(self._document)

    def decode(self, signature: Signature) -> tuple[Arrays, bool]:
        """Gives one array per input, and whether the request is in row format, and so its answer.

        Args:
            signature: what the arrays are for.

        Raises:
            InvalidPayload: the body does not fit the signature.
            UnsupportedType: JSON has no form for an input's type.
        """
        # The body and what was parsed are let go before the next step takes memory, and before the model runs.
        if self._quick is not None:
            numbers, parse = self._quick
            self._quick = None
            by_rows = numbers.key == "instances"
            arrays = numbers.decode(signature)
            del numbers
            self._document = parse() if arrays is None else None
            del parse
            if arrays is not None:
                return arrays, by_rows
        document, self._document = self._document, None
        return decode_document(document, signature)


def read_signature_name(document: Any) -> str:
    """The signature that a request names.

    Raises:
        InvalidPayload: the body is not an object, or the name no string.
    """
    if not isinstance(document, dict):
        raise InvalidPayload(f"JSON Value: {dump(document)} Is not object")
    name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise InvalidPayload(
            f"JSON Value: {dump(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name or DEFAULT_SIGNATURE


def decode_document(document: dict[str, Any], signature: Signature) -> tuple[Arrays, bool]:
    """The strict way: one array per input, and whether the request is in row format.

    Raises:
        InvalidPayload: the body does not fit the signature.
        UnsupportedType: JSON has no form for an input's type.
    """
    rows, columns = "instances" in document, "inputs" in document
    if rows and columns:
        raise InvalidPayload(
            f"JSON Value: {dump(document)} Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist "
        )
    if rows:
        return decode_instances(document, signature), True
    if columns:
        return decode_inputs(document, signature), False
    raise InvalidPayload("Missing 'inputs' or 'instances' key")
