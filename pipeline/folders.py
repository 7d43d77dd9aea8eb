"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Gives an empty folder beside `target` to write to; it takes the name `target` when the block ends well.

    A run that is killed leaves only the hidden folder beside, which the next run removes.

    Args:
        target: replaced if it exists.

    Yields:
        The folder to write to.
    """
    building = target.with_name(f".{target.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        yield building
        replace_folder(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def replace_folder(built: Path, target: Path) -> None:
    """Renames `built` to `target`; what had that name is removed.

    Args:
        built: a complete folder on the same file system.
        target: the name to take. For an instant between two renames it does not exist; it is never half full.
    """
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(built, target)
    shutil.rmtree(old, ignore_errors=True)
