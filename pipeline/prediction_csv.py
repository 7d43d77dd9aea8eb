"""CSV files of any size, as chunks that can be read from a byte position.

pyarrow's streaming reader cannot tell at which byte a row begins, so a resumed run would have to read everything before
it again. Here the text is cut into chunks at the ends of records, and pyarrow parses each chunk.
"""

import codecs
import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from pipeline.errors import DataError
from pipeline.prediction_columns import ROW, choose_columns
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
from pipeline.raw import parse_number

BLOCK_BYTES = 4 << 20
LONGEST_RECORD_BYTES = 64 << 20
NEW_LINE, QUOTE = 10, 34


class CsvSource:
    """A CSV file in UTF-8 with a header line; see `Source`."""

    def __init__(self, path: Path, wanted: ModelInput, reading: Reading) -> None:
        """Reads the header.

        Raises:
            DataError: the file cannot be read, or a column is missing.
        """
        self._path = path
        self._shape = wanted.shape
        self._rows = reading.rows
        self._delimiter = reading.delimiter
        try:
            with path.open("rb") as stream:
                header, self._start = _read_header(path.name, stream, reading.delimiter)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from None
        columns = choose_columns(path.name, header, wanted)
        self._header = header
        self._read = columns.read
        self._kept = header if reading.keep_inputs else []
        self._used = list(dict.fromkeys([*self._kept, *columns.read]))
        # Kept as they are: a guess of their types could change from chunk to chunk.
        self._types = dict.fromkeys(columns.others, pa.string()) | dict.fromkeys(columns.read, pa.float64())
        self.schema = pa.schema([(ROW, pa.int64()), *((name, self._types[name]) for name in self._kept)])
        self.total, self.unit = path.stat().st_size, "byte"
        self.ignored = [] if reading.keep_inputs else columns.others
        self.identity = identify_file(path)

    def chunks(self, start: Position) -> Iterator[Chunk]:
        """Reads from a border between chunks to the end; see `Source`."""
        position = max(start, self._start, key=lambda place: place.byte)
        with self._path.open("rb") as stream:
            stream.seek(position.byte)
            for text in _cut_records(stream, self._rows, self._path.name, position.line):
                chunk = self._parse(text, position)
                position = chunk.after
                yield chunk

    def _parse(self, text: bytes, start: Position) -> Chunk:
        try:
            table = self._parse_fast(text)
            values = _matrix(table, self._read)
        except pa.ArrowInvalid:
            return self._parse_slowly(text, start)
        if first_not_finite(values):
            return self._parse_slowly(text, start)
        return self._chunk(values, table, number_rows(start.row, len(values)), _advance(start, len(values), text))

    def _parse_fast(self, text: bytes) -> pa.Table:
        return pyarrow.csv.read_csv(
            pa.BufferReader(text),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text), column_names=self._header),
            pyarrow.csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(column_types=self._types, include_columns=self._used, null_values=[]),
        )

    def _parse_slowly(self, text: bytes, start: Position) -> Chunk:
        """Row by row, to tell which ones are wrong and why."""
        good: list[dict[str, str | float]] = []
        numbers, rejections, row = [], [], start.row
        reader = csv.reader(io.StringIO(text.decode(errors="surrogateescape"), newline=""), delimiter=self._delimiter)
        line = start.line
        try:
            for fields in reader:
                if len(fields) > 1 or "".join(fields).strip():
                    record, problem = self._check(fields)
                    if problem:
                        column, sentence = problem
                        rejections.append(Rejection(row, f"line {line}{column}", sentence))
                    else:
                        good.append(record)
                        numbers.append(row)
                    row += 1
                line = start.line + reader.line_num
        except csv.Error as error:
            raise DataError(f"{self._path.name}, line {line}: not CSV ({error}).") from None
        table = pa.table({name: pa.array([record[name] for record in good], self._types[name]) for name in self._used})
        after = _advance(start, row - start.row, text)
        return self._chunk(_matrix(table, self._read), table, pa.array(numbers, pa.int64()), after, rejections)

    def _check(self, fields: list[str]) -> tuple[dict[str, str | float], tuple[str, str] | None]:
        """The record by column, or where and what is wrong with it."""
        if len(fields) != len(self._header):
            return {}, ("", f"expected {len(self._header)} fields, as in the header, received {len(fields)}")
        record: dict[str, str | float] = dict(zip(self._header, fields, strict=True))
        for name in self._read:
            number = _finite_number(record[name])
            if number is None:
                return {}, (f", column {name!r}", f"expected a finite number, received {record[name]!r}")
            record[name] = number
        for name in self._kept:
            if isinstance(record[name], str) and not record[name].isascii() and not _is_unicode(record[name]):
                return {}, (f", column {name!r}", "expected UTF-8, received other bytes")
        return record, None

    def _chunk(
        self, values: np.ndarray, table: pa.Table, numbers: pa.Array, after: Position, rejections: list | None = None
    ) -> Chunk:
        leading = pa.Table.from_arrays([numbers, *(table[name] for name in self._kept)], schema=self.schema)
        return Chunk(values.reshape(-1, *self._shape), leading, after, rejections or [])


