"""What a batch prediction reads: rows in chunks, whose borders do not depend on where reading begins."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from pipeline.prepared import InputKind

CHUNK_ROWS = 8192
CHUNK_BYTES = 32 << 20


@dataclass(frozen=True)
class ModelInput:
    """The rows that a model takes.

    Attributes:
        kind: `image` or `features`.
        name: of the batch tensor.
        shape: of one row.
        features: names of the columns, as the model has them; empty for images.
    """

    kind: InputKind
    name: str
    shape: tuple[int, ...]
    features: tuple[str, ...]

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Reading:
    """How to read.

    Attributes:
        rows: in a chunk.
        keep_inputs: whether a table's columns are copied to the output.
        delimiter: between the fields of a CSV file.
    """

    rows: int
    keep_inputs: bool = False
    delimiter: str = ","


@dataclass(frozen=True)
class Position:
    """A place between two rows of the input.

    Attributes:
        row: rows before it.
        byte: bytes before it; CSV only.
        line: the line that follows, counted from 1; CSV only.
    """

    row: int = 0
    byte: int = 0
    line: int = 1


@dataclass(frozen=True)
class Rejection:
    """A row that cannot be scored.

    Attributes:
        row: its number in the input, from 0.
        place: where it stands, for a person.
        problem: what was expected and what came.
    """

    row: int
    place: str
    problem: str


@dataclass(frozen=True)
class Chunk:
    """Rows that follow each other.

    Attributes:
        values: float32 `(n, *shape)` raw and finite, or `(n,)` objects, the bytes of picture files.
        leading: `n` rows: the output's first columns, which say whose answers follow.
        after: where the next chunk begins.
        rejections: rows between the chunk's borders that are not among the `n`.
    """

    values: np.ndarray
    leading: pa.Table
    after: Position
    rejections: list[Rejection] = field(default_factory=list)


class Source(Protocol):
    """An input that is open for reading.

    Attributes:
        schema: of each chunk's leading columns.
        total: rows, or bytes, of the whole.
        unit: which of the two.
        ignored: columns or files of the input that nobody reads.
        identity: values that change when the input does, by what they are called in a message.
    """

    schema: pa.Schema
    total: int
    unit: Literal["row", "byte"]
    ignored: list[str]
    identity: dict[str, Any]

    def chunks(self, start: Position) -> Iterator[Chunk]:
        """Reads from a border between chunks to the end.

        Raises:
            DataError: the input cannot be read any further.
        """


def chunk_rows(batch_size: int, row_bytes: int) -> int:
    """Rows in a chunk: whole batches, and no more than some 32 MiB where rows are wide."""
    wanted = min(CHUNK_ROWS, CHUNK_BYTES // row_bytes)
    return max(wanted // batch_size, 1) * batch_size


def identify_file(path: Path) -> dict[str, Any]:
    """A source's identity where it is one file."""
    status = path.stat()
    changed = datetime.fromtimestamp(status.st_mtime).isoformat(" ")
    return {"input's size in bytes": status.st_size, "input's time of change": changed}


def number_rows(first: int, count: int) -> pa.Array:
    """The numbers of rows that follow each other, int64."""
    return pa.array(np.arange(first, first + count, dtype=np.int64))


def first_not_finite(values: np.ndarray) -> tuple[int, ...] | None:
    """The place of the first NaN or infinity, or None."""
    if np.isfinite(values).all():
        return None
    return tuple(int(index) for index in np.argwhere(~np.isfinite(values))[0])


def to_float32(values: np.ndarray) -> np.ndarray:
    """Numbers as the model takes them; those that are too large for it become infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
