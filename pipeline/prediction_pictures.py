"""A folder of PNG and JPEG files as rows, in the order of their names."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.errors import DataError
from pipeline.prediction_rows import Chunk, ModelInput, Position, Reading

SUFFIXES = (".png", ".jpg", ".jpeg")
CHUNK_FILE_BYTES = 64 << 20
FILE = "file"


class PictureSource:
    """Picture files in a folder and the folders in it; see `Source`."""

    def __init__(self, path: Path, wanted: ModelInput, reading: Reading) -> None:
        """Lists the folder.

        Raises:
            DataError: the model takes no pictures, or there are none.
        """
        if wanted.kind != "image":
            raise DataError(f"{path} is a folder of pictures, but the model takes {wanted.width} numbers per row.")
        if reading.keep_inputs:
            raise DataError(f"{path}: --keep-inputs copies the columns of tables, and pictures have none.")
        self._path = path
        self._rows = reading.rows
        files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        self._files = [name for name in files if name.lower().endswith(SUFFIXES)]
        if not self._files:
            raise DataError(f"{path}: expected files with one of the endings {', '.join(SUFFIXES)}, found none.")
        self.schema = pa.schema([(FILE, pa.string())])
        self.total, self.unit = len(self._files), "row"
        self.ignored = [name for name in files if not name.lower().endswith(SUFFIXES)]
        self._sizes, self.identity = self._measure()

    def chunks(self, start: Position) -> Iterator[Chunk]:
        """Reads from a border between chunks to the end; see `Source`."""
        row = start.row
        while row < self.total:
            names = self._next_names(row)
            try:
                contents = [(self._path / name).read_bytes() for name in names]
            except OSError as error:
                raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from None
            row += len(names)
            values = np.array(contents, dtype=object)
            yield Chunk(values, pa.table({FILE: pa.array(names, pa.string())}), Position(row))

    def _next_names(self, row: int) -> list[str]:
        """The files of the chunk that begins at a row: as many as wanted, or fewer where they are large."""
        sizes = np.cumsum(self._sizes[row : row + self._rows])
        return self._files[row : row + max(1, int(np.searchsorted(sizes, CHUNK_FILE_BYTES, side="right")))]

    def _measure(self) -> tuple[np.ndarray, dict[str, str]]:
        """Each file's size in bytes, and a digest of all names, sizes and times."""
        digest = hashlib.sha256()
        sizes = []
        for name in self._files:
            status = (self._path / name).stat()
            sizes.append(status.st_size)
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return np.array(sizes, dtype=np.int64), {"input's digest of names, sizes and times": digest.hexdigest()}
