"""Where the files of a data set come from: their public home, a folder, or another server with the same files."""

import os
import shutil
import sys
from pathlib import Path

from pipeline.download import Retries, download, part_of
from pipeline.errors import DataError
from pipeline.raw import RemoteFile


class FileUnavailable(DataError):
    """A file is not there; another one may do."""


def obtain(file: RemoteFile, target: Path, mirror: str, retries: Retries) -> None:
    """Puts a checked copy of a file at `target`.

    Args:
        file: what is wanted.
        target: where it goes; it appears whole or not at all. A checked copy that is there already is kept.
        mirror: a folder or an address that holds the file under its `mirror_name`; "" for its public home.
        retries: of downloads.

    Raises:
        FileUnavailable: the mirror lacks the file, or no public home gives it.
        DataError: the file is there but altered or cut short.
    """
    if target.exists() and _is_right(file, target):
        return
    if "://" in mirror and not mirror.startswith(("http://", "https://")):
        raise DataError(f"KILN_DATA_MIRROR is a folder or an http(s) address, not {mirror!r}.")
    if mirror and "://" not in mirror:
        _copy(file, target, Path(mirror))
    else:
        _download_any(file, target, _addresses(file, mirror), retries)


def advice(file: RemoteFile) -> str:
    """How a person supplies a file that could not be had."""
    return (
        f"To supply it yourself, put the file into a folder as {file.mirror_name} and set KILN_DATA_MIRROR to that "
        "folder (or to an http(s) address that serves it)."
    )


def _addresses(file: RemoteFile, mirror: str) -> tuple[str, ...]:
    return (f"{mirror.rstrip('/')}/{file.mirror_name}",) if mirror else file.addresses


def _is_right(file: RemoteFile, path: Path) -> bool:
    try:
        file.check(path)
    except DataError:
        path.unlink()
        return False
    return True


def _copy(file: RemoteFile, target: Path, mirror: Path) -> None:
    origin = mirror / file.mirror_name
    if not origin.is_file():
        raise FileUnavailable(f"{file.mirror_name} is missing in the mirror {mirror}. {advice(file)}")
    part = part_of(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(origin, part)
    os.replace(part, target)
    _check(file, target, str(origin))


def _download_any(file: RemoteFile, target: Path, addresses: tuple[str, ...], retries: Retries) -> None:
    failures = []
    for address in addresses:
        try:
            return _download(file, target, address, retries)
        except DataError as error:
            failures.append(error)
    raise _joined(file, failures)


def _joined(file: RemoteFile, failures: list[DataError]) -> DataError:
    """All that went wrong as one error: an altered file is worse than a missing one."""
    if not failures:
        return FileUnavailable(f"{file.name} has no public address. {advice(file)}")
    altered = [error for error in failures if not isinstance(error, FileUnavailable)]
    text = "\n".join(str(error) for error in failures)
    return type(altered[0])(text) if altered else FileUnavailable(f"{text} {advice(file)}")


def _download(file: RemoteFile, target: Path, address: str, retries: Retries) -> None:
    resumed = part_of(target).exists()
    _download_whole(address, target, retries)
    if resumed and not _is_right(file, target):
        # The beginning came from an older or another file: once more, from the first byte.
        print(f"{file.name}: the resumed download does not fit together; downloading it anew.", file=sys.stderr)  # noqa: T201
        _download_whole(address, target, retries)
    _check(file, target, address)


def _download_whole(address: str, target: Path, retries: Retries) -> None:
    try:
        download(address, target, retries)
    except DataError as error:
        raise FileUnavailable(str(error)) from None


def _check(file: RemoteFile, target: Path, origin: str) -> None:
    try:
        file.check(target)
    except DataError as error:
        target.unlink()
        raise DataError(f"{origin}: {error} {advice(file)}") from None
