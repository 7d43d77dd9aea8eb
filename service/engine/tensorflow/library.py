"""TensorFlow's C API, from the library in the installed wheel, without TensorFlow's Python package.

`import tensorflow` takes 5 seconds and 640 MB, and a call of a loaded signature 480 microseconds, nearly all of them
Python's; the library alone takes 0.3 s and 310 MB, and the same call 100. Its functions release Python's lock.

Source:
    tensorflow/c/c_api.h, tensorflow/c/tf_tensor.h, tensorflow/c/tf_status.h and tensorflow/c/tf_tstring.h.
"""

import ctypes
import importlib.util
import os
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from service.engine.tensorflow.protos import load_protos
from service.errors import InvalidSettings, ServiceError

NAMES = ("libtensorflow_cc.so.2", "libtensorflow_cc.2.dylib")

# Codes of `tensorflow/c/tf_status.h`.
OK, INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE = 0, 3, 9, 11

Deallocator = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)


class Output(ctypes.Structure):
    """`TF_Output`: one output of an operation in a graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    """`TF_Buffer`: bytes and who frees them."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


# Result and arguments of each function that is used.
FUNCTIONS: dict[str, tuple[object, tuple[object, ...]]] = {
    "TF_Version": (c_char_p, ()),
    "TF_NewStatus": (c_void_p, ()),
    "TF_DeleteStatus": (None, (c_void_p,)),
    "TF_GetCode": (c_int, (c_void_p,)),
    "TF_Message": (c_char_p, (c_void_p,)),
    "TF_NewSessionOptions": (c_void_p, ()),
    "TF_DeleteSessionOptions": (None, (c_void_p,)),
    "TF_DeleteBuffer": (None, (POINTER(Buffer),)),
    "TF_LoadLibrary": (c_void_p, (c_char_p, c_void_p)),
    "TF_GetAllOpList": (POINTER(Buffer), ()),
    "TF_GetRegisteredKernelsForOp": (POINTER(Buffer), (c_char_p, c_void_p)),
    "TF_SetConfig": (None, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "TF_NewGraph": (c_void_p, ()),
    "TF_DeleteGraph": (None, (c_void_p,)),
    "TF_GraphOperationByName": (c_void_p, (c_void_p, c_char_p)),
    "TF_OperationNumOutputs": (c_int, (c_void_p,)),
    "TF_OperationOutputType": (c_int, (Output,)),
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        (c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, c_void_p, c_void_p),
    ),
    "TF_CloseSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteSession": (None, (c_void_p, c_void_p)),
    "TF_SessionRun": (
        None,
        (
            c_void_p, c_void_p, POINTER(Output), POINTER(c_void_p), c_int, POINTER(Output), POINTER(c_void_p), c_int,
            c_void_p, c_int, c_void_p, c_void_p,
        ),
    ),
    "TF_AllocateTensor": (c_void_p, (c_int, POINTER(c_int64), c_int, c_size_t)),
    "TF_NewTensor": (c_void_p, (c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, Deallocator, c_void_p)),
    "TF_DeleteTensor": (None, (c_void_p,)),
    "TF_TensorType": (c_int, (c_void_p,)),
    "TF_NumDims": (c_int, (c_void_p,)),
    "TF_Dim": (c_int64, (c_void_p, c_int)),
    "TF_TensorByteSize": (c_size_t, (c_void_p,)),
    "TF_TensorData": (c_void_p, (c_void_p,)),
    "TF_StringInit": (None, (c_void_p,)),
    "TF_StringCopy": (None, (c_void_p, c_char_p, c_size_t)),
    "TF_StringDealloc": (None, (c_void_p,)),
    "TF_StringGetSize": (c_size_t, (c_void_p,)),
    "TF_StringGetDataPointer": (c_void_p, (c_void_p,)),
}  # fmt: skip


class TensorFlowMissing(ServiceError):
    """TensorFlow is not installed, or not in a form that can be used."""


class TensorFlowError(Exception):
    """A function of the library failed.

    Args:
        code: one of `tf_status.h`.
        message: TensorFlow's sentence.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@cache
def load_library() -> ctypes.CDLL:
    """Loads the library, in the process that is to use it: TensorFlow does not survive a fork.

    Raises:
        TensorFlowMissing: it is not there.
    """
    # Read when the library is loaded; 2 leaves warnings out.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    library = ctypes.CDLL(str(find_library()))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def find_library() -> Path:
    """The library's file in the installed package, found without importing that.

    Raises:
        TensorFlowMissing: it is not there.
    """
    package = importlib.util.find_spec("tensorflow")
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        for name in NAMES:
            if (path := Path(folder) / name).is_file():
                return path
    where = f"{' or '.join(NAMES)} is not in {folders[0]}" if folders else "there is no package `tensorflow`"
    raise TensorFlowMissing(f"TensorFlow cannot be loaded: {where}. Install requirements/service.txt.")


def load_operations(paths: Sequence[Path]) -> None:
    """Loads libraries of custom operations, before any model.

    Raises:
        InvalidSettings: one cannot be loaded; the sentence says why.
    """
    library = load_library()
    for path in paths:
        try:
            with Status(library) as status:
                # TensorFlow keeps what is loaded for the life of the process.
                library.TF_LoadLibrary(str(path).encode(), status)
        except TensorFlowError as error:
            raise InvalidSettings(f"KILN_OP_LIBRARIES names {path}, which TensorFlow cannot load: {error}.") from None


@cache
def read_operations() -> Mapping[str, Any]:
    """The `OpDef` of every operation that TensorFlow knows, by name; libraries must be loaded before."""
    library = load_library()
    content = take_buffer(library, library.TF_GetAllOpList())
    operations = load_protos("tensorflow.core.framework.op_def_pb2").OpList.FromString(content)
    return {operation.name: operation for operation in operations.op}


@cache
def has_kernel(operation: str) -> bool:
    """Whether an operation can run on a CPU."""
    library = load_library()
    with Status(library) as status:
        buffer = library.TF_GetRegisteredKernelsForOp(operation.encode(), status)
    kernels = load_protos("tensorflow.core.framework.kernel_def_pb2").KernelList
    return any(
        kernel.device_type in ("CPU", "DEFAULT") for kernel in kernels.FromString(take_buffer(library, buffer)).kernel
    )


def take_buffer(library: ctypes.CDLL, buffer: Any) -> bytes:
    """The content of a `TF_Buffer`, which is deleted."""
    content = ctypes.string_at(buffer.contents.data, buffer.contents.length)
    library.TF_DeleteBuffer(buffer)
    return content


class Status:
    """A `TF_Status` for one call, as a context manager that gives its pointer and raises what went wrong.

    Args:
        library: see `load_library`.
    """

    __slots__ = ("_library", "_pointer")

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._pointer: int = library.TF_NewStatus()

    def __enter__(self) -> int:
        return self._pointer

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        code = self._library.TF_GetCode(self._pointer)
        message = self._library.TF_Message(self._pointer) if code else b""
        self._library.TF_DeleteStatus(self._pointer)
        if code and kind is None:
            raise TensorFlowError(code, message.decode("utf-8", "backslashreplace"))
