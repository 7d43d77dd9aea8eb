"""The Open Inference Protocol's names of types, and shapes as its messages show them."""

from collections.abc import Iterable

from service.engine.signature import TensorSpec

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


def name_datatype(spec: TensorSpec) -> str:
    """The protocol's name of a tensor's type; a name of the same make for types that it does not have."""
    return DATATYPES.get(spec.dtype) or spec.type_name.upper()


def show_shape(shape: Iterable[int] | None) -> str:
    """A shape in a sentence, e.g. `[-1,28,28]`."""
    return "any shape" if shape is None else f"[{','.join(map(str, shape))}]"
