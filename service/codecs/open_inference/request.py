"""The Open Inference Protocol's inference request: JSON, and behind it the tensors that are sent as bytes.

Source:
    KServe, `specification/protocol/inference_rest.md`; Triton Inference Server, `extension_binary_data.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.codecs.json.document import dump, parse_document
from service.codecs.open_inference.datatypes import PLAIN, PLAIN_STRINGS, check_codec
from service.errors import InvalidPayload

NONE: Mapping[str, Any] = {}
# Parameters that would change what the answer means; any other that is not known is ignored.
SHARED_MEMORY = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


@dataclass(slots=True)
class InferRequest:
    """A request that has been parsed, but not yet held against a signature.

    Attributes:
        inputs: the tensors as they stand in the JSON.
        outputs: those that are wanted, by name, and whether as binary data; empty for all.
        codecs: what outputs are to be encoded with, by their names, where the request says so.
        binary_output: whether outputs come as binary data where nothing else is said.
        binary: what follows the JSON.
        id: the client's own, to be repeated, or None.
        signature: the one that is named, or "".
        timeout_seconds: how long the client waits, or None.
    """

    inputs: list[dict[str, Any]]
    outputs: dict[str, bool]
    codecs: dict[str, Any]
    binary_output: bool
    binary: memoryview
    id: str | None
    signature: str
    timeout_seconds: float | None


def parse_request(body: bytes, header_length: int | None, most_bytes: int, *, nan_tokens: bool) -> InferRequest:
    """Parses a body.

    Args:
        body: JSON, or JSON and binary data.
        header_length: bytes of the JSON; None where there is nothing else.
        most_bytes: the largest body that is accepted.
        nan_tokens: whether NaN and Infinity are taken as numbers.

    Raises:
        InvalidJson: the JSON is none.
        InvalidPayload: it is not what the protocol has, asks for what is not supported, or would take too much memory.
    """
    if header_length is None:
        header_length = len(body)
    elif header_length > len(body):
        raise InvalidPayload(
            f"Inference-Header-Content-Length is {header_length}, but the body has only {len(body)} bytes"
        )
    # Without binary data the body is let go when it has been parsed.
    text, binary = (body, b"") if header_length == len(body) else (body[:header_length], body)
    document = parse_document(text, most_bytes, nan_tokens=nan_tokens)
    if type(document) is not dict:
        raise InvalidPayload(f"The request is {dump(document)}, but must be an object")
    parameters = read_parameters(document, "The request")
    refuse(parameters, SEQUENCE, "The request")
    check_codec(parameters.get("content_type"), "The request", (*PLAIN, PLAIN_STRINGS))
    binary_output = read_flag(parameters, "binary_data_output", "The request", default=False)
    inputs = document.get("inputs")
    if type(inputs) is not list or not all(type(tensor) is dict for tensor in inputs):
        raise InvalidPayload("The request needs a list of objects as 'inputs'")
    outputs, codecs = read_outputs(document, binary_output)
    return InferRequest(
        inputs=inputs,
        outputs=outputs,
        codecs=codecs,
        binary_output=binary_output,
        binary=memoryview(binary)[header_length:],
        id=read_text(document, "id"),
        signature=read_text(parameters, "signature_name") or "",
        timeout_seconds=read_timeout(parameters),
    )


def read_outputs(document: dict[str, Any], binary_output: bool) -> tuple[dict[str, bool], dict[str, Any]]:
    """The outputs that are wanted, and whether as binary data; and the codecs that are asked for, by output."""
    outputs = document.get("outputs")
    if not outputs:
        return {}, {}
    if type(outputs) is not list or not all(type(output) is dict for output in outputs):
        raise InvalidPayload("'outputs' must be a list of objects")
    wanted: dict[str, bool] = {}
    codecs = {}
    for output in outputs:
        name = read_text(output, "name")
        if name is None:
            raise InvalidPayload("Each of 'outputs' needs a 'name'")
        if name in wanted:
            raise InvalidPayload(f"Output '{name[:256]}' is asked for twice")
        place = f"Output '{name[:256]}'"
        parameters = read_parameters(output, place)
        refuse(parameters, SHARED_MEMORY, place)
        refuse(parameters, ("classification",), place)
        wanted[name] = read_flag(parameters, "binary_data", place, default=binary_output)
        if parameters.get("content_type") is not None:
            codecs[name] = parameters["content_type"]
    return wanted, codecs


def read_parameters(holder: dict[str, Any], place: str) -> Mapping[str, Any]:
    """The parameters of the request, an input or an output, which the sentence calls `place`."""
    parameters = holder.get("parameters")
    if parameters is None:
        return NONE
    if type(parameters) is not dict:
        raise InvalidPayload(f"{place} has parameters {dump(parameters)}, but they must be an object")
    return parameters


def refuse(parameters: Mapping[str, Any], names: tuple[str, ...], place: str) -> None:
    """Refuses parameters that ask for what there is not, rather than answer something else."""
    for name in names:
        if parameters.get(name):
            raise InvalidPayload(f"{place} has the parameter '{name}', which is not supported")


def read_flag(parameters: Mapping[str, Any], name: str, place: str, *, default: bool) -> bool:
    """A parameter that is true or false."""
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidPayload(f"{place} has {dump(value)} as parameter '{name}', but it must be true or false")
    return value


def read_text(holder: Mapping[str, Any], name: str) -> str | None:
    """A string, or None where there is nothing of that name."""
    value = holder.get(name)
    if value is not None and type(value) is not str:
        raise InvalidPayload(f"'{name}' is {dump(value)}, but must be a string")
    return value


def read_timeout(parameters: Mapping[str, Any]) -> float | None:
    """The request's timeout in seconds; it is sent in microseconds, and 0 means none."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise InvalidPayload(
            f"The request has {dump(value)} as parameter 'timeout', but it must be a whole number of microseconds"
        )
    return min(value, 2**63) / 1e6 or None
