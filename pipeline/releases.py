"""The model repository: `models/<name>/<version>/`, in which a version appears whole and is never changed."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, PublishRefused
from pipeline.prepared import load_report, write_json

MANIFEST = Path("assets.extra") / "model.json"
PROFILE = Path("assets.extra") / "profile.json"
CARD = Path("assets.extra") / "model_card.md"
VOLATILE_FILES = frozenset({"fingerprint.pb", CARD.name})
"""TensorFlow writes a random number into each SavedModel's fingerprint; the card says when it was published."""
VOLATILE_KEYS = frozenset({"git_commit", "created", "content", "training"})
"""Keys of `model.json` that say when and how a version was made, not what it is."""


@dataclass(frozen=True)
class Release:
    """A SavedModel folder of this pipeline, published or still a candidate.

    Attributes:
        folder: which holds `saved_model.pb` and `assets.extra/`.
        manifest: what `assets.extra/model.json` holds.
    """

    folder: Path
    manifest: dict[str, Any]

    def load_profile(self) -> dict[str, Any]:
        """Reads the distribution of the training rows."""
        return load_report(self.folder / PROFILE, "export")

    def content(self) -> str:
        """SHA-256 of all that makes the model what it is, in hexadecimal: equal for an export made again."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            if path.is_file() and path.name not in VOLATILE_FILES and name != MANIFEST:
                digest.update(f"{name.as_posix()}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
        lasting = {key: value for key, value in self.manifest.items() if key not in VOLATILE_KEYS}
        digest.update(json.dumps(lasting, sort_keys=True).encode())
        return digest.hexdigest()


def load_candidate(folder: Path) -> Release:
    """Reads an export.

    Raises:
        DataError: there is none, or it is not complete.
    """
    if not (folder / "saved_model.pb").is_file():
        raise DataError(f"No SavedModel in {folder}. Run the export stage first.")
    manifest = _load_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder / MANIFEST} is missing or is not JSON. Run the export stage again.")
    return Release(folder, manifest)


def latest_release(models: Path, name: str) -> Release | None:
    """The published version with the highest number that has a manifest, or None."""
    for version in sorted(_versions(models / name), reverse=True):
        folder = models / name / str(version)
        manifest = _load_manifest(folder)
        if manifest is not None:
            return Release(folder, manifest)
    return None


def find_release(models: Path, name: str, version: int | None) -> Release:
    """A published version; the newest where no number is given.

    Raises:
        DataError: there is none. The message lists those there are.
    """
    if version is None:
        release = latest_release(models, name)
        if release is not None:
            return release
        published = sorted({path.parents[2].name for path in models.glob(f"*/*/{MANIFEST}")})
        available = ", ".join(repr(entry) for entry in published) or "none"
        raise DataError(f"No version of {name!r} is published in {models}. Available: {available}.")
    manifest = _load_manifest(models / name / str(version))
    if manifest is None:
        available = ", ".join(str(number) for number in sorted(_versions(models / name))) or "none"
        raise DataError(f"{models} has no version {version} of {name!r}. Available: {available}.")
    return Release(models / name / str(version), manifest)


def add_release(models: Path, name: str, candidate: Release, added: dict[str, Any], card: str) -> Path:
    """Copies a candidate into the repository under the next number.

    The copy is complete and on disk before it gets its name, in one rename: a reader, a kill or a power cut finds the
    version whole or not at all.

    Args:
        models: the repository.
        name: of the model.
        candidate: what to publish; it is left as it is.
        added: keys to add to the copy's manifest.
        card: the model card, for people.

    Returns:
        The folder of the new version.

    Raises:
        PublishRefused: another process took the number at the same moment.
    """
    # Folders that hold no readable version count as well: their number may be known to somebody.
    version = max(_versions(models / name), default=0) + 1
    staged = _staging(models) / f"{name}-{version}-{os.getpid()}"
    # Without the files' modes: DVC may have linked the candidate's files to its cache and made them read-only.
    shutil.copytree(candidate.folder, staged, copy_function=shutil.copyfile)
    write_json({**candidate.manifest, **added}, staged / MANIFEST)
    (staged / CARD).write_text(card, encoding="utf-8")
    _sync_tree(staged)
    target = models / name / str(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        staged.rename(target)
    except OSError as error:
        raise PublishRefused(f"{target} appeared while it was being published ({error}). Run publish again.") from None
    _sync(target.parent)
    return target


@contextmanager
def sole_publisher(models: Path, name: str) -> Iterator[None]:
    """Keeps a second publisher of the same model waiting, and removes what a killed one left."""
    staging = _staging(models)
    staging.mkdir(parents=True, exist_ok=True)
    with (staging / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in staging.glob(f"{name}-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _staging(models: Path) -> Path:
    """On the repository's own file system, and with a name that no reader takes for a model."""
    return models / ".staging"


def _versions(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isascii() and entry.name.isdigit()]


def _load_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _sync_tree(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
