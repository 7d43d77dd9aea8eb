"""How rows of concurrent requests are put together: the settings, and what may be batched at all."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.engine.interface import Arrays, BatchingState
from service.engine.signature import Signature, TensorSpec


@dataclass(frozen=True)
class Batching:
    """How one model's requests are batched.

    Attributes:
        enabled: whether rows of several requests run as one call, where the model is known to treat rows independently.
        configured: what the model's own configuration says, which decides over all else, or None.
        largest_batch: most rows in one call of several requests.
        queue_rows: rows that may wait for one signature.
    """

    enabled: bool = True
    configured: bool | None = None
    largest_batch: int = 128
    queue_rows: int = 65536

    def decide(self, signature: Signature, known: BatchingState | None) -> BatchingState:
        """Whether requests for a signature share calls, and why.

        Args:
            signature: the signature.
            known: what is known of its rows; None for nothing.
        """
        if self.configured is False:
            return BatchingState(False, "the model's configuration says batching.enabled = false")
        if self.configured:
            obstacle = find_unbatched(signature.inputs)
            reason = "the model's configuration says batching.enabled = true"
            return BatchingState(not obstacle, f"{reason}, but {obstacle}" if obstacle else reason)
        if not self.enabled:
            return BatchingState(False, "KILN_BATCHING is off")
        return known or BatchingState(False, "nothing is known of its rows")


def describe_obstacle(signature: Signature) -> str:
    """Why rows of several requests cannot be one call, as far as the signature's shapes tell; or "".

    Every input and output needs a first axis of any size. Where the other axes of the inputs are given but those of an
    output are not, its size comes from the values: the words of the longest text, say, which may be a neighbour's.
    """
    if obstacle := find_unbatched(signature.inputs) or find_unbatched(signature.outputs, "output"):
        return obstacle
    inputs, outputs = ([spec.shape or () for spec in side.values()] for side in (signature.inputs, signature.outputs))
    if any(-1 in shape[1:] for shape in outputs) and not any(-1 in shape[1:] for shape in inputs):
        return "the size of an output's row depends on the values"
    return ""


def find_unbatched(specs: Mapping[str, TensorSpec], side: str = "input") -> str:
    """Which tensor's shape does not begin with an axis of any size, in words; or ""."""
    for name, spec in specs.items():
        if spec.shape is None or spec.shape[:1] != (-1,):
            shape = "unknown rank" if spec.shape is None else f"shape {list(spec.shape)}"
            return f"its {side} '{name}' of {shape} has no batch axis of any size"
    return "" if specs else f"it has no {side}"


def count_rows(inputs: Arrays) -> int:
    """The rows of a request whose inputs all have the same number of them; 0 where they differ or have none."""
    counts = {len(array) if array.ndim else 0 for array in inputs.values()}
    return counts.pop() if len(counts) == 1 else 0
