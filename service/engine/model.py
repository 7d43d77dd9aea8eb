"""What the engine knows of a model in memory."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from service.engine.interface import Arrays, BatchingState
from service.engine.signature import Signature


class InvalidInput(Exception):
    """The graph refused the inputs: they have the right shapes and types, but not values that it can take."""


class Quarantined(Exception):
    """The version has ended its process twice and is not tried again until its files change or somebody loads it."""


class Model(Protocol):
    """One loaded version of a model.

    Attributes:
        signatures: by name.
        batching: by signature, whether rows of several requests may share a call, as far as the model is concerned.
        warning: what its status says although it can be called, or "".
    """

    signatures: Mapping[str, Signature]
    batching: Mapping[str, BatchingState]
    warning: str

    def call(self, signature: str, inputs: Arrays, outputs: Sequence[str] = ()) -> Arrays:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: one array per input, of the shapes and types that the signature states.
            outputs: those that are wanted; empty for all.

        Returns:
            One array per output; strings are arrays of `bytes` objects.

        Raises:
            InvalidInput: the graph refused the inputs.
        """

    def run(self, signature: str, parts: Sequence[Arrays], outputs: Sequence[str] = ()) -> Arrays:
        """Runs a signature on inputs that follow each other along the first axis.

        Args:
            signature: its name.
            parts: the inputs of one or several requests, as for `call`, in the order of their rows.
            outputs: those that are wanted; empty for all.

        Returns:
            One array per output, for all parts.

        Raises:
            InvalidInput: the graph refused the inputs.
        """

    def close(self) -> None:
        """Gives the memory back; no call may be running, and none may follow."""
