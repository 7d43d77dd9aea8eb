"""The stage `fetch`: brings the raw files of one data set to `data/raw/<dataset>`."""

import functools
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.command import run_stage
from pipeline.download import Retries
from pipeline.errors import DataError
from pipeline.folders import replace_folder, whole_folder
from pipeline.mirror import FileUnavailable, obtain
from pipeline.params import Params
from pipeline.raw import FileSet
from pipeline.sources import find_source


def fetch(name: str, params: Params, root: Path, *, mirror: str = "", retries: Retries | None = None) -> None:
    """Fetches one data set; `data/raw/<name>` appears whole or not at all.

    Finished files and the beginning of an unfinished one lie in `data/raw/.<name>.incomplete` until all are there, so
    a run that was killed is resumed by the next one.

    Args:
        name: of the data set.
        params: the parameter file.
        root: the project's folder.
        mirror: a folder or address with the same files; "" for their public homes.
        retries: of downloads; None for the defaults.

    Raises:
        DataError: a file is missing, cut short or altered; the message says how to supply it.
        ParamsError: there is no such data set, or an option of it is wrong.
    """
    source = find_source(name, params.dataset(name), root)
    target = root / "data" / "raw" / name
    file_sets = source.remote_files()
    if not file_sets:
        with whole_folder(target) as folder:
            source.write_local(folder)
        return
    incomplete = target.with_name(f".{name}.incomplete")
    chosen = _obtain_first(file_sets, incomplete, mirror, retries or Retries())
    _remove_others(incomplete, chosen)
    replace_folder(incomplete, target)
    if chosen.partial:
        print(f"{name}: {chosen.partial}.", file=sys.stderr)  # noqa: T201


def _obtain_first(file_sets: Sequence[FileSet], folder: Path, mirror: str, retries: Retries) -> FileSet:
    """The first set whose files can all be had; an altered file ends the search, since it needs a person."""
    missing: list[FileUnavailable] = []
    for file_set in file_sets:
        try:
            for file in file_set.files:
                obtain(file, folder / file.name, mirror, retries)
        except FileUnavailable as error:
            missing.append(error)
        else:
            return file_set
    raise DataError(str(missing[0]))


def _remove_others(folder: Path, chosen: FileSet) -> None:
    wanted = {file.name for file in chosen.files}
    for path in folder.iterdir():
        if path.name not in wanted:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """Fetches the raw files of one data set, from their public home or from KILN_DATA_MIRROR."""
    work = functools.partial(fetch, mirror=os.environ.get("KILN_DATA_MIRROR", ""))
    return run_stage("dataset", work, argv)


if __name__ == "__main__":
    sys.exit(main())
