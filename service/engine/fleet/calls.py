"""A call as TensorFlow Serving's messages and codes say it."""

from typing import Any

import grpc

from service.engine.interface import Arrays, Call
from service.engine.model import InvalidInput
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import decode_tensor, encode_tensor
from service.errors import (
    RETRY_AFTER_SECONDS,
    DeadlineExceeded,
    InvalidPayload,
    ModelUnavailable,
    QueueFull,
    UnknownModel,
)

# By this, a server says when to ask again; Kiln's own does.
PUSHBACK = "grpc-retry-pushback-ms"
# The fleet is trusted not to answer with more than it has memory for; protocol buffers end here anyway.
MOST_BYTES = 2**31
TOO_LARGE = "larger than max"
Code = grpc.StatusCode


class FleetFailed(Exception):
    """TensorFlow Serving failed in a way that is not the request's fault."""


def encode_call(call: Call) -> Any:
    """A call as a `PredictRequest` for its very version."""
    request = load_protos("tensorflow_serving.apis.predict_pb2").PredictRequest()
    request.model_spec.name = call.model
    request.model_spec.version.value = call.version
    request.model_spec.signature_name = call.signature
    for name, array in call.inputs.items():
        encode_tensor(array, request.inputs[name])
    request.output_filter.extend(call.outputs)
    return request


def decode_outputs(response: Any, call: Call) -> Arrays:
    """The arrays in a `PredictResponse`.

    Raises:
        FleetFailed: they cannot be read, or one is missing.
    """
    missing = [name for name in call.outputs if name not in response.outputs]
    if missing:
        raise FleetFailed(f"The answer for model '{call.model}' lacks outputs: {', '.join(missing)}")
    names = call.outputs or sorted(response.outputs)
    try:
        return {name: decode_tensor(response.outputs[name], MOST_BYTES) for name in names}
    except InvalidPayload as error:
        raise FleetFailed(f"The answer for model '{call.model}' cannot be read: {error}") from None


def translate(error: grpc.RpcError, call: Call) -> Exception:
    """The engine's error for one of gRPC.

    Args:
        error: what the call raised.
        call: what was asked.

    Returns:
        An error that `Engine.call` may raise, or `FleetFailed`, whose text is for the log.
    """
    code, details = error.code(), error.details() or ""
    if code in (Code.INVALID_ARGUMENT, Code.OUT_OF_RANGE):
        return InvalidInput(details)
    if code is Code.NOT_FOUND:
        return UnknownModel(details)
    if code is Code.DEADLINE_EXCEEDED:
        return deadline_exceeded(call)
    if code is Code.RESOURCE_EXHAUSTED:
        if TOO_LARGE in details:
            return InvalidInput(f"TensorFlow Serving takes no request of this size: {details}")
        return QueueFull(f"Model '{call.model}' has too many requests. Try again shortly.", RETRY_AFTER_SECONDS)
    if code in (Code.UNAVAILABLE, Code.CANCELLED):
        milliseconds = pushback(error)
        wait = RETRY_AFTER_SECONDS if milliseconds is None else max(1, round(milliseconds / 1000))
        return ModelUnavailable(
            f"The TensorFlow Serving that runs model '{call.model}' does not answer. Try again shortly.", wait
        )
    return FleetFailed(f"TensorFlow Serving answered {code.name} for model '{call.model}': {details}")


def deadline_exceeded(call: Call) -> DeadlineExceeded:
    """The error where there was no answer in time."""
    return DeadlineExceeded(f"Model '{call.model}' did not answer before the request's deadline.")


def pushback(error: grpc.RpcError) -> int | None:
    """After how many milliseconds the server wants to be asked again, or None where it does not say."""
    for key, value in error.trailing_metadata() or ():
        if key == PUSHBACK and value.isdecimal():
            return int(value)
    return None