def _read_header(where: str, stream: BinaryIO, delimiter: str) -> tuple[list[str], Position]:
    """The names of the columns, and where the rows begin."""
    text = next(_cut_records(stream, 1, where, 1), b"")
    try:
        records = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: the header is not CSV in UTF-8: {error}.") from None
    if not records or not any(records[0]):
        raise DataError(f"{where}: expected a header line with the names of the columns, received an empty line.")
    if len(records) > 1:
        raise DataError(f"{where}: expected lines that end in \\n or \\r\\n, received a \\r alone.")
    return records[0], Position(0, len(text), 1 + text.count(b"\n"))


def _cut_records(stream: BinaryIO, count: int, where: str, line: int) -> Iterator[bytes]:
    """The rest of a stream in pieces of so many records; the last may have fewer."""
    buffer = b""
    while block := stream.read(max(BLOCK_BYTES, len(buffer))):
        buffer += block
        ends = _record_ends(buffer)
        if not len(ends) and len(buffer) > LONGEST_RECORD_BYTES:
            break
        start = 0
        for end in ends[count - 1 :: count].tolist():
            yield buffer[start:end]
            line += buffer.count(b"\n", start, end)
            start = end
        buffer = buffer[start:]
    ended = int(_record_ends(buffer)[-1:].sum())
    if block or buffer.count(b'"', ended) % 2:
        line += buffer.count(b"\n", 0, ended)
        raise DataError(f'{where}, line {line}: a record begins here that does not end. Is a quote (") missing?')
    if buffer:
        yield buffer


def _record_ends(buffer: bytes) -> np.ndarray:
    """Behind which bytes a record ends, int64: those of line ends that no quotes enclose."""
    characters = np.frombuffer(buffer, np.uint8)
    ends = np.flatnonzero(characters == NEW_LINE)
    if b'"' in buffer:
        # A quote in a quoted field is written twice, so an even number of them lies before each end of a record.
        ends = ends[np.searchsorted(np.flatnonzero(characters == QUOTE), ends) % 2 == 0]
    return ends + 1


def _matrix(table: pa.Table, names: list[str]) -> np.ndarray:
    """Columns as float32 `(n, k)`, by way of float64, as a service reads numbers."""
    return to_float32(np.stack([table[name].to_numpy() for name in names], axis=1))


def _advance(start: Position, rows: int, text: bytes) -> Position:
    return Position(start.row + rows, start.byte + len(text), start.line + text.count(b"\n"))


def _finite_number(text: str) -> float | None:
    number = parse_number(text)
    return None if number is None or not math.isfinite(to_float32(np.float64(number))) else number


def _is_unicode(text: str) -> bool:
    try:
        codecs.encode(text, "utf-8")
    except UnicodeEncodeError:
        return False
    return True
