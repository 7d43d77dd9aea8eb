"""The quick way for the bodies that nearly all requests have: numbers, straight from the text into arrays.

simdjson parses the text, and copies the numbers of nested lists into one buffer without making a Python object of
any. Where there is anything else among them (strings, bools, mistakes), the quick way says so, and the strict one of
`json_tensors` takes over. What the quick way takes, the strict one would take too, to the same array:

- Numbers: simdjson's buffers refuse what is not a number, and for integer types what has a point or an exponent.
- Lists: a buffer holds the numbers of whatever lists there were, so the lists are checked apart. Every list that the
  shape promises is visited and has the length of its axis, and the text has no more `[` than lists were visited.
- Keys: those that mean something stand once; what others hold has no lists, or the number of `[` would differ.
"""

from itertools import accumulate
from operator import mul
from typing import Any, Literal

import numpy as np
from simdjson import Array, Object, Parser

from service.codecs.json.size import check_structure, count_byte
from service.codecs.json.values import MOST_AXES, to_floats
from service.engine.interface import Arrays
from service.engine.signature import Signature, TensorSpec

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # which simdjson skips, though it is not valid JSON
# Shorter bodies are read as quickly by the strict way; rows that are shorter objects too, in a third of the memory.
LEAST_WORTHWHILE_BYTES = 512
# Up to there `bytes.count` is quicker than numpy.
SHORT_BYTES = 16_384
# simdjson's name of the buffer for a kind of numpy type, and what numpy calls its numbers.
BUFFERS: dict[str, tuple[Literal["d", "i", "u"], type[np.generic]]] = {
    "f": ("d", np.float64),
    "i": ("i", np.int64),
    "u": ("u", np.uint64),
}
# A parser keeps 13 times the bytes of the largest body that it has seen. Fresh memory for it costs as much as the
# parsing of 32 images: so a few parsers are kept, of bodies up to a limit, 27 MB at most.
MOST_IDLE, LARGEST_BODY_FOR_REUSE = 4, 2**19

# Parsers at rest. A parser has one document at a time, so each request takes one for itself.
idle: list[Parser] = []


class NumberDocument:
    """A parsed body whose numbers have not been read yet, which can be done once.

    Args:
        parser: whose document it is.
        root: the document.
        body: its text.

    Attributes:
        key: `instances` or `inputs`; None where the body is not of the kind that the quick way takes.
        signature_name: as it stands there, or "".
    """

    __slots__ = ("_body", "_parser", "_values", "key", "signature_name")

    def __init__(self, parser: Parser, root: Any, body: bytes) -> None:
        keys = list(root) if type(root) is Object else []
        name = root["signature_name"] if "signature_name" in keys else ""
        is_clear = keys.count("instances") + keys.count("inputs") == 1 and keys.count("signature_name") < 2
        self.key = ("inputs" if "inputs" in keys else "instances") if is_clear and type(name) is str else None
        self.signature_name = name
        self._values: Any = root[self.key] if self.key else None
        self._parser, self._body = parser, body

    def decode(self, signature: Signature) -> Arrays | None:
        """Gives one array per input, of the types that the signature states; None where there is any doubt.

        Args:
            signature: what the arrays are for.
        """
        arrays = self._decode(signature)
        self._values = None
        if len(self._body) <= LARGEST_BODY_FOR_REUSE and len(idle) < MOST_IDLE:
            idle.append(self._parser)
        return arrays

    def _decode(self, signature: Signature) -> Arrays | None:
        """The arrays, or None."""
        specs = signature.inputs
        is_scalar = 1 if self.key == "instances" else 0
        for name, spec in specs.items():
            # An object with the one key `b64` stands for bytes, whatever the inputs are called.
            if not spec.has_json or spec.numpy_dtype.kind not in "fiu" or name == "b64":
                return None
            if len(specs) > 1 and spec.shape is not None and len(spec.shape) <= is_scalar:
                return None
        try:
            arrays, lists = self._read(signature)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None
        return arrays if lists == count_brackets(self._body) else None

    def _read(self, signature: Signature) -> tuple[Arrays, int]:
        """The arrays, and how many lists there should be."""
        values = self._values
        if self.key == "inputs" and type(values) is Object:
            return read_columns(values, signature)
        if self.key == "instances" and type(values[0]) is Object:
            if len(self._body) < LEAST_WORTHWHILE_BYTES * len(values):
                raise ValueError("short rows")
            return read_rows(values, signature)
        spec = signature.bare_input
        if spec is None:
            raise ValueError("no names")
        array, lists = read_tensor(values, spec)
        return {spec.name: array}, lists


