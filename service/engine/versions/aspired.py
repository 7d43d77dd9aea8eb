"""What should be served: the settings, over them the configuration file, over both what was decided at run time."""

import dataclasses
from collections.abc import Mapping

from service.engine.interface import Choice
from service.engine.sources.config_file import ConfigFile
from service.engine.sources.model_config import BatchingConfig, ModelConfig
from service.engine.versions.labels import Labels, merge_labels, set_by_hand
from service.engine.versions.options import VersionSettings
from service.engine.versions.runtime_overrides import Configured, RuntimeOverrides, load_overrides

NOTHING_SAID = ModelConfig()


class AspiredVersions:
    """Answers what a model's policy and labels are; a caller that changes overrides holds the registry's lock.

    Args:
        settings: see `VersionSettings`.

    Attributes:
        config: the configuration file.
        overrides: what was decided at run time.

    Raises:
        InvalidSettings: the configuration file is wrong.
    """

    def __init__(self, settings: VersionSettings) -> None:
        self._names = settings.names
        self._default = settings.default
        self.config = ConfigFile(settings.config_path)
        self.overrides: RuntimeOverrides = load_overrides(settings.state_path)

    def names(self) -> tuple[str, ...]:
        """The models that were asked for by name; empty where whatever is found is served."""
        if self.overrides.configured is not None:
            return tuple(self.overrides.configured.choices)
        return self._names

    def admits(self, name: str) -> bool:
        """Whether the settings allow this model to be served."""
        return not self._names or name in self._names

    def serves(self, name: str) -> bool:
        """Whether this model should be served if there is such a model, and was not unloaded."""
        if self.overrides.configured is not None:
            return name in self.overrides.configured.choices
        return self.admits(name)

    def is_unloaded(self, name: str) -> bool:
        """Whether the model was unloaded by hand."""
        return name in self.overrides.unloaded

    def choice(self, name: str) -> Choice:
        """The model's policy."""
        configured = self.overrides.configured
        if configured is not None and name in configured.choices:
            return configured.choices[name]
        return self.config.models.get(name, NOTHING_SAID).choice or self._default

    def batching(self, name: str) -> BatchingConfig:
        """What the file says of the model's batching."""
        return self.config.models.get(name, NOTHING_SAID).batching

    def labels(self, name: str) -> dict[str, int]:
        """The model's labels, whether or not their versions are there."""
        return merge_labels(self._configured_labels(name), self.overrides.labels.get(name, {}))

    def _configured_labels(self, name: str) -> Labels:
        if self.overrides.configured is not None:
            return self.overrides.configured.labels.get(name, {})
        return self.config.models.get(name, NOTHING_SAID).labels

    def decide_label(self, name: str, label: str, version: int | None) -> None:
        """A label was set, or taken away, by hand."""
        by_hand = set_by_hand(self._configured_labels(name), self.overrides.labels.get(name, {}), label, version)
        self.overrides = dataclasses.replace(self.overrides, labels={**self.overrides.labels, name: by_hand})

    def decide_unloaded(self, name: str) -> None:
        """The model was unloaded by hand."""
        self.overrides = dataclasses.replace(self.overrides, unloaded=self.overrides.unloaded | {name})

    def decide_loaded(self, name: str) -> None:
        """The model was loaded by hand; that adds it to the models that `configure` named."""
        self.overrides = dataclasses.replace(self.overrides, unloaded=self.overrides.unloaded - {name})
        configured = self.overrides.configured
        if configured is not None and name not in configured.choices:
            choices = {**configured.choices, name: self.choice(name)}
            self.overrides = dataclasses.replace(self.overrides, configured=Configured(choices, configured.labels))

    def decide_configured(self, choices: Mapping[str, Choice], labels: Mapping[str, Labels]) -> None:
        """Exactly these models were asked for; what was decided by hand before is forgotten."""
        copies = {name: dict(named) for name, named in labels.items()}
        self.overrides = RuntimeOverrides(configured=Configured(dict(choices), copies))
