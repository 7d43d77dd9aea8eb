"""The generated classes of TensorFlow's and TensorFlow Serving's protocol buffers, without importing TensorFlow.

To import any module of the package `tensorflow`, Python runs `tensorflow/__init__.py` first: 5 seconds and 300 MB, for
classes that need nothing of it. So an empty module stands in for the package while they are imported. A real
`import tensorflow`, before or after, finds the same classes and works as ever.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from threading import Lock
from types import ModuleType

PACKAGE = "tensorflow"

lock = Lock()


@cache
def load_protos(name: str) -> ModuleType:
    """Gives a module of generated classes.

    To be called where the classes are used, not when a module is imported. The first call takes 60 ms and 10 MB,
    another one 50 ns. Any thread may call it, but not while another one imports TensorFlow itself for the first time.

    Args:
        name: the module's full name, e.g. `tensorflow.core.framework.tensor_pb2` or
            `tensorflow_serving.apis.predict_pb2`.

    Returns:
        The module.

    Raises:
        ModuleNotFoundError: there is no such module, or TensorFlow is not installed.
    """
    with lock, stand_in():
        return importlib.import_module(name)


@contextmanager
def stand_in() -> Iterator[None]:
    """Puts an empty package in the place of `tensorflow`, unless the real one is there."""
    if PACKAGE in sys.modules:
        yield
        return
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("TensorFlow is not installed, which brings the classes of its protocol buffers")
    package = ModuleType(PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = package
    try:
        yield
    finally:
        del sys.modules[PACKAGE]
