"""What was found out about versions that were loaded, so that an engine that is started again need not examine them."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

import orjson

from service.engine.saved_model.loader import Examination
from service.engine.sources.files import Fingerprint

logger = logging.getLogger(__name__)


class Examined:
    """Examinations by version, in a file that outlives the engine's process.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], tuple[Fingerprint, Examination]] = {}
        try:
            for name, number, files, examination in orjson.loads(path.read_bytes()):
                fingerprint = tuple((file, changed, size) for file, changed, size in files)
                self._known[name, number] = fingerprint, Examination.from_json(examination)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning("Versions are examined again: %s cannot be read: %r", path, error)

    def find(self, name: str, number: int, files: Fingerprint) -> Examination | None:
        """What is known of a version whose files are these, or None."""
        known = self._known.get((name, number))
        return known[1] if known is not None and known[0] == files else None

    def note(self, name: str, number: int, files: Fingerprint, examination: Examination) -> None:
        """A version was loaded."""
        with self._lock:
            if self._known.get((name, number), ((), None))[0] != files:
                self._known[name, number] = files, examination
                self._save()

    def forget(self, name: str, number: int) -> None:
        """A version is to be examined again."""
        with self._lock:
            if self._known.pop((name, number), None) is not None:
                self._save()

    def _save(self) -> None:
        """Writes the file; without it a restart takes longer, which is no reason to fail."""
        entries: list[Any] = [
            [*place, files, examination.to_json()] for place, (files, examination) in self._known.items()
        ]
        draft = self._path.with_name(f"{self._path.name}.new")
        try:
            draft.write_bytes(orjson.dumps(entries))
            os.replace(draft, self._path)
        except OSError as error:
            logger.warning("%s cannot be written; a restart of the engine will take longer: %s", self._path, error)
