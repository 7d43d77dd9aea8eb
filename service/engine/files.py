"""The model repository on disk: which models and versions there are, and what `model.json` says of them."""

import json
import logging
from pathlib import Path

from service.engine.model import Description

logger = logging.getLogger(__name__)


def find_models(repository: Path) -> list[str]:
    """Names of the folders in the repository that hold at least one version, sorted."""
    try:
        folders = sorted(folder for folder in repository.iterdir() if folder.is_dir())
    except OSError:
        return []
    return [folder.name for folder in folders if not folder.name.startswith(".") and find_versions(folder)]


def find_versions(model: Path) -> list[int]:
    """Version numbers of a model, newest first; folders that are no number or hold no SavedModel are none."""
    try:
        entries = list(model.iterdir())
    except OSError:
        return []
    numbers = (int(entry.name) for entry in entries if is_version(entry))
    return sorted(numbers, reverse=True)


def is_version(folder: Path) -> bool:
    """Whether this is a version that can be loaded: `1`, but neither `01` nor `latest`."""
    name = folder.name
    return name.isascii() and name.isdigit() and str(int(name)) == name and (folder / "saved_model.pb").is_file()


def read_description(version: Path) -> Description:
    """What `assets.extra/model.json` says; empty for a SavedModel that another tool made."""
    path = version / "assets.extra" / "model.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("Ignored %s, which cannot be read: %s", path, error)
        return {}
    if not isinstance(description, dict):
        logger.warning("Ignored %s, which holds no JSON object", path)
        return {}
    return description
