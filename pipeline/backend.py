"""Keras, with its backend chosen before it is imported and without the backend's greetings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def start_keras(backend: str = "tensorflow") -> None:
    """Imports Keras: some 5 seconds with TensorFlow behind it.

    Args:
        backend: used unless the variable KERAS_BACKEND names another.
    """
    os.environ.setdefault("KERAS_BACKEND", backend)
    # Read when the library is loaded. 3 leaves out what TensorFlow calls errors and survives; Python's exceptions stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _standard_error_closed():
        import keras  # noqa: F401


def start_tensorflow() -> None:
    """Imports TensorFlow alone, as quietly, for what needs no Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _standard_error_closed():
        import tensorflow  # noqa: F401


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Silences the lines that TensorFlow writes before it reads its log level; no setting does."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
