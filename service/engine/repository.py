"""The models that are served: found on disk at once, loaded in a thread, handed out by name and version."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.engine.files import find_models, find_versions, read_description
from service.engine.model import AVAILABLE, END, LOADING, START, Description, Model
from service.errors import ModelUnavailable, UnknownModel

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 2

Load = Callable[[Path, str, int], Model]


@dataclass
class Version:
    """One version on disk and what has become of it.

    Attributes:
        name, number, path: which one and where.
        description: what its `model.json` says.
        state: START, LOADING, AVAILABLE or END.
        error: why it could not be loaded, or "".
        model: it, once it is AVAILABLE.
        loaded_at: when that was, in seconds since 1970.
    """

    name: str
    number: int
    path: Path
    description: Description
    state: str = START
    error: str = ""
    model: Model | None = None
    loaded_at: float = 0.0


class Repository:
    """The served models.

    Versions are found when the object is made; `load_all` loads them. Until then they answer `ModelUnavailable`.

    Args:
        folder: the model repository.
        load: loads one version, from its folder, name and number.
        names: serve these models only; empty for all.
        every_version: serve all versions of a model instead of its newest.
    """

    def __init__(self, folder: Path, load: Load, names: tuple[str, ...] = (), *, every_version: bool = False) -> None:
        self.folder = folder
        self._load = load
        self._versions: dict[str, dict[int, Version]] = {}
        for name in names or find_models(folder):
            numbers = find_versions(folder / name)
            chosen = numbers if every_version else numbers[:1]
            self._versions[name] = {number: self._describe(name, number) for number in chosen}

    def _describe(self, name: str, number: int) -> Version:
        path = self.folder / name / str(number)
        return Version(name, number, path, read_description(path))

    def load_in_background(self, when_loaded: Callable[[], None]) -> threading.Thread:
        """Starts `load_all` in a thread, which calls `when_loaded` at its end."""

        def work() -> None:
            self.load_all()
            when_loaded()

        thread = threading.Thread(target=work, name="load-models", daemon=True)
        thread.start()
        return thread

    def load_all(self) -> None:
        """Loads every version that is not loaded yet, one after another; one that fails does not stop the others."""
        with ThreadPoolExecutor(1, thread_name_prefix="load-model") as executor:
            for version in self._all():
                if version.state == START:
                    self._load_version(version, executor)

    def _load_version(self, version: Version, executor: Executor) -> None:
        version.state = LOADING
        # A SavedModel can fail in any way; a future keeps whatever it is, for the others must be served all the same.
        outcome = executor.submit(self._load, version.path, version.name, version.number)
        error = outcome.exception()
        if error is not None:
            version.error = f"{type(error).__name__}: {error}"
            version.state = END
            logger.error("Model %s version %d could not be loaded", version.name, version.number, exc_info=error)
            return
        version.model = outcome.result()
        version.loaded_at = time.time()
        version.state = AVAILABLE
        logger.info("Model %s version %d is available", version.name, version.number)

    def knows(self, name: str) -> bool:
        """Whether there is a model of this name, loaded or not."""
        return name in self._versions

    def find(self, name: str, number: int | None = None) -> Model:
        """Gives a loaded model.

        Args:
            name: the model's.
            number: the version's; None for the newest that is available.

        Raises:
            UnknownModel: there is no such model or version.
            ModelUnavailable: it is not loaded.
        """
        versions = self._versions.get(name) or {}
        chosen = self._newest(versions) if number is None else versions.get(number)
        if chosen is None:
            raise self._unknown(name, number)
        if chosen.model is None:
            raise unavailable(chosen)
        return chosen.model

    def _newest(self, versions: dict[int, Version]) -> Version | None:
        for version in versions.values():
            if version.model is not None:
                return version
        return next(iter(versions.values()), None)

    def _unknown(self, name: str, number: int | None) -> UnknownModel:
        wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        if number is None or name not in self._versions:
            served = f"Models: {', '.join(self._versions) or 'none'}"
        else:
            served = f"Versions: {', '.join(map(str, self._versions[name])) or 'none'}"
        return UnknownModel(f"Servable not found for request: {wanted}. {served}.")

    def versions(self, name: str, number: int | None = None) -> list[Version]:
        """The versions of a model, newest first, or the one with this number.

        Raises:
            UnknownModel: there is no such model or version.
        """
        versions = self._versions.get(name) or {}
        if not versions:
            raise UnknownModel(f"Could not find any versions of model {name}")
        if number is None:
            return list(versions.values())
        if number not in versions:
            raise UnknownModel(f"Could not find version {number} of model {name}")
        return [versions[number]]

    def list_models(self) -> list[dict[str, Any]]:
        """Every model: its name, its versions, the signatures of the newest and what its `model.json` says."""
        return [
            summarize(name, list(versions.values()), self._newest(versions))
            for name, versions in self._versions.items()
        ]

    def loaded(self) -> list[Version]:
        """The versions that are available."""
        return [version for version in self._all() if version.model is not None]

    def pending(self) -> dict[str, str]:
        """What is in the way of readiness: a sentence by model, or one under "" where there are no models at all."""
        if not self._versions:
            return {"": f"No models in {self.folder}. Publish one (dvc repro) and start the service again."}
        waiting = {
            name: f"no version in {self.folder / name}" for name, versions in self._versions.items() if not versions
        }
        for version in self._all():
            if version.state != AVAILABLE:
                waiting.setdefault(version.name, f"version {version.number} is in state {version.state}")
        return waiting

    def _all(self) -> list[Version]:
        return [version for versions in self._versions.values() for version in versions.values()]


def unavailable(version: Version) -> ModelUnavailable:
    """The error for a version that is not loaded."""
    if version.state == END:
        return ModelUnavailable(
            f"Model '{version.name}' version {version.number} could not be loaded; "
            f"GET /v1/models/{version.name} says why."
        )
    return ModelUnavailable(f"Model '{version.name}' is still being loaded. Try again shortly.", RETRY_AFTER_SECONDS)


# What `GET /v1/models` repeats of a model's `model.json`.
REPEATED = (
    "task", "labels", "target", "input", "features", "operating_point", "metrics", "data", "example", "created",
)  # fmt: skip


def summarize(name: str, versions: list[Version], newest: Version | None) -> dict[str, Any]:
    """One model as `list_models` tells it; a SavedModel of another make has `name`, `versions` and `signatures`."""
    summary: dict[str, Any] = {
        "name": name,
        "versions": [describe_state(version) for version in versions],
        "signatures": sorted(newest.model.signatures) if newest and newest.model else [],
    }
    description = newest.description if newest else {}
    return summary | {key: description[key] for key in REPEATED if key in description}


def describe_state(version: Version) -> dict[str, Any]:
    """A version's state in TensorFlow Serving's form."""
    return {
        "version": str(version.number),
        "state": version.state,
        "status": {"error_code": "UNKNOWN" if version.error else "OK", "error_message": version.error},
    }
