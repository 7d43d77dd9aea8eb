"""What is served, and what was decided about it. Each method is one step from one consistent state to the next."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from service.engine.interface import AVAILABLE, LOADING, Catalog, Choice
from service.engine.repository import describe_problem
from service.engine.sources.scanner import Scan
from service.engine.versions.aspired import AspiredVersions
from service.engine.versions.labels import Labels
from service.engine.versions.managed import Drop, ManagedModel, ManagedVersion
from service.engine.versions.managed_models import ManagedModels
from service.engine.versions.policy import choose
from service.engine.versions.runtime_overrides import RuntimeOverrides
from service.errors import UnknownModel
from service.settings_parsers import Ready


class Registry(ManagedModels):
    """The versions in memory with what is asked and decided about them.

    Args:
        folder: the model repository.
        aspired: what should be served.
        ready: what must be served for the service to be ready.
    """

    def __init__(self, folder: Path, aspired: AspiredVersions, ready: Ready) -> None:
        super().__init__(aspired)
        self._folder = folder
        self._ready = ready
        self._problems: Mapping[str, str] = {}
        self._is_settled = False
        self._was_ready = False

    def catalog(self) -> Catalog:
        """What is served now."""
        with self.lock:
            models = {name: self._models[name].view(self._obstacle(name)) for name in sorted(self._models)}
            obstacle = self._general_obstacle()
            self._was_ready |= bool(models) and not obstacle and not any(model.obstacle for model in models.values())
            return Catalog(models, obstacle, problems=self._problems)

    def _general_obstacle(self) -> str:
        problems = "; ".join(f"'{entry}': {sentence}" for entry, sentence in sorted(self._problems.items())[:3])
        if self._ready.kind == "all" and problems:
            return f"Not everything in {self._folder} can be served. {problems}"
        absent = [name for name in self._ready.names if name not in self._models]
        if absent:
            return f"No model {', '.join(absent)} in {self._folder}, which KILN_READY names. {problems}".rstrip()
        if self._was_ready:
            return ""
        if not self._models:
            return f"No models in {self._folder}. {problems or 'Publish one (dvc repro).'}"
        wanted = [model for name, model in self._models.items() if not self._aspired.is_unloaded(name)]
        if wanted and not any(self._is_missed(model) or model.numbers(AVAILABLE) for model in wanted):
            return "No model could be loaded; GET /v1/models/NAME says why."
        return ""

    def _obstacle(self, name: str) -> str:
        """Why the service is not ready for the sake of a model, or ""."""
        model, specific = self._models[name], self._aspired.choice(name).specific
        if self._aspired.is_unloaded(name) or not self._is_missed(model):
            return ""
        return self._describe_problem(model) or model.describe_obstacle(self._folder / name, specific)

    def _describe_problem(self, model: ManagedModel) -> str:
        return "" if model.on_disk else describe_problem(self._problems, model.name)

    def _is_missed(self, model: ManagedModel) -> bool:
        available = model.numbers(AVAILABLE)
        if self._ready.kind == "names":
            return model.name in self._ready.names and (not available or (model.is_awaited and not self._was_ready))
        if self._ready.kind == "any":
            return model.is_awaited and not self._describe_problem(model)
        if model.is_awaited:
            return True
        # A version that appeared later is missed once it has failed, not while it is loaded beside the one that serves.
        chosen = {*choose(list(model.on_disk), self._aspired.choice(model.name)), *model.pending_labels.values()}
        return not available or any(version.error and version.number in chosen for version in model.newest_first())

    def sync(self, scan: Scan | None, due: Collection[ManagedVersion]) -> list[Drop]:
        """Takes note of what the repository holds: takes up new models, and forgets those that are gone.

        Args:
            scan: what it holds, or None if it could not be read.
            due: failed versions that should be tried again now.

        Returns:
            What was given up for it.
        """
        with self.lock:
            named = self._aspired.names()
            found = None if scan is None else scan.models()
            for name in [name for name in self._models if name not in named and name not in (found or [])]:
                if self._models[name].is_idle() and (found is not None or not self._aspired.serves(name)):
                    del self._models[name]
                    self.revision += 1
            if not self._models and not self._was_ready:
                self._is_settled = False
            for name in filter(self._aspired.serves, named or found or ()):
                self._add(name)
            # Models that appear from now on do not take readiness away.
            self._is_settled |= bool(self._models)
            if scan is not None and scan.problems != self._problems:
                self._problems = scan.problems
                self.revision += 1
            for version in due:
                version.is_due = True
            changed = {version.name for version in due}
            for name, model in self._models.items():
                on_disk = None if scan is None else scan.versions.get(name)
                if on_disk is not None and on_disk != model.on_disk:
                    model.on_disk = on_disk
                    changed.add(name)
            return self._adjust_all(changed)

    def adjust(self) -> list[Drop]:
        """What should be served has changed; says what is given up for it."""
        with self.lock:
            return self._adjust_all(self._models)

    def _adjust_all(self, names: Iterable[str]) -> list[Drop]:
        return [drop for name in list(names) if name in self._models for drop in self._adjust(self._models[name])]

    def _add(self, name: str) -> None:
        if name not in self._models:
            self._models[name] = ManagedModel(name, is_awaited=not self._is_settled)
            self._note_change(self._models[name])

    def add(self, name: str) -> list[Drop]:
        """Serves a model again that was unloaded, or one that appeared."""
        with self.lock:
            self._aspired.decide_loaded(name)
            self._add(name)
            return self._adjust(self._models[name])

    def label(self, name: str, label: str, version: int | None) -> list[Drop]:
        """Points a label at an available version, or takes it away; says what is given up, which it had kept.

        Raises:
            UnknownModel: no such model, or version that is available, or label to take away.
        """
        with self.lock:
            model = self._models.get(name)
            if model is None:
                raise UnknownModel(f"Could not find any versions of model {name}")
            labels = self._aspired.labels(name)
            if version is None and label not in labels:
                raise UnknownModel(f"Model '{name}' has no label '{label}'. Labels: {', '.join(labels) or 'none'}.")
            if version is not None and version not in model.numbers(AVAILABLE):
                raise UnknownModel(
                    f"Could not find version {version} of model {name}. Available: {model.list_available()}."
                )
            self._aspired.decide_label(name, label, version)
            return self._adjust(model)

    def unload(self, name: str) -> list[Drop]:
        """Gives up a model.

        Raises:
            UnknownModel: it is not served.
        """
        with self.lock:
            model = self._models.get(name)
            if model is None or self._aspired.is_unloaded(name) or not self._aspired.serves(name):
                raise UnknownModel(f"Model '{name}' is not served")
            self._aspired.decide_unloaded(name)
            return self._adjust(model)

    def describe_failure(self, name: str) -> str:
        """Why no version of a model is available, in a sentence; "" if one is."""
        with self.lock:
            model = self._models.get(name)
            if model is not None and model.numbers(AVAILABLE):
                return ""
            failed = [version.error for version in model.newest_first() if version.has_failed] if model else []
            specific = self._aspired.choice(name).specific
            return (
                failed[0] if failed else (model or ManagedModel(name)).describe_obstacle(self._folder / name, specific)
            )

    def unavailable(self, name: str, numbers: Iterable[int]) -> dict[int, str]:
        """Those of the versions that cannot be called, and why each could not be loaded."""
        with self.lock:
            versions = self._models[name].versions if name in self._models else {}
            states = {number: versions.get(number, ManagedVersion(name, number)) for number in numbers}
            return {number: version.error for number, version in states.items() if version.state != AVAILABLE}

    def missing_labels(self) -> dict[tuple[str, str], int]:
        """Labels whose version is not available, and not about to be, of models that are served."""
        with self.lock:
            return {
                (name, label): number
                for name, model in self._models.items()
                for label, number in model.pending_labels.items()
                if number not in self._plan(model).load and number not in model.numbers(LOADING)
            }

    def hold(self) -> RuntimeOverrides:
        """Gives up nothing until `release`, so that the present overrides, which it returns, can be restored."""
        with self.lock:
            self._is_holding = True
            return self._aspired.overrides

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Labels]) -> None:
        """Asks for exactly these models."""
        with self.lock:
            self._aspired.decide_configured(choices, labels)
            self._changed.update(self._models)

    def release(self, overrides: RuntimeOverrides | None) -> list[Drop]:
        """Ends `hold`, and gives up at once what is not wanted any more.

        Args:
            overrides: what to go back to, or None to stay with what was decided meanwhile.
        """
        with self.lock:
            self._is_holding = False
            self._aspired.overrides = overrides or self._aspired.overrides
            return self._adjust_all(self._models)
