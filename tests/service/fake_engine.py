"""An engine without TensorFlow, processes or batching: a Python object answers for each version in a folder."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from service.engine.interface import AVAILABLE, END, LOADING, Catalog, Choice, ServedModel, Statistics, Version
from service.engine.repository import Repository
from service.engine.sources.files import read_description
from service.engine.sources.scanner import Scan, Scanner
from service.errors import InvalidConfiguration, ModelUnavailable, UnknownModel


class FakeEngine:
    """Serves a model repository.

    Args:
        folder: the repository; versions are found now and when asked to `load`.
        load: makes the object that answers: `load(path, name, number)`, with `signatures` and `call`.
        names: only these models.
        latest: so many versions of each; 0 for all.
        loaded: False leaves the versions in state LOADING until `load_all`.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable,
        names: tuple[str, ...] = (),
        *,
        latest: int = 1,
        loaded: bool = True,
    ) -> None:
        self.folder = folder
        self.calls = []
        self._make = load
        self._latest = latest
        self._objects = {}
        self._models = {name: self._find(name) for name in names or self._scan().models()}
        if loaded:
            self.load_all()

    def load_all(self) -> None:
        for name in self._models:
            self._load(name)

    def catalog(self) -> Catalog:
        obstacle = "" if self._models else f"No models in {self.folder}. Publish one (dvc repro)."
        return Catalog(dict(self._models), obstacle)

    def silent_seconds(self):
        return 0.0

    def note_demand(self, model):
        pass

    def call(self, call):
        self.calls.append(call)
        if (call.model, call.version) not in self._objects:
            raise UnknownModel(f"Servable not found for request: Specific({call.model}, {call.version})")
        outputs = self._objects[call.model, call.version].call(call.signature, call.inputs)
        return {name: outputs[name] for name in call.outputs or outputs}

    def load(self, model: str) -> None:
        if model not in self._scan().models():
            raise UnknownModel(f"There is no version of a model in {self.folder / model}")
        self._models[model] = dataclasses.replace(self._find(model), labels=self._labels(model))
        self._load(model)
        if self._models[model].obstacle:
            raise ModelUnavailable(f"Model '{model}' could not be loaded: {self._models[model].versions[0].error}")

    def unload(self, model: str) -> None:
        served = self._models.get(model)
        if served is None or all(version.state == END for version in served.versions):
            raise UnknownModel(f"Model '{model}' is not served")
        ended = tuple(dataclasses.replace(version, state=END, signatures={}) for version in served.versions)
        self._models[model] = dataclasses.replace(served, versions=ended, labels={})

    def set_label(self, model: str, label: str, version: int | None) -> None:
        if model not in self._models:
            raise UnknownModel(f"Could not find any versions of model {model}")
        labels = dict(self._labels(model))
        available = [v.number for v in self._models[model].versions if v.state == AVAILABLE]
        if version is None:
            if labels.pop(label, None) is None:
                raise UnknownModel(f"Model '{model}' has no label '{label}'")
        elif version not in available:
            raise UnknownModel(f"Could not find version {version} of model {model}")
        else:
            labels[label] = version
        self._models[model] = dataclasses.replace(self._models[model], labels=labels)

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Mapping[str, int]]) -> None:
        self._models = {}
        for name, choice in choices.items():
            self._models[name] = self._find(name, choice)
            self._load(name)
            available = {version.number for version in self._models[name].versions if version.state == AVAILABLE}
            for label, number in labels.get(name, {}).items():
                if number not in available:
                    raise InvalidConfiguration(f"Label '{label}' of model '{name}' names version {number}")
            self._models[name] = dataclasses.replace(self._models[name], labels=dict(labels.get(name, {})))

    def statistics(self) -> list[Statistics]:
        calls = [(call.model, call.version) for call in self.calls]
        return [
            Statistics(
                name, number, last_call=time.time(), rows=3, calls=calls.count((name, number)), executions=1,
                total_ns=5000, queue_ns=1000, compute_ns=3000, batches={3: (1, 3000)},
            )
            for name, number in self._objects
        ]  # fmt: skip

    def _scan(self) -> Scan:
        return Scanner(self.folder).scan() or Scan()

    def _labels(self, model: str) -> Mapping[str, int]:
        if model not in self._models:
            return {}
        return self._models[model].labels

    def _find(self, name: str, choice: Choice | None = None) -> ServedModel:
        numbers = list(self._scan().versions.get(name, {}))
        choice = choice or Choice(self._latest)
        chosen = choice.specific or numbers[: choice.latest or len(numbers)]
        versions = tuple(
            Version(name, number, LOADING, description=read_description(self.folder / name / str(number)))
            for number in chosen
        )
        obstacle = f"version {chosen[0]} is in state LOADING" if chosen else f"no version in {self.folder / name}"
        return ServedModel(name, versions, {}, obstacle)

    def _load(self, name: str) -> None:
        served = self._models[name]
        versions = tuple(self._load_version(version) for version in served.versions)
        states = {version.state for version in versions}
        obstacle = served.obstacle
        if versions:
            obstacle = "" if AVAILABLE in states else f"version {versions[0].number} is in state {versions[0].state}"
        self._models[name] = dataclasses.replace(served, versions=versions, obstacle=obstacle)

    def _load_version(self, version: Version) -> Version:
        path = self.folder / version.name / str(version.number)
        try:
            self._objects[version.name, version.number] = made = self._make(path, version.name, version.number)
        except (OSError, ValueError) as error:
            return dataclasses.replace(version, state=END, error=f"{type(error).__name__}: {error}")
        return dataclasses.replace(version, state=AVAILABLE, signatures=made.signatures, loaded_at=time.time())


def fake_repository(folder: Path, load: Callable, names: tuple[str, ...] = (), **options) -> Repository:
    """A repository of fakes; see `FakeEngine`."""
    return Repository(FakeEngine(folder, load, names, **options))
