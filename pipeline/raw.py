"""What a module of `pipeline/datasets` gives: the files that it needs, and their rows in raw units.

Such a module has

- `load(folder, options) -> RawDataset`, which reads `data/raw/<dataset>`, and either
- `remote_files(options) -> tuple[FileSet, ...]`, for data that is fetched: the first set that can be had is taken, or
- `write_bundled(folder, options)`, for data that an installed library brings along; `write_arrays` and `read_arrays`
  keep them, so that they pass through the same stages as the rest.
"""

import hashlib
import json
import keyword
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError, create_model

from pipeline.errors import DataError, ParamsError
from pipeline.idx import encode_idx
from pipeline.params_errors import describe
from pipeline.prepared import About, Feature, InputKind, Task
from pipeline.sections import Section

BUNDLED_FILE = "rows.npz"

OptionsType = TypeVar("OptionsType", bound=Section)


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch, known by its contents rather than by its container.

    Attributes:
        name: in `data/raw/<dataset>`.
        addresses: public HTTPS addresses, tried in order; empty for a file that only a mirror has.
        mirror_name: path below KILN_DATA_MIRROR.
        size: bytes of the container at its public home, for the message about a file that was cut short.
        contents: what `measure` must give.
        measure: digests of the contents by the name of the part, e.g. `{"x_train": "md5:6bbc..."}`. Raises DataError
            where the file is not of its kind at all.
    """

    name: str
    addresses: tuple[str, ...]
    mirror_name: str
    size: int
    contents: Mapping[str, str]
    measure: Callable[[Path], dict[str, str]]

    def check(self, path: Path) -> None:
        """Compares the contents of `path` with what they must be.

        Raises:
            DataError: they differ; the message names the part, both digests and both sizes.
        """
        expected_size, received_size = f"{self.size:,} bytes", f"{path.stat().st_size:,} bytes"
        try:
            received = self.measure(path)
        except DataError as error:
            raise DataError(f"{error} Expected about {expected_size}, received {received_size}.") from None
        for part, digest in self.contents.items():
            if received.get(part) != digest:
                raise DataError(
                    f"{path.name} is altered or incomplete: {part} should be {digest} (about {expected_size}), "
                    f"received {received.get(part, 'no such part')} ({received_size})."
                )


@dataclass(frozen=True)
class FileSet:
    """Files that make up a data set together.

    Attributes:
        files: all of them are needed.
        partial: why they are not the whole data set, or "" where they are.
    """

    files: tuple[RemoteFile, ...]
    partial: str = ""


@dataclass(frozen=True)
class RawDataset:
    """All rows of a data set, unscaled and unsplit; see `pipeline.prepared.Description` for the names.

    Attributes:
        task, input_kind: see `Description`.
        x: `(n, rows, columns)` uint8 pixels, or `(n, k)` float32 columns in the features' units.
        y: `(n,)`; int64 class ids, or float32 targets in `target_unit`.
        source: where the data comes from.
        labels: class names by class id.
        features: one entry per column of `x`.
        input_range: least and largest raw value that is possible, or None.
        target_name, target_unit: what is predicted, and its unit for a regression.
        partial: why this is not the whole data set, or "".
        groups: by grouping, `(n,)` int64 group ids for `keep_together`. `duplicates` exists for every data set.
        published_test: `(n,)` bool, rows of the published test set; None where there is none.
        strata: `(n,)` int64, finer than the classes, to deal evenly to all parts; None for the classes themselves.
        is_signal: the columns are samples of one signal in order of time.
        about: what people say of it, for model cards.
    """

    task: Task
    input_kind: InputKind
    x: np.ndarray
    y: np.ndarray
    source: str
    labels: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    input_range: tuple[float, float] | None = None
    target_name: str = "class"
    target_unit: str = ""
    partial: str = ""
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    published_test: np.ndarray | None = None
    strata: np.ndarray | None = None
    is_signal: bool = False
    about: About = field(default_factory=About)

    def checksum(self) -> str:
        """SHA-256 in hexadecimal of the IDX encodings of `x`, `y` and, where there is one, `published_test`."""
        digest = hashlib.sha256()
        # IDX has no 64-bit integers; class ids fit into 32.
        target = self.y.astype(np.int32) if self.y.dtype == np.int64 else self.y
        for array in (self.x, target, self.published_test):
            if array is not None:
                digest.update(encode_idx(array))
        return digest.hexdigest()


def parse_options(kind: type[OptionsType], options: Mapping[str, Any]) -> OptionsType:
    """Checks `datasets.<name>.options` of the parameter file.

    Args:
        kind: the class that says which keys there are.
        options: as the parameter file has them.

    Returns:
        The options, checked.

    Raises:
        ParamsError: an unknown key (the message lists the allowed ones) or a wrong value.
    """
    if options and not kind.model_fields:
        raise ParamsError(f"options: unknown key {next(iter(options))!r}. This source has no options: write `{{}}`.")
    # Wrapped, so that messages name the place as `options.KEY`.
    wrapper = create_model("Wrapper", __base__=Section, options=(kind, ...))
    try:
        return wrapper.model_validate_json(json.dumps({"options": options}, default=str)).options
    except ValidationError as error:
        raise ParamsError(describe(error, wrapper)) from None


def identifier(name: str) -> str:
    """A column's name as a valid identifier, e.g. `fixed acidity` as `fixed_acidity`.

    Raises:
        DataError: the name has no letter and no digit.
    """
    words = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not words:
        raise DataError(f"A column named {name!r} cannot be used: a name needs a letter or a digit.")
    prefixed = f"column_{words}" if words[0].isdigit() else words
    return f"{prefixed}_" if keyword.iskeyword(prefixed) else prefixed


def parse_number(text: str) -> float | None:
    """A number as tables write it, e.g. `-1.5e3`; None for any other text.

    Python's `float` also takes `1_0` and the digits of every script, which is more often a mistake than a number.
    """
    if "_" in text or not text.strip().isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file's bytes, e.g. `sha256:76c3...`."""
    with path.open("rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"


def write_arrays(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Writes inputs `(n, ...)` and targets `(n,)` to `folder`."""
    np.savez_compressed(folder / BUNDLED_FILE, x=x, y=y)


def read_arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads what `write_arrays` wrote.

    Args:
        folder: the raw folder of a bundled data set.

    Returns:
        Inputs `(n, ...)` and targets `(n,)`.

    Raises:
        DataError: the file is missing or broken.
    """
    path = folder / BUNDLED_FILE
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return archive["x"], archive["y"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} does not hold the rows ({error}). Remove it and run the fetch stage again.") from None
