"""The kinds of inputs of a batch prediction, by the ending of their names."""

from pathlib import Path

from pipeline.errors import DataError
from pipeline.prediction_arrays import ArraySource
from pipeline.prediction_csv import CsvSource
from pipeline.prediction_parquet import ParquetSource
from pipeline.prediction_pictures import PictureSource
from pipeline.prediction_rows import ModelInput, Reading, Source

KINDS = {
    ".csv": CsvSource,
    ".tsv": CsvSource,
    ".parquet": ParquetSource,
    ".npz": ArraySource,
    ".npy": ArraySource,
}


def open_source(path: Path, wanted: ModelInput, reading: Reading) -> Source:
    """Opens an input and checks what can be checked before the first row.

    Args:
        path: a file, or a folder of pictures.
        wanted: what the model takes.
        reading: how to read.

    Returns:
        The input, open for reading.

    Raises:
        DataError: it does not exist, is of another kind, or does not fit the model.
    """
    if path.is_dir():
        return PictureSource(path, wanted, reading)
    if not path.exists():
        raise DataError(f"No file or folder {path}.")
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        endings = ", ".join(KINDS)
        raise DataError(f"{path}: expected a file that ends in {endings}, or a folder of pictures.")
    return kind(path, wanted, reading)
