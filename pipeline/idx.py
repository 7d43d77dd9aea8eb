"""IDX, the format of MNIST: big-endian arrays of up to 255 axes behind a short header.

Checksums of arrays are taken over this encoding, so they do not depend on the container (`.npz`, `.gz`).

Source:
    http://yann.lecun.com/exdb/mnist/, "the IDX file format": two zero bytes, a type code, the number of axes, one
    uint32 per axis, then the values in C order.
"""

import gzip
import hashlib
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline.errors import DataError

TYPE_CODES = {"|u1": 0x08, "|i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
IMAGE_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


def encode_idx(array: np.ndarray) -> bytes:
    """An array as the bytes of an IDX file; bool is encoded as uint8.

    Raises:
        DataError: the format has no code for the dtype.
    """
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    big_endian = values.dtype.newbyteorder(">")
    if big_endian.str not in TYPE_CODES:
        raise DataError(f"IDX has no type code for {array.dtype}. Known: {', '.join(TYPE_CODES)}.")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, TYPE_CODES[big_endian.str], array.ndim, *array.shape)
    return header + values.astype(big_endian).tobytes()


def decode_idx(content: bytes, name: str) -> np.ndarray:
    """The array in the bytes of an IDX file, in the machine's byte order.

    Args:
        content: the whole file, unpacked.
        name: the file's name, for the message.

    Returns:
        An array of the dtype and axes that the header names.

    Raises:
        DataError: the header is not one of IDX, or the values are more or fewer than it announces.
    """
    codes = {code: dtype for dtype, code in TYPE_CODES.items()}
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in codes:
        raise DataError(f"{name} is not an IDX file: it starts with {content[:4]!r}.")
    dtype, axes = np.dtype(codes[content[2]]), content[3]
    start = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", content[4:start]) if len(content) >= start else ()
    expected = start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(content) != expected:
        raise DataError(f"{name} is cut short or too long: expected {expected:,} bytes, received {len(content):,}.")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, which may be packed with gzip.

    Raises:
        DataError: see `decode_idx`; or the gzip stream is broken.
    """
    return decode_idx(_unpacked(path), path.name)


def read_images(folder: Path, archive: str) -> dict[str, np.ndarray]:
    """The four arrays of MNIST's layout, from either of its containers.

    Args:
        folder: holds the four IDX files or the archive.
        archive: name of an `.npz` file with the four arrays, as Keras packs them.

    Returns:
        `x_train`, `x_test` `(n, rows, columns)` uint8; `y_train`, `y_test` `(n,)` uint8.

    Raises:
        DataError: neither is there, a file is broken, or the arrays do not fit together.
    """
    paths = {part: folder / name for part, name in IMAGE_FILES.items()}
    if all(path.is_file() for path in paths.values()):
        arrays = {part: read_idx(path) for part, path in paths.items()}
    else:
        arrays = read_archive(folder / archive)
    for side in ("train", "test"):
        x, y = arrays[f"x_{side}"], arrays[f"y_{side}"]
        if x.dtype != np.uint8 or x.ndim != 3 or y.shape != x.shape[:1]:
            raise DataError(
                f"The {side} images in {folder} should be uint8 (n, rows, columns) with n labels, "
                f"received {x.dtype} {x.shape} with labels {y.shape}."
            )
    return arrays


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """The arrays `x_train`, `y_train`, `x_test` and `y_test` of an `.npz` file.

    Raises:
        DataError: the file is missing or broken, or has no such arrays.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {part: archive[part] for part in IMAGE_FILES}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
        raise DataError(f"{path.name} is not an archive of {', '.join(IMAGE_FILES)}: {error}.") from None


def measure_archive(path: Path, algorithm: str = "sha256") -> dict[str, str]:
    """The digest of each array of an `.npz` file, over its IDX encoding."""
    return {part: idx_digest(array, algorithm) for part, array in read_archive(path).items()}


def measure_idx(path: Path, algorithm: str = "sha256") -> dict[str, str]:
    """The digest of an IDX file's array, over its IDX encoding, under the file's name."""
    return {path.name: idx_digest(read_idx(path), algorithm)}


def idx_digest(array: np.ndarray, algorithm: str = "sha256") -> str:
    """The digest of an array's IDX encoding, e.g. `md5:6bbc...`."""
    return f"{algorithm}:{hashlib.new(algorithm, encode_idx(array)).hexdigest()}"


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name} is not a whole gzip file: {error}.") from None
