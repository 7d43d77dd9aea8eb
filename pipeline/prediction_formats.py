"""What a batch prediction writes: formats to which a chunk can be appended, so that a killed run loses one at most."""

import io
import json
import os
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from pipeline.errors import DataError


class Format(Protocol):
    """One format of output."""

    def head(self, schema: pa.Schema) -> bytes:
        """What stands before the first chunk.

        Raises:
            DataError: the format cannot hold such columns.
        """

    def encode(self, table: pa.Table) -> bytes:
        """One chunk."""

    def finish(self, part: Path, output: Path) -> None:
        """Makes the output of the head and all chunks, in a file that is kept if this is interrupted."""


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet runs instead of showing it. Source: OWASP, "CSV Injection"."""
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


class CsvFormat:
    """CSV in UTF-8 with a header line. Numbers have as many digits as tell them from their neighbours.

    Text that a spreadsheet would run as a formula gets an apostrophe in front of it, which spreadsheets do not show.
    """

    def head(self, schema: pa.Schema) -> bytes:
        """The header line; see `Format`."""
        return self._write(schema.empty_table(), include_header=True)

    def encode(self, table: pa.Table) -> bytes:
        """Lines; see `Format`."""
        return self._write(table, include_header=False)

    def finish(self, part: Path, output: Path) -> None:
        """Gives the file its name; see `Format`."""
        os.replace(part, output)

    def _write(self, table: pa.Table, *, include_header: bool) -> bytes:
        stream = io.BytesIO()
        names = _disarm(pa.array(table.column_names, pa.string())).to_pylist()
        table = pa.Table.from_arrays([_disarm(column) for column in table.columns], names)
        try:
            pyarrow.csv.write_csv(table, stream, pyarrow.csv.WriteOptions(include_header=include_header))
        except pa.ArrowException as error:
            raise DataError(f"CSV cannot hold these columns ({error}); write .parquet instead.") from None
        return stream.getvalue()


class JsonLinesFormat:
    """One JSON object per line; a number that JSON does not have is null."""

    def head(self, schema: pa.Schema) -> bytes:
        """Nothing; see `Format`."""
        self.encode(schema.empty_table())
        return b""

    def encode(self, table: pa.Table) -> bytes:
        """Lines; see `Format`."""
        columns = {name: _shortest(table[name]).to_pylist() for name in table.schema.names}
        try:
            lines = [
                json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, allow_nan=False)
                for row in zip(*columns.values(), strict=True)
            ]
        except TypeError as error:
            raise DataError(f"JSON cannot hold these columns ({error}); write .parquet instead.") from None
        return "".join(f"{line}\n" for line in lines).encode()

    def finish(self, part: Path, output: Path) -> None:
        """Gives the file its name; see `Format`."""
        os.replace(part, output)


class ParquetFormat:
    """Parquet, one row group per chunk.

    A Parquet file cannot be appended to once its writer is gone, so chunks are kept as an Arrow stream until the end.
    """

    def head(self, schema: pa.Schema) -> bytes:
        """The schema; see `Format`."""
        return schema.serialize().to_pybytes()

    def encode(self, table: pa.Table) -> bytes:
        """A record batch; see `Format`."""
        return b"".join(batch.serialize().to_pybytes() for batch in table.combine_chunks().to_batches())

    def finish(self, part: Path, output: Path) -> None:
        """Rewrites the stream as Parquet; see `Format`."""
        building = output.with_name(f".{output.name}.building")
        try:
            with (
                part.open("rb") as stream,
                pa.ipc.open_stream(stream) as reader,
                pyarrow.parquet.ParquetWriter(building, reader.schema) as writer,
            ):
                for batch in reader:
                    writer.write_batch(batch)
        except pa.ArrowException as error:
            raise DataError(f"Parquet cannot hold these columns ({error}).") from None
        os.replace(building, output)


FORMATS: dict[str, type[Format]] = {
    ".csv": CsvFormat,
    ".jsonl": JsonLinesFormat,
    ".ndjson": JsonLinesFormat,
    ".parquet": ParquetFormat,
}


def choose_format(output: Path) -> Format:
    """The format that the ending of a name asks for.

    Raises:
        DataError: there is none.
    """
    if output.suffix.lower() not in FORMATS:
        raise DataError(f"{output}: expected an output that ends in {', '.join(FORMATS)}.")
    return FORMATS[output.suffix.lower()]()


def _disarm(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The same column, but that texts have an apostrophe in front of formulas."""
    compute = pyarrow.compute
    if pa.types.is_dictionary(texts.type):
        texts = texts.cast(texts.type.value_type)
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        return texts
    starts = compute.is_in(compute.utf8_slice_codeunits(texts, 0, 1), pa.array(FORMULA_STARTS, texts.type))
    is_formula = compute.and_not(starts, compute.match_substring_regex(texts, NUMBER))
    apostrophe, separator = pa.scalar("'", texts.type), pa.scalar("", texts.type)
    return compute.if_else(is_formula, compute.binary_join_element_wise(apostrophe, texts, separator), texts)


def _shortest(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose numbers print as short as in their own type, and are null where JSON has none."""
    if not pa.types.is_floating(column.type):
        return column
    # By way of text: 0.1 as float32 is 0.10000000149011612 as a float of Python's.
    numbers = column.cast(pa.string()).cast(pa.float64())
    return pyarrow.compute.if_else(pyarrow.compute.is_finite(numbers), numbers, None)
