"""What the engine knows of a model in memory."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from service.engine.interface import Arrays
from service.engine.signature import Signature


class InvalidInput(Exception):
    """The graph refused the inputs: they have the right shapes and types, but not values that it can take."""


class Model(Protocol):
    """One loaded version of a model.

    Attributes:
        signatures: by name.
    """

    signatures: Mapping[str, Signature]

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

    def close(self) -> None:
        """Gives the memory back; no call may be running, and none may follow."""
