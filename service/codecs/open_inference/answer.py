"""Arrays to the Open Inference Protocol's answer: JSON, and behind it the outputs that are wanted as bytes."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from service.codecs.open_inference.binary import encode_binary
from service.codecs.open_inference.data import encode_data
from service.codecs.open_inference.datatypes import BASE64, DATATYPES, check_codec, list_codecs, name_datatype
from service.engine.interface import Arrays
from service.engine.signature import Signature
from service.errors import InvalidPayload, UnsupportedType

NONE: Mapping[str, Any] = {}


def choose_outputs(
    asked: dict[str, bool], signature: Signature, *, binary_output: bool, codecs: Mapping[str, Any] = NONE
) -> dict[str, bool]:
    """The outputs to answer with, by name, and whether as binary data.

    Args:
        asked: the same as the request has it; empty for all.
        signature: what it has to offer.
        binary_output: whether as binary data where the request names no outputs.
        codecs: what outputs are to be encoded with, by their names, where the request says so.

    Raises:
        InvalidPayload: the signature does not have an output that the request asks for, or not by that codec.
        UnsupportedType: an output's type has no form in JSON, or none at all.
    """
    wanted = asked or dict.fromkeys(signature.outputs, binary_output)
    for name, is_binary in wanted.items():
        spec = signature.outputs.get(name)
        if spec is None:
            known = ", ".join(f"'{known}'" for known in signature.outputs)
            raise InvalidPayload(f"Unknown output '{name[:256]}'. Outputs: {known}")
        check_codec(codecs.get(name), f"Output '{name}'", list_codecs(spec))
        if spec.dtype not in DATATYPES:
            raise UnsupportedType(f"Output '{name}' is of type {spec.type_name}, which the protocol does not have")
        if not is_binary and not spec.has_json:
            raise UnsupportedType(
                f"Output '{name}' is of type {name_datatype(spec)}, for which JSON has no form. "
                "Ask for it as binary data."
            )
    return wanted


def encode_answer(
    head: dict[str, Any],
    wanted: dict[str, bool],
    arrays: Arrays,
    signature: Signature,
    *,
    nan_tokens: bool,
    codecs: Mapping[str, Any] = NONE,
) -> tuple[bytes, int | None]:
    """Writes an answer.

    Args:
        head: the keys before `outputs`.
        wanted: the outputs in their order, and whether as binary data.
        arrays: one per output.
        signature: what the outputs are.
        nan_tokens: whether NaN and infinity are written as tokens.
        codecs: what outputs are encoded with, as `choose_outputs` takes them.

    Returns:
        The body, and the length of the JSON at its start; None where there is nothing behind it.

    Raises:
        NonFiniteOutput: an output that is wanted as JSON holds NaN or infinity.
        InvalidPayload: a string that is wanted as JSON is not UTF-8.
    """
    outputs = []
    blobs: list[bytes | memoryview] = []
    for name, is_binary in wanted.items():
        array = arrays[name]
        output: dict[str, Any] = {
            "name": name,
            "datatype": DATATYPES[signature.outputs[name].dtype],
            "shape": array.shape,
        }
        parameters: dict[str, Any] = {}
        if codecs.get(name) == BASE64:
            array = encode_elements(array)
            parameters["content_type"] = BASE64
        if is_binary:
            blob = encode_binary(array)
            parameters["binary_data_size"] = blob.nbytes if isinstance(blob, memoryview) else len(blob)
            blobs.append(blob)
        else:
            output["data"] = encode_data(name, array, nan_tokens=nan_tokens)
        if parameters:
            output["parameters"] = parameters
        outputs.append(output)
    text = write_json(head | {"outputs": outputs})
    if not blobs:
        return text, None
    return b"".join([text, *blobs]), len(text)


def encode_elements(array: np.ndarray) -> np.ndarray:
    """Strings in base64, as MLServer's codec has them."""
    encoded = np.empty(array.size, object)
    encoded[:] = [base64.b64encode(string) for string in array.ravel().tolist()]
    return encoded.reshape(array.shape)


def write_json(answer: dict[str, Any]) -> bytes:
    """Writes JSON; lists of floats among the data may hold NaN and infinity, which become tokens."""
    data = [output.get("data") for output in answer["outputs"]]
    if any(type(values) is list and values and type(values[0]) is float for values in data):
        return json.dumps(answer, default=np.ndarray.tolist).encode()
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
