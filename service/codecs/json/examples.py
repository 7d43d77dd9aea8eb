"""`examples` of classify and regress: JSON objects to serialized `tf.Example` messages, and results to JSON.

Source:
    TensorFlow Serving, `json_tensor.cc`, for the kinds of features and the messages.
"""

from typing import Any

import numpy as np

from service.codecs.json.answers import to_json, write
from service.codecs.json.document import dump, type_name
from service.codecs.json.values import decode_base64, is_base64
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_sizes import check_size, most_input_bytes
from service.errors import InvalidPayload

# Which list of a feature holds a JSON value.
KINDS = {bool: "int64", int: "int64", float: "float", str: "bytes", dict: "bytes"}
LARGEST_INTEGER = 2**63 - 1
LARGEST_FLOAT = float(np.finfo(np.float32).max)


def decode_examples(document: dict[str, Any], most_bytes: int) -> np.ndarray:
    """The examples of a request, each with the request's `context` before it.

    Args:
        document: a body.
        most_bytes: the largest body that is accepted; the examples may take twice that.

    Returns:
        Serialized `tf.Example`s as an object array of `bytes`, axis (example,).

    Raises:
        InvalidPayload: there are none, or one has a feature that cannot be, or the context before each takes too much.
    """
    context = encode_example(document["context"], "context") if "context" in document else b""
    if "examples" not in document:
        raise InvalidPayload(
            f"JSON Value: {dump(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise InvalidPayload(f"JSON Value: {dump(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise InvalidPayload(f"JSON Value: {dump(document)} 'examples' value is an empty array")
    check_size([(np.dtype(object), len(examples), len(examples) * len(context))], most_input_bytes(most_bytes))
    # To join two messages' bytes is to merge the messages; a feature of the example replaces one of the context.
    return np.array(
        [context + encode_example(example, f"examples[{index}]") for index, example in enumerate(examples)], object
    )


def encode_example(value: Any, place: str) -> bytes:
    """An object of features as a serialized `tf.Example`; `place` is where it stands in the body.

    Raises:
        InvalidPayload: it is not an object, or a feature cannot be.
    """
    if not isinstance(value, dict):
        raise InvalidPayload(f"Example must be JSON object but got JSON {type_name(value)} (at {place})")
    example = load_protos("tensorflow.core.example.example_pb2").Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        values = content if isinstance(content, list) else [content]
        kind = check_feature(name, values, f"{place}.{name}")
        if kind == "bytes":
            feature.bytes_list.value.extend(to_bytes(item, f"{place}.{name}") for item in values)
        elif kind == "float":
            feature.float_list.value.extend(values)
        elif kind == "int64":
            feature.int64_list.value.extend(map(int, values))  # true is 1
    serialized: bytes = example.SerializeToString()
    return serialized


def check_feature(name: str, values: list[Any], place: str) -> str | None:
    """The kind of a feature's values; None where there are none.

    Raises:
        InvalidPayload: they are of several kinds, or one has none or is out of its range.
    """
    kind = None
    for value in values:
        found = KINDS.get(type(value))
        if found is None or (type(value) is dict and not (is_base64(value) and type(value["b64"]) is str)):
            raise InvalidPayload(
                f"Feature: {name} has element with unexpected JSON type: {type_name(value)} (at {place})"
            )
        if kind not in (None, found):
            raise InvalidPayload(f"Unexpected element type in feature: {name} expecting type: {kind} (at {place})")
        kind = found
        if kind == "float" and LARGEST_FLOAT < abs(value) < float("inf"):
            raise InvalidPayload(
                f"Cannot convert JSON value: {dump(value)} to float without loss of precision. (at {place})"
            )
        if kind == "int64" and value > LARGEST_INTEGER:
            raise InvalidPayload(f"Feature: {name} has uint64 element. Only int64 is supported. (at {place})")
    return kind


def to_bytes(value: str | dict[str, str], place: str) -> bytes:
    """A string as UTF-8, or the bytes of `{"b64": "..."}`."""
    if isinstance(value, str):
        return value.encode()
    content = decode_base64(value)
    if content is None:
        raise InvalidPayload(f"Unable to base64 decode (at {place})")
    return content


def encode_classes(classes: np.ndarray | None, scores: np.ndarray | None, *, nan_tokens: bool = False) -> bytes:
    """`{"results": [[[label, score], ...], ...]}`, a list per example.

    Args:
        classes: labels as bytes, axes (example, class); None for "" everywhere.
        scores: float32, axes (example, class); None for 0 everywhere. One of the two is not None.
        nan_tokens: whether `NaN`, `Infinity` and `-Infinity` may be written.

    Raises:
        NonFiniteOutput: a score is NaN or infinite.
    """
    shape, *_ = [array.shape for array in (classes, scores) if array is not None]
    numbers = np.zeros(shape, np.float32) if scores is None else scores
    to_json("scores", numbers, nan_tokens=nan_tokens)  # refuses what JSON has no form for
    names = np.full(shape, b"", object) if classes is None else classes
    labels = [[decode_label(label) for label in row] for row in names.tolist()]
    rows = [list(zip(row, values, strict=True)) for row, values in zip(labels, numbers, strict=True)]
    return write({"results": rows}, {"scores": numbers}, nan_tokens=nan_tokens)


def decode_label(label: bytes) -> str:
    """A label as text; bytes that are no UTF-8 cannot be told in JSON."""
    return label.decode("utf-8", "replace")


def encode_values(values: np.ndarray, *, nan_tokens: bool = False) -> bytes:
    """`{"results": [...]}`, a number per example.

    Args:
        values: float32, axes (example,) or (example, 1).
        nan_tokens: whether `NaN`, `Infinity` and `-Infinity` may be written.

    Raises:
        NonFiniteOutput: a value is NaN or infinite.
    """
    flat = values.reshape(-1)
    return write({"results": to_json("outputs", flat, nan_tokens=nan_tokens)}, {"outputs": flat}, nan_tokens=nan_tokens)
