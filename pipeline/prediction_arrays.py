"""Arrays in NPZ files, compressed or not, and in NPY files: read row by row, never as a whole."""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from pipeline.errors import DataError
from pipeline.prediction_columns import ROW
from pipeline.prediction_rows import (
    Chunk,
    ModelInput,
    Position,
    Reading,
    Rejection,
    first_not_finite,
    identify_file,
    number_rows,
    to_float32,
)

BLOCK_BYTES = 4 << 20
NUMBERS = "buif"


class ArraySource:
    """One array of an NPZ or NPY file, whose first axis counts the rows; see `Source`."""

    def __init__(self, path: Path, wanted: ModelInput, reading: Reading) -> None:
        """Reads the array's head.

        Raises:
            DataError: the file cannot be read, or the array does not fit the model.
        """
        self._path = path
        self._rows = reading.rows
        self._member, self.ignored = _choose_member(path, wanted)
        self._where = f"{path.name}, array {self._member!r}" if self._member else path.name
        if reading.keep_inputs:
            raise DataError(f"{path.name}: --keep-inputs copies the columns of tables, and an array has none.")
        with self._open() as stream:
            shape, is_fortran, self._dtype = _read_head(stream, self._where)
        _check_array(self._where, shape, self._dtype, wanted)
        if is_fortran and len(shape) > 1:
            raise DataError(
                f"{self._where} is stored column by column, so its rows cannot be read one after another. Save "
                "numpy.ascontiguousarray(array) instead."
            )
        self._row_shape = shape[1:]
        self.schema = pa.schema([(ROW, pa.int64())])
        self.total, self.unit = shape[0], "row"
        self.identity = identify_file(path)

    def chunks(self, start: Position) -> Iterator[Chunk]:
        """Reads from a border between chunks to the end; see `Source`."""
        row_bytes = self._dtype.itemsize * int(np.prod(self._row_shape))
        with self._open() as stream:
            _read_head(stream, self._where)
            _skip(stream, start.row * row_bytes)
            for row in range(start.row, self.total, self._rows):
                count = min(self._rows, self.total - row)
                data = stream.read(count * row_bytes)
                if len(data) < count * row_bytes:
                    raise DataError(f"{self._where} is cut short: its head says {self.total:,} rows.")
                values = np.frombuffer(data, self._dtype).reshape(count, *self._row_shape)
                yield self._chunk(to_float32(values), row)

    @contextlib.contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        try:
            with self._path.open("rb") as file:
                if not self._member:
                    yield file
                    return
                with zipfile.ZipFile(file) as archive, archive.open(f"{self._member}.npy") as stream:
                    yield stream
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self._where} cannot be read: {error}.") from None

    def _chunk(self, values: np.ndarray, first: int) -> Chunk:
        numbers, rejections = number_rows(first, len(values)), []
        if first_not_finite(values):
            good = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            rejections = [_reject(values[index], first + index) for index in np.flatnonzero(~good).tolist()]
            values, numbers = values[good], numbers.filter(pa.array(good))
        leading = pa.Table.from_arrays([numbers], schema=self.schema)
        return Chunk(values, leading, Position(first + len(good) if rejections else first + len(values)), rejections)


def _choose_member(path: Path, wanted: ModelInput) -> tuple[str, list[str]]:
    """The array to read and the others; "" where the file is no archive."""
    if path.suffix.lower() == ".npy":
        return "", []
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as NPZ: {error}.") from None
    choices = [name for name in (wanted.name, "x") if name in names] or (names if len(names) == 1 else [])
    if not choices:
        received = ", ".join(repr(name) for name in names) or "none"
        raise DataError(f"{path.name}: expected an array {wanted.name!r} or 'x', or one alone. Received: {received}.")
    return choices[0], [name for name in names if name != choices[0]]


def _read_head(stream: BinaryIO, where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the columns follow each other, and type."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        return readers[version](stream)
    except (ValueError, KeyError) as error:
        raise DataError(f"{where} is no array of numbers in NPY format: {error}.") from None


def _check_array(where: str, shape: tuple[int, ...], dtype: np.dtype, wanted: ModelInput) -> None:
    expected = ", ".join(str(side) for side in wanted.shape)
    if shape[1:] != wanted.shape or not shape:
        raise DataError(f"{where}: expected the shape (rows, {expected}), received {shape}.")
    if dtype.kind not in NUMBERS:
        raise DataError(f"{where}: expected numbers, received the type {dtype}.")


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0 and (block := stream.read(min(count, BLOCK_BYTES))):
        count -= len(block)


def _reject(values: np.ndarray, row: int) -> Rejection:
    place = first_not_finite(values)
    where = f"row {row:,}, place {list(place)}"
    return Rejection(row, where, f"expected a finite number, received {values[place]}")
