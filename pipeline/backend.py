"""Keras, with its backend chosen before it is imported and without the backend's greetings."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

XLA_FUSION = "--xla_cpu_use_fusion_emitters"


def start_keras(backend: str = "tensorflow") -> None:
    """Imports Keras: some 5 seconds with TensorFlow behind it.

    Args:
        backend: used unless the variable KERAS_BACKEND names another.
    """
    os.environ.setdefault("KERAS_BACKEND", backend)
    # Read when the library is loaded. 3 leaves out what TensorFlow calls errors and survives; Python's exceptions stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        os.environ["XLA_FLAGS"] = _without_slow_masks(os.environ.get("XLA_FLAGS", ""))
    with _standard_error_closed():
        import keras  # noqa: F401


def start_tensorflow() -> None:
    """Imports TensorFlow alone, as quietly, for what needs no Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _standard_error_closed():
        import tensorflow  # noqa: F401


def _without_slow_masks(flags: str) -> str:
    """XLA's flags, unless they choose already, with a choice that keeps networks with dropout fast on CPUs.

    Otherwise a step of a network with dropout between layers of different widths takes 10 to 18 times as long, nearly
    all of it in code that XLA generates: measured with the pinned TensorFlow, from 64-32 to 512-1024 units. Without
    dropout the choice costs 4 to 8 %. A version of XLA that does not know a flag ends the process, so only
    TensorFlow's gets it.
    """
    return flags if XLA_FUSION in flags else f"{flags} {XLA_FUSION}=false".strip()


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
