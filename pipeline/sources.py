"""From `datasets.<name>.source` to the code that reads it: a module of `pipeline/datasets`, or a CSV file."""

import importlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.datasets import table
from pipeline.errors import DataError, ParamsError
from pipeline.params import DatasetParams
from pipeline.raw import FileSet, RawDataset


@dataclass(frozen=True)
class Source:
    """Where one data set comes from.

    Attributes:
        name: of the data set.
        options: `datasets.<name>.options`.
        module: the code that reads the raw folder.
        csv: the user's own file, or None.
    """

    name: str
    options: Mapping[str, Any]
    module: ModuleType
    csv: Path | None = None

    def remote_files(self) -> tuple[FileSet, ...]:
        """The sets of files to choose from; empty where nothing has to be fetched.

        Raises:
            ParamsError: an option is unknown or wrong.
        """
        with_files = getattr(self.module, "remote_files", None)
        try:
            return with_files(self.options) if with_files else ()
        except ParamsError as error:
            raise ParamsError(f"datasets.{self.name}.{error}") from None

    def write_local(self, folder: Path) -> None:
        """Writes data that needs no fetching to `folder`: the CSV, or what a library brings along.

        Raises:
            DataError: the CSV does not exist.
        """
        if self.csv is None:
            self.module.write_bundled(folder, self.options)
        elif self.csv.is_file():
            shutil.copyfile(self.csv, folder / table.FILE)
        else:
            raise DataError(f"datasets.{self.name}.source: there is no file {self.csv}.")

    def load(self, folder: Path) -> RawDataset:
        """Reads the raw folder.

        Args:
            folder: `data/raw/<dataset>`.

        Returns:
            All rows, in raw units.

        Raises:
            DataError: the folder is missing, or its files do not hold what the data set promises.
            ParamsError: an option is unknown or wrong.
        """
        if not folder.is_dir():
            raise DataError(f"No raw data in {folder}. Run the fetch stage first: dvc repro fetch@{self.name}.")
        try:
            return self.module.load(folder, self.options)
        except ParamsError as error:
            raise ParamsError(f"datasets.{self.name}.{error}") from None
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from None


def find_source(name: str, params: DatasetParams, root: Path) -> Source:
    """Finds what reads a data set.

    Args:
        name: of the data set.
        params: its block.
        root: the project's folder, from which the path of a CSV counts.

    Returns:
        The source; nothing is read yet.

    Raises:
        ParamsError: there is no such module, or it has no `load`.
    """
    if params.source.endswith(".csv"):
        return Source(name, params.options, table, root / params.source)
    module_name = Path(params.source).stem
    available = sorted(path.stem for path in Path(table.__file__).parent.glob("[a-z]*.py") if path.stem != "table")
    if module_name not in available:
        listed = ", ".join(f"'pipeline/datasets/{stem}.py'" for stem in available)
        raise ParamsError(f"datasets.{name}.source: there is no {params.source!r}. Available: {listed}, or a CSV file.")
    module = importlib.import_module(f"pipeline.datasets.{module_name}")
    if not hasattr(module, "load") or not (hasattr(module, "remote_files") or hasattr(module, "write_bundled")):
        raise ParamsError(
            f"datasets.{name}.source: {params.source} needs `load` and either `remote_files` or `write_bundled`; "
            "see pipeline/raw.py."
        )
    return Source(name, params.options, module)
