"""What is served, and what was decided about it. Each method is one step from one consistent state to the next."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from service.engine.decisions import Decisions
from service.engine.desired import Desired
from service.engine.held import Drop, HeldModel, HeldVersion
from service.engine.held_models import HeldModels
from service.engine.interface import AVAILABLE, Catalog, Choice
from service.engine.labels import Labels
from service.errors import UnknownModel


class Registry(HeldModels):
    """The versions in memory with what is asked and decided about them.

    Args:
        folder: the model repository.
        desired: what should be served.
    """

    def __init__(self, folder: Path, desired: Desired) -> None:
        super().__init__(desired)
        self._folder = folder
        self._is_settled = False
        self._was_ready = False

    def catalog(self) -> Catalog:
        """What is served now."""
        with self.lock:
            models = {name: self._models[name].view(self._obstacle(name)) for name in sorted(self._models)}
            self._was_ready |= bool(models) and not any(model.obstacle for model in models.values())
            missing = not models and not self._was_ready
            return Catalog(models, f"No models in {self._folder}. Publish one (dvc repro)." if missing else "")

    def _obstacle(self, name: str) -> str:
        model = self._models[name]
        if not model.is_awaited:
            return ""
        return model.describe_obstacle(self._folder / name, self._desired.choice(name).specific)

    def enlist(self, found: Collection[str] | None) -> list[str]:
        """Takes up new models and forgets those that are gone.

        Args:
            found: models in the repository, or None if it could not be read.

        Returns:
            The models whose versions should be looked at.
        """
        with self.lock:
            named = self._desired.names()
            for name in [name for name in self._models if name not in named and name not in (found or [])]:
                if self._models[name].is_idle() and (found is not None or not self._desired.serves(name)):
                    del self._models[name]
            if not self._models and not self._was_ready:
                self._is_settled = False
            for name in filter(self._desired.serves, named or found or ()):
                self._models.setdefault(name, HeldModel(name, is_awaited=not self._is_settled))
            return sorted(self._models)

    def settle(self) -> None:
        """The first look at the repository is over: models that appear from now on do not take readiness away."""
        with self.lock:
            self._is_settled |= bool(self._models)

    def label(self, name: str, label: str, version: int | None) -> list[Drop]:
        """Points a label at an available version, or takes it away; says what is given up, which it had kept.

        Raises:
            UnknownModel: no such model, or version that is available, or label to take away.
        """
        with self.lock:
            model = self._models.get(name)
            if model is None:
                raise UnknownModel(f"Could not find any versions of model {name}")
            labels = self._desired.labels(name)
            if version is None and label not in labels:
                raise UnknownModel(f"Model '{name}' has no label '{label}'. Labels: {', '.join(labels) or 'none'}.")
            if version is not None and version not in model.numbers(AVAILABLE):
                raise UnknownModel(
                    f"Could not find version {version} of model {name}. Available: {model.list_available()}."
                )
            self._desired.decide_label(name, label, version)
            return self._adjust(model)

    def unload(self, name: str) -> list[Drop]:
        """Gives up a model.

        Raises:
            UnknownModel: it is not served.
        """
        with self.lock:
            model = self._models.get(name)
            if model is None or self._desired.is_unloaded(name) or not self._desired.serves(name):
                raise UnknownModel(f"Model '{name}' is not served")
            self._desired.decide_unloaded(name)
            return self._adjust(model)

    def welcome(self, name: str) -> None:
        """Serves a model again that was unloaded, or one that appeared."""
        with self.lock:
            self._desired.decide_loaded(name)
            self._models.setdefault(name, HeldModel(name, is_awaited=not self._is_settled))

    def describe_failure(self, name: str) -> str:
        """Why no version of a model is available, in a sentence; "" if one is."""
        with self.lock:
            model = self._models.get(name)
            if model is not None and model.numbers(AVAILABLE):
                return ""
            failed = [held.error for held in model.newest_first() if held.has_failed] if model else []
            specific = self._desired.choice(name).specific
            return failed[0] if failed else (model or HeldModel(name)).describe_obstacle(self._folder / name, specific)

    def unavailable(self, name: str, numbers: Iterable[int]) -> dict[int, str]:
        """Those of the versions that cannot be called, and why each could not be loaded."""
        with self.lock:
            versions = self._models[name].versions if name in self._models else {}
            states = {number: versions.get(number, HeldVersion(name, number)) for number in numbers}
            return {number: held.error for number, held in states.items() if held.state != AVAILABLE}

    def missing_labels(self) -> dict[tuple[str, str], int]:
        """Labels whose version is not available, of models that are served."""
        with self.lock:
            return {
                (name, label): number
                for name, model in self._models.items()
                if not self._desired.is_unloaded(name)
                for label, number in self._desired.labels(name).items()
                if label not in model.labels
            }

    def hold(self) -> Decisions:
        """Gives up nothing until `release`, so that the decisions of now, which it returns, can be gone back to."""
        with self.lock:
            self._is_holding = True
            return self._desired.decisions

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Labels]) -> None:
        """Asks for exactly these models."""
        with self.lock:
            self._desired.decide_configured(choices, labels)

    def release(self, decisions: Decisions | None) -> list[Drop]:
        """Ends `hold`, and gives up at once what is not wanted any more.

        Args:
            decisions: what to go back to, or None to stay with what was decided meanwhile.
        """
        with self.lock:
            self._is_holding = False
            self._desired.decisions = decisions or self._desired.decisions
            return [drop for model in list(self._models.values()) for drop in self._adjust(model)]
