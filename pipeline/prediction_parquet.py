"""Parquet files of any size, in chunks of the same rows wherever reading begins."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from pipeline.errors import DataError
from pipeline.prediction_columns import ROW, choose_columns
from pipeline.prediction_rows import (
    Chunk,
    ModelInput,
    Position,
    Reading,
    Rejection,
    identify_file,
    number_rows,
    to_float32,
)

READ_BUFFER_BYTES = 1 << 20


class ParquetSource:
    """A Parquet file; see `Source`."""

    def __init__(self, path: Path, wanted: ModelInput, reading: Reading) -> None:
        """Reads the footer.

        Raises:
            DataError: the file cannot be read, a column is missing or holds no numbers.
        """
        self._path = path
        self._shape = wanted.shape
        self._rows = reading.rows
        with self._open() as file:
            schema, metadata = file.schema_arrow, file.metadata
            self._group_rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
        columns = choose_columns(path.name, schema.names, wanted)
        _check_types(path.name, schema, columns.read)
        self._read = columns.read
        self._kept = schema.names if reading.keep_inputs else []
        self.schema = pa.schema([(ROW, pa.int64()), *(schema.field(name) for name in self._kept)])
        self.total, self.unit = sum(self._group_rows), "row"
        self.ignored = [] if reading.keep_inputs else columns.others
        self.identity = identify_file(path)

    def chunks(self, start: Position) -> Iterator[Chunk]:
        """Reads from a border between chunks to the end; see `Source`."""
        row = start.row
        try:
            for table in self._tables(row):
                yield self._chunk(table, row)
                row += len(table)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._path.name} cannot be read after row {row:,}: {error}.") from None

    def _open(self) -> pyarrow.parquet.ParquetFile:
        try:
            # Column chunks are read page by page: a row group may be as large as the file.
            return pyarrow.parquet.ParquetFile(self._path, buffer_size=READ_BUFFER_BYTES, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._path} cannot be read as Parquet: {error}.") from None

    def _tables(self, start: int) -> Iterator[pa.Table]:
        """Tables of `self._rows` rows from a row on; the last may have fewer."""
        group, skipped = 0, start
        while group < len(self._group_rows) and skipped >= self._group_rows[group]:
            skipped -= self._group_rows[group]
            group += 1
        waiting: list[pa.RecordBatch] = []
        count = 0
        with self._open() as file:
            groups = range(group, len(self._group_rows))
            columns = list(dict.fromkeys([*self._kept, *self._read]))
            for batch in file.iter_batches(self._rows, groups, columns, use_threads=False):
                left = batch.slice(min(skipped, len(batch)))
                skipped -= len(batch) - len(left)
                waiting.append(left)
                count += len(left)
                if count >= self._rows:
                    table = pa.Table.from_batches(waiting)
                    yield table.slice(0, self._rows)
                    waiting = table.slice(self._rows).to_batches()
                    count -= self._rows
        if count:
            yield pa.Table.from_batches(waiting)

    def _chunk(self, table: pa.Table, first: int) -> Chunk:
        values = np.stack([_numbers(table[name]) for name in self._read], axis=1)
        good = np.isfinite(values).all(axis=1)
        numbers = number_rows(first, len(table))
        leading = pa.Table.from_arrays([numbers, *(table[name] for name in self._kept)], schema=self.schema)
        rejections = [self._reject(table, values[index], index, first) for index in np.flatnonzero(~good).tolist()]
        if rejections:
            leading, values = leading.filter(pa.array(good)), values[good]
        return Chunk(values.reshape(-1, *self._shape), leading, Position(first + len(table)), rejections)

    def _reject(self, table: pa.Table, values: np.ndarray, index: int, first: int) -> Rejection:
        name = self._read[int(np.flatnonzero(~np.isfinite(values))[0])]
        received = table[name][index].as_py()
        problem = f"expected a finite number, received {'no value' if received is None else received}"
        return Rejection(first + index, f"row {first + index:,}, column {name!r}", problem)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as float32, with NaN where it has no value."""
    return to_float32(pyarrow.compute.cast(column, pa.float64(), safe=False).to_numpy())


def _check_types(where: str, schema: pa.Schema, names: list[str]) -> None:
    for name in names:
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise DataError(f"{where}, column {name!r}: expected numbers, received the type {kind}.")
