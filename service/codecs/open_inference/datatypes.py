"""The Open Inference Protocol's names of types, and shapes as its messages show them."""

from collections.abc import Iterable
from typing import Any

from service.codecs.json.document import dump
from service.engine.signature import TensorSpec
from service.errors import InvalidPayload

DATATYPES = {
    "DT_BOOL": "BOOL",
    "DT_UINT8": "UINT8",
    "DT_UINT16": "UINT16",
    "DT_UINT32": "UINT32",
    "DT_UINT64": "UINT64",
    "DT_INT8": "INT8",
    "DT_INT16": "INT16",
    "DT_INT32": "INT32",
    "DT_INT64": "INT64",
    "DT_HALF": "FP16",
    "DT_BFLOAT16": "BF16",
    "DT_FLOAT": "FP32",
    "DT_DOUBLE": "FP64",
    "DT_STRING": "BYTES",
}

# The codecs of MLServer's clients whose values are sent as the protocol has them anyway, and the one for strings that
# are sent in base64. Their names come as the parameter `content_type`.
PLAIN, PLAIN_STRINGS, BASE64 = ("np", "pd"), "str", "base64"


def list_codecs(spec: TensorSpec) -> tuple[str, ...]:
    """The codecs that are honoured for an input or output."""
    return (*PLAIN, PLAIN_STRINGS, BASE64) if spec.dtype == "DT_STRING" else PLAIN


def check_codec(codec: Any, place: str, honoured: tuple[str, ...]) -> None:
    """Refuses a codec that would change what the values mean.

    Args:
        codec: the parameter `content_type`, or None.
        place: what has it, as a sentence begins with it.
        honoured: the codecs that it may be.

    Raises:
        InvalidPayload: it is none of them.
    """
    if codec is not None and codec not in honoured:
        raise InvalidPayload(
            f"{place} has {dump(codec)} as parameter 'content_type', but only these are honoured there: "
            f"{', '.join(honoured)}"
        )


def name_datatype(spec: TensorSpec) -> str:
    """The protocol's name of a tensor's type; a name of the same make for types that it does not have."""
    return DATATYPES.get(spec.dtype) or spec.type_name.upper()


def show_shape(shape: Iterable[int] | None) -> str:
    """A shape in a sentence, e.g. `[-1,28,28]`."""
    return "any shape" if shape is None else f"[{','.join(map(str, shape))}]"