def open_numbers(body: bytes, most_bytes: int) -> NumberDocument | None:
    """Parses a body; None where it is not valid JSON, or not of the kind that the quick way takes.

    Args:
        body: as it came.
        most_bytes: the largest body that is accepted.

    Raises:
        InvalidPayload: it would take too much memory.
    """
    check_structure(body, most_bytes)
    if len(body) < LEAST_WORTHWHILE_BYTES or body.startswith(BYTE_ORDER_MARK):
        return None
    parser = take_parser() if len(body) <= LARGEST_BODY_FOR_REUSE else Parser()
    try:
        document = NumberDocument(parser, parser.parse(body), body)
    except (ValueError, RuntimeError):  # no JSON, lists too deep, integers beyond 64 bits
        return None
    return None if document.key is None else document


def take_parser() -> Parser:
    """A parser at rest, or a new one."""
    try:
        return idle.pop()
    except IndexError:
        return Parser()


def read_columns(values: Object, signature: Signature) -> tuple[Arrays, int]:
    """The arrays in an object with a tensor per input, and how many lists there should be."""
    names = read_names(values, signature)
    arrays, lists = {}, 0
    for name, spec in signature.inputs.items():
        if name in names:
            value: Any = values[name]
            arrays[name], count = read_tensor(value, spec)
            lists += count
    return arrays, lists


def read_rows(rows: Array, signature: Signature) -> tuple[Arrays, int]:
    """The arrays in objects with a list per input, and how many lists there should be."""
    objects: list[Any] = list(rows)
    names = read_names(objects[0], signature)
    if not names <= signature.inputs.keys() or set(map(len, objects)) != {len(names)}:
        raise ValueError("other keys than inputs")
    arrays, lists = {}, 1
    for name, spec in signature.inputs.items():
        if name not in names:
            continue
        parts = [read_numbers(row[name], spec.numpy_dtype) for row in objects]
        [shape] = {shape for _, shape in parts}  # ValueError where there are several
        numbers = np.concatenate([numbers for numbers, _ in parts])
        arrays[name] = fit(numbers, (len(parts), *shape), spec)
        lists += len(parts) * count_lists(shape)
    return arrays, lists


def read_names(values: Object, signature: Signature) -> set[str]:
    """An object's keys, each of which stands there once, and with all that the signature requires among them."""
    keys = list(values)
    names = set(keys)
    if len(keys) != len(names) or not names >= signature.required:
        raise ValueError("a key stands twice, or a required one is missing")
    return names


def read_tensor(value: Array, spec: TensorSpec) -> tuple[np.ndarray, int]:
    """One input's whole tensor, and how many lists it should be made of."""
    numbers, shape = read_numbers(value, spec.numpy_dtype)
    return fit(numbers, shape, spec), count_lists(shape)


def read_numbers(value: Array, dtype: np.dtype) -> tuple[np.ndarray, tuple[int, ...]]:
    """The numbers in nested lists as doubles or 64-bit integers, and the shape of the lists.

    Whether there are other lists than this shape needs remains to be seen.
    """
    name, wide = BUFFERS[dtype.kind]
    numbers = np.frombuffer(value.as_buffer(of_type=name), wide)
    shape = []
    first: Any = value
    while type(first) is Array:
        shape.append(len(first))
        first = first[0]
    if len(shape) > MOST_AXES or not has_lengths(value, shape):
        raise ValueError("lists of different lengths")
    return numbers, tuple(shape)


def has_lengths(value: Any, shape: list[int]) -> bool:
    """Whether the list and all lists in it that the shape promises have their lengths."""
    if len(value) != shape[0]:
        return False
    if len(shape) == 2:
        return set(map(len, value)) == {shape[1]}
    return len(shape) == 1 or all(has_lengths(item, shape[1:]) for item in value)


def count_lists(shape: tuple[int, ...]) -> int:
    """How many lists an array of this shape is made of."""
    return sum(accumulate(shape[:-1], mul, initial=1))


def count_brackets(body: bytes) -> int:
    """How many `[` there are in a text."""
    if len(body) < SHORT_BYTES:
        return body.count(b"[")
    return count_byte(body, ord("["))


def fit(numbers: np.ndarray, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray:
    """The numbers as an array of the spec's type.

    Raises:
        ValueError: they are out of its range, or not as many.
    """
    dtype = spec.numpy_dtype
    array = to_floats(numbers, dtype) if dtype.kind == "f" else to_range(numbers, dtype)
    if array is None:
        raise ValueError("out of range")
    return array.reshape(shape)


def to_range(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """64-bit integers to the type; None where one is out of its range."""
    if numbers.dtype == dtype:
        return numbers
    limits = np.iinfo(dtype)
    if numbers.min() < limits.min or numbers.max() > limits.max:
        return None
    return numbers.astype(dtype)
