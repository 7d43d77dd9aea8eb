"""What the rest of the service knows of a model in memory."""

from typing import Any, Protocol

import numpy as np

from service.engine.signature import Signature

# A version's life, in TensorFlow Serving's words.
START, LOADING, AVAILABLE, END = "START", "LOADING", "AVAILABLE", "END"

# What `model.json` says: task, labels, features, metrics, an example; empty for a SavedModel of another make.
Description = dict[str, Any]


class InvalidInput(Exception):
    """The graph refused the inputs: they have the right shapes and types, but not values that it can take."""


class Model(Protocol):
    """One loaded version of a model.

    Attributes:
        name, version: which one.
        signatures: by name.
    """

    name: str
    version: int
    signatures: dict[str, Signature]

    def call(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: one array per input, of the shapes and types that the signature states.

        Returns:
            One array per output; strings are arrays of `bytes` objects.

        Raises:
            InvalidInput: the graph refused the inputs.
        """
