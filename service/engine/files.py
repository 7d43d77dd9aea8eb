"""The model repository on disk: which models and versions there are, and what `model.json` says of them."""

import json
import logging
import os
from pathlib import Path

import orjson

from service.engine.interface import Description

logger = logging.getLogger(__name__)

# The largest that TensorFlow Serving's API can carry.
LARGEST_VERSION = 2**63 - 1

# Name, time of change in nanoseconds and size in bytes of every file in a folder.
Fingerprint = tuple[tuple[str, int, int], ...]


def find_models(repository: Path) -> list[str]:
    """Names of the folders in the repository that hold at least one version, sorted; none if it cannot be read."""
    return list_models(repository) or []


def find_versions(model: Path) -> list[int]:
    """Version numbers of a model, newest first; none if its folder cannot be read."""
    return list_versions(model) or []


def list_models(repository: Path) -> list[str] | None:
    """Names of the folders in the repository that hold at least one version, sorted; None if it cannot be read."""
    try:
        folders = sorted(folder for folder in repository.iterdir() if folder.is_dir())
    except OSError:
        return None
    return [folder.name for folder in folders if is_model_name(folder.name) and find_versions(folder)]


def list_versions(model: Path) -> list[int] | None:
    """Version numbers of a model, newest first; None if its folder cannot be read, or is not there.

    Folders that are no number or hold no SavedModel are no versions.
    """
    try:
        entries = list(model.iterdir())
    except OSError:
        return None
    numbers = (int(entry.name) for entry in entries if is_version(entry))
    return sorted(numbers, reverse=True)


def is_model_name(name: str) -> bool:
    """Whether this names a folder in the repository, and neither a hidden one nor one elsewhere."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name and is_unicode(name)


def is_unicode(text: str) -> bool:
    """Whether a message can carry this; a file's name may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_version(folder: Path) -> bool:
    """Whether this is a version that can be loaded: `1`, but neither `01` nor `latest`."""
    name = folder.name
    return (
        name.isascii()
        and name.isdigit()
        and str(int(name)) == name
        and int(name) <= LARGEST_VERSION
        and (folder / "saved_model.pb").is_file()
    )


def take_fingerprint(version: Path) -> Fingerprint:
    """What changes when the files of a version do; files that vanish meanwhile are left out."""
    entries = []
    for folder, _, names in os.walk(version):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            entries.append((os.path.relpath(path, version), status.st_mtime_ns, status.st_size))
    return tuple(sorted(entries))


def read_description(version: Path) -> Description:
    """What `assets.extra/model.json` says; empty for a SavedModel that another tool made."""
    path = version / "assets.extra" / "model.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        # The catalogue must be able to carry it: no half of a surrogate pair, no number over 64 bits, no deep nesting.
        orjson.dumps(description)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        logger.warning("Ignored %s, which cannot be read: %s", path, error)
        return {}
    if not isinstance(description, dict):
        logger.warning("Ignored %s, which holds no JSON object", path)
        return {}
    return description
