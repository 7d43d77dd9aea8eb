"""Administration at run time: load, unload, labels, and the whole configuration at once."""

import threading
from collections.abc import Mapping

from service.engine.interface import Choice
from service.engine.repository import describe_problem
from service.engine.sources.files import is_model_name
from service.engine.versions.aspired import AspiredVersions
from service.engine.versions.labels import Labels
from service.engine.versions.loader import VersionLoader
from service.engine.versions.options import VersionSettings
from service.engine.versions.registry import Registry
from service.engine.versions.runtime_overrides import RuntimeOverrides, save_overrides
from service.engine.versions.unloader import Unloader
from service.errors import InvalidConfiguration, ModelUnavailable, UnknownModel


class Administration:
    """Carries out what an administrator orders, and remembers it in a file.

    Args:
        settings: what to serve, and from where.
        aspired: what should be served, which it changes.
        registry: what is loaded.
        loading: loads what should be loaded.
        unloader: ends what is given up.
    """

    def __init__(
        self,
        settings: VersionSettings,
        aspired: AspiredVersions,
        registry: Registry,
        loading: VersionLoader,
        unloader: Unloader,
    ) -> None:
        self._settings = settings
        self._aspired = aspired
        self._registry = registry
        self._loading = loading
        self._unloader = unloader
        self._deciding = threading.Lock()

    def load(self, model: str) -> None:
        """Looks for versions of a model now, serves them (again), and returns when they are loaded.

        Raises:
            UnknownModel: there is no such folder, or nothing in it, or the settings do not name it.
            ModelUnavailable: none of its versions can be loaded.
        """
        self._registry.check_open()
        scan = self._loading.look(self._aspired)
        if scan is None:
            raise ModelUnavailable(f"The model repository {self._settings.folder} cannot be read. Try again later.")
        if model not in scan.models():
            problem = describe_problem(scan.problems, model)
            raise UnknownModel(problem or f"There is no version of a model in {self._settings.folder / model}")
        if not self._aspired.admits(model):
            raise UnknownModel(f"Model '{model}' is not served. Models: {', '.join(self._settings.names)}.")
        with self._deciding:
            drops = self._registry.add(model)
            self._save()
        self._loading.show(drops)
        self._loading.look(self._aspired, retry=[model])
        self._loading.finish(model)
        if failure := self._registry.describe_failure(model):
            raise ModelUnavailable(f"Model '{model}' could not be loaded: {failure}")

    def unload(self, model: str) -> None:
        """Serves a model no longer, until it is loaded again; returns when its memory is given back.

        Raises:
            UnknownModel: it is not served.
        """
        self._registry.check_open()
        with self._deciding:
            drops = self._registry.unload(model)
            self._save()
        self._loading.show([])
        if drops:
            self._unloader.finish(drops)

    def set_label(self, model: str, label: str, version: int | None) -> None:
        """Points a label at an available version, or takes it away where `version` is None.

        Raises:
            UnknownModel: no such model, or version that is available, or label to take away.
        """
        self._registry.check_open()
        with self._deciding:
            drops = self._registry.label(model, label, version)
            self._save()
        self._loading.show(drops)

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Mapping[str, int]]) -> None:
        """Serves exactly these models, by these choices and labels, and returns when they are loaded.

        What was served before stays until everything is loaded, and stays altogether if something cannot be.

        Raises:
            InvalidConfiguration: a label names a version that is not served, or the settings do not name a model.
            ModelUnavailable: a model or version cannot be loaded.
        """
        self._registry.check_open()
        self._check(choices, labels)
        with self._deciding:
            way_back: RuntimeOverrides | None = self._registry.hold()
            try:
                self._registry.configure(choices, labels)
                self._load_configured(choices, labels)
                way_back = None
            finally:
                drops = self._registry.release(way_back)
                self._loading.show(drops)
                self._loading.look(self._aspired)
            self._save()

    def _check(self, choices: Mapping[str, Choice], labels: Mapping[str, Labels]) -> None:
        for name in choices:
            if not is_model_name(name) or not self._aspired.admits(name):
                allowed = ", ".join(self._settings.names) or f"folders in {self._settings.folder}"
                raise InvalidConfiguration(f"Model '{name}' cannot be served. Allowed: {allowed}.")
        for name, label, number in flatten(labels):
            if name not in choices:
                raise InvalidConfiguration(f"Label '{label}' is for model '{name}', which is not served.")
            specific = choices[name].specific
            if specific and number not in specific:
                raise InvalidConfiguration(describe_label(name, label, number))

    def _load_configured(self, choices: Mapping[str, Choice], labels: Mapping[str, Labels]) -> None:
        self._loading.look(self._aspired, retry=choices)
        for name in choices:
            self._loading.finish(name)
        for name, choice in choices.items():
            for number, error in self._registry.unavailable(name, choice.specific).items():
                reason = error or f"it is not in {self._settings.folder / name}"
                raise ModelUnavailable(f"Version {number} of model '{name}' cannot be loaded: {reason}")
            if failure := self._registry.describe_failure(name):
                raise ModelUnavailable(f"Model '{name}' cannot be loaded: {failure}")
        for name, label, number in flatten(labels):
            if self._registry.unavailable(name, [number]):
                raise InvalidConfiguration(describe_label(name, label, number))

    def _save(self) -> None:
        save_overrides(self._settings.state_path, self._aspired.overrides)


def flatten(labels: Mapping[str, Labels]) -> list[tuple[str, str, int]]:
    """Model, label and version of every label."""
    return [(name, label, number) for name, named in labels.items() for label, number in named.items()]


def describe_label(name: str, label: str, number: int) -> str:
    """The sentence for a label that cannot be set."""
    return f"Label '{label}' of model '{name}' names version {number}, which is not served."
