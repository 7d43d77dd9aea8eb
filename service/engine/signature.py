"""What a signature takes and gives, in plain Python: names, types and shapes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

# The signature of requests that name none.
DEFAULT_SIGNATURE = "serving_default"
# TensorFlow's type names: what numpy calls them, and what TensorFlow's messages call them.
DTYPES: dict[str, tuple[type[np.generic] | str, str]] = {
    "DT_FLOAT": (np.float32, "float"),
    "DT_DOUBLE": (np.float64, "double"),
    "DT_INT8": (np.int8, "int8"),
    "DT_INT16": (np.int16, "int16"),
    "DT_INT32": (np.int32, "int32"),
    "DT_INT64": (np.int64, "int64"),
    "DT_UINT8": (np.uint8, "uint8"),
    "DT_UINT16": (np.uint16, "uint16"),
    "DT_UINT32": (np.uint32, "uint32"),
    "DT_UINT64": (np.uint64, "uint64"),
    "DT_BOOL": (np.bool_, "bool"),
    "DT_STRING": (np.object_, "string"),
    "DT_HALF": (np.float16, "half"),
    # numpy has no bfloat16; its arrays hold the two bytes of each number, little-endian.
    "DT_BFLOAT16": ("V2", "bfloat16"),
    "DT_COMPLEX64": (np.complex64, "complex64"),
    "DT_COMPLEX128": (np.complex128, "complex128"),
}
# Types that JSON cannot carry; TensorFlow Serving refuses them there too.
WITHOUT_JSON = frozenset({"DT_HALF", "DT_BFLOAT16", "DT_COMPLEX64", "DT_COMPLEX128"})


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        name: the name by which requests and answers call it.
        dtype: TensorFlow's name of the type, e.g. `DT_FLOAT`.
        shape: one size per axis, -1 where any size goes; None where even the number of axes is unknown.
        tensor: the tensor's name in the graph, which metadata repeats.
        has_default: whether the signature has a value for this input where a request has none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    tensor: str = ""
    has_default: bool = False

    @cached_property
    def is_servable(self) -> bool:
        """Whether tensors of the type can be served; others have no `numpy_dtype`."""
        return self.dtype in DTYPES

    @cached_property
    def numpy_dtype(self) -> np.dtype:
        """The numpy type of a servable tensor; strings are arrays of `bytes` objects."""
        return np.dtype(DTYPES[self.dtype][0])

    @property
    def has_json(self) -> bool:
        """Whether JSON can carry the type."""
        return self.dtype in DTYPES and self.dtype not in WITHOUT_JSON

    @property
    def type_name(self) -> str:
        """The type as TensorFlow's messages write it, e.g. `float` or `half`."""
        return DTYPES[self.dtype][1] if self.dtype in DTYPES else self.dtype.removeprefix("DT_").lower()

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape can be the input."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            size in (-1, given) for size, given in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class Signature:
    """One way to call a model.

    Attributes:
        inputs, outputs: by name.
        method_name: as the SavedModel states it, e.g. `tensorflow/serving/predict`.
    """

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    method_name: str = "tensorflow/serving/predict"

    @cached_property
    def required(self) -> frozenset[str]:
        """The inputs that a request must have."""
        return frozenset(name for name, spec in self.inputs.items() if not spec.has_default)

    @cached_property
    def bare_input(self) -> TensorSpec | None:
        """What a value without a name is for: the only input, or the only one that a request must have."""
        names = self.inputs if len(self.inputs) == 1 else self.required
        return self.inputs[next(iter(names))] if len(names) == 1 else None


def describe_shapes(signature: Signature) -> str:
    """What a signature takes, for messages, e.g. `The signature takes 'x' of shape [-1, 3].`"""
    if not signature.inputs:
        return "The signature takes no inputs."
    shapes = (
        f"'{name}' of {'any shape' if spec.shape is None else f'shape {list(spec.shape)}'}"
        for name, spec in signature.inputs.items()
    )
    return f"The signature takes {', '.join(shapes)}."
