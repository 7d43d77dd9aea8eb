"""The model configuration, read again when its file changes."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from service.engine.sources.model_config import ModelConfig, load_model_config
from service.errors import InvalidSettings

logger = logging.getLogger(__name__)


class ConfigFile:
    """What the file says, or said before somebody broke it.

    Args:
        path: of the TOML file, or None for none.

    Attributes:
        models: by name.

    Raises:
        InvalidSettings: the file cannot be read, or says something impossible.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp = self._take_stamp()
        self.models: Mapping[str, ModelConfig] = {} if path is None else load_model_config(path)

    def poll(self) -> bool:
        """Reads the file again if it has changed, and says whether there is something new.

        A wrong file changes nothing, and is logged once.
        """
        stamp = self._take_stamp()
        if self._path is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            models = load_model_config(self._path)
        except InvalidSettings as error:
            logger.warning("%s What it said before stays in force.", error)
            return False
        self.models = models
        logger.info("Read the model configuration %s again", self._path)
        return True

    def _take_stamp(self) -> tuple[int, ...]:
        """What tells one state of the file from another; a mounted ConfigMap exchanges the file behind a link."""
        try:
            status = os.stat(self._path) if self._path is not None else None
        except OSError:
            status = None
        return () if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
