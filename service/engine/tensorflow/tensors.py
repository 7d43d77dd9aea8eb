"""numpy arrays to TensorFlow's tensors and back, through the C API.

Memory of tensors belongs to TensorFlow: an array that is an argument may go away, and a graph may keep what it was fed.
"""

import ctypes
from collections.abc import Callable, Sequence

import numpy as np

from service.engine.tensorflow.library import Deallocator, load_library

# Numbers of `TF_DataType` in tensorflow/c/tf_datatype.h.
NUMBERS = {
    "DT_FLOAT": 1, "DT_DOUBLE": 2, "DT_INT32": 3, "DT_UINT8": 4, "DT_INT16": 5, "DT_INT8": 6, "DT_STRING": 7,
    "DT_COMPLEX64": 8, "DT_INT64": 9, "DT_BOOL": 10, "DT_BFLOAT16": 14, "DT_UINT16": 17, "DT_COMPLEX128": 18,
    "DT_HALF": 19, "DT_UINT32": 22, "DT_UINT64": 23,
}  # fmt: skip
STRING_BYTES = 24  # sizeof(TF_TString)


def make_tensor(dtype: str, parts: Sequence[np.ndarray]) -> int:
    """Makes a tensor of arrays that follow each other along their first axis.

    Args:
        dtype: TensorFlow's name of the type.
        parts: C-contiguous arrays of that type, of the same shape but for the first axis; a single one may be a scalar.

    Returns:
        The pointer to the tensor, for `TF_DeleteTensor`.
    """
    shape = parts[0].shape
    if len(parts) > 1:
        shape = (sum(len(part) for part in parts), *shape[1:])
    dimensions = (ctypes.c_int64 * len(shape))(*shape)
    if dtype == "DT_STRING":
        return make_string_tensor(dimensions, parts)
    library = load_library()
    tensor: int = library.TF_AllocateTensor(NUMBERS[dtype], dimensions, len(shape), sum(part.nbytes for part in parts))
    place: int = library.TF_TensorData(tensor)
    for part in parts:
        ctypes.memmove(place, part.ctypes.data, part.nbytes)
        place += part.nbytes
    return tensor


# Buffers of string tensors that TensorFlow still uses, by address.
_lent: dict[int, ctypes.Array[ctypes.c_char]] = {}


def make_string_tensor(dimensions: "ctypes.Array[ctypes.c_int64]", parts: Sequence[np.ndarray]) -> int:
    """Makes a tensor of strings, each of which owns a copy of its bytes."""
    library = load_library()
    items = [item for part in parts for item in part.ravel().tolist()]
    buffer = ctypes.create_string_buffer(max(len(items), 1) * STRING_BYTES)
    start = ctypes.addressof(buffer)
    for index, item in enumerate(items):
        place = start + index * STRING_BYTES
        library.TF_StringInit(place)
        library.TF_StringCopy(place, item, len(item))
    _lent[start] = buffer
    size = len(items) * STRING_BYTES
    tensor: int = library.TF_NewTensor(7, dimensions, len(dimensions), start, size, _give_back, None)
    return tensor


def _give_strings_back(start: int, size: int, _argument: object) -> None:
    """TensorFlow has done with a string tensor's buffer."""
    library = load_library()
    for place in range(start, start + size, STRING_BYTES):
        library.TF_StringDealloc(place)
    _lent.pop(start, None)


_give_back = Deallocator(_give_strings_back)


def count_bytes(tensor: int, dtype: np.dtype) -> int:
    """The bytes of a tensor's values, of strings without what holds them."""
    library = load_library()
    size: int = library.TF_TensorByteSize(tensor)
    if dtype.kind != "O" or not size:
        return size
    start = library.TF_TensorData(tensor)
    return sum(library.TF_StringGetSize(place) for place in range(start, start + size, STRING_BYTES))


def read_tensor(tensor: int, dtype: np.dtype) -> np.ndarray:
    """Copies a tensor into an array.

    Args:
        tensor: the pointer.
        dtype: numpy's type for it, as `TensorSpec.numpy_dtype` has it.

    Returns:
        A read-only array; strings are `bytes` objects.
    """
    library = load_library()
    shape = [library.TF_Dim(tensor, axis) for axis in range(library.TF_NumDims(tensor))]
    data: int | None = library.TF_TensorData(tensor)
    if dtype.kind == "O":
        return read_strings(data or 0, shape)
    size: int = library.TF_TensorByteSize(tensor)
    content = ctypes.string_at(data, size) if data and size else b""
    return np.frombuffer(content, dtype).reshape(shape)


def read_strings(start: int, shape: list[int]) -> np.ndarray:
    """The strings of a tensor that begins at an address."""
    library = load_library()
    array = np.empty(shape, dtype=object)
    flat = array.reshape(-1)
    read: Callable[[int, int], bytes] = ctypes.string_at
    for index in range(array.size):
        place = start + index * STRING_BYTES
        flat[index] = read(library.TF_StringGetDataPointer(place), library.TF_StringGetSize(place))
    array.flags.writeable = False
    return array
