"""How rows of concurrent requests are put together: the settings, the batch sizes and what may be batched at all."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from service.engine.interface import Arrays
from service.engine.signature import Signature


@dataclass(frozen=True)
class Batching:
    """How one model's requests are batched.

    Attributes:
        enabled: whether rows of several requests run as one call.
        largest_batch: most rows in one call.
        queue_rows: rows that may wait for one signature.
    """

    enabled: bool = True
    largest_batch: int = 128
    queue_rows: int = 8192
    sizes: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", batch_sizes(self.largest_batch))

    def padding(self, rows: int) -> int:
        """How many rows to add to a batch, so that it is of one of the fixed sizes."""
        place = bisect_left(self.sizes, rows)
        return self.sizes[place] - rows if place < len(self.sizes) else 0


@lru_cache
def batch_sizes(largest: int) -> tuple[int, ...]:
    """The sizes of batches: 1, 2, 3, 4, 6, 8, 12, 16, 24 ... up to the largest.

    TensorFlow prepares its kernels anew for each size that it meets, and keeps what it prepared; so there are few. Each
    is at most twice the one before, and mostly half as large again, so little is computed in vain.
    """

    def grow() -> Iterator[int]:
        size = 1
        while size < largest:
            yield size
            if size > 1 and size * 3 // 2 < largest:
                yield size * 3 // 2
            size *= 2
        yield largest

    return tuple(grow())


def is_batchable(signature: Signature) -> bool:
    """Whether rows of several requests can be one call.

    Every input and output needs a first axis of any size. Where the other axes of the inputs are given but those of an
    output are not, its size comes from the values: the words of the longest text, say, which may be a neighbour's.
    """
    inputs, outputs = ([spec.shape for spec in side.values()] for side in (signature.inputs, signature.outputs))
    if not inputs or any(shape is None or shape[:1] != (-1,) for shape in [*inputs, *outputs]):
        return False
    return any(-1 in shape[1:] for shape in inputs if shape) or not any(-1 in shape[1:] for shape in outputs if shape)


def count_rows(inputs: Arrays) -> int:
    """The rows of a request whose inputs all have the same number of them; 0 where they differ or have none."""
    counts = {len(array) if array.ndim else 0 for array in inputs.values()}
    return counts.pop() if len(counts) == 1 else 0
