"""The served models as the protocols ask for them: by name and version or label, with errors that a client can use."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from service.engine.interface import (
    AVAILABLE,
    END,
    LOADING,
    START,
    Arrays,
    Call,
    Catalog,
    Description,
    Engine,
    ServedModel,
    Version,
)
from service.engine.signature import Signature
from service.errors import RETRY_AFTER_SECONDS, ModelUnavailable, ServiceError, UnknownLabel, UnknownModel

# Without a sign of life for so long, the engine does not respond.
SILENT_SECONDS = 3.0


@dataclass(frozen=True)
class Model:
    """An available version, ready to be called.

    Attributes:
        name, version: which one.
        signatures: by name.
        description: what its `model.json` says.
        engine: where it runs.
    """

    name: str
    version: int
    signatures: Mapping[str, Signature]
    description: Description
    engine: Engine

    def call(
        self, signature: str, inputs: Arrays, outputs: Sequence[str] = (), deadline: float | None = None
    ) -> Arrays:
        """Runs a signature; see `Call` for the arguments and `Engine.call` for the errors."""
        return self.engine.call(Call(self.name, self.version, signature, inputs, outputs, deadline))


class Repository:
    """Lookups in the engine's catalogue.

    Args:
        engine: where the models run.

    Attributes:
        engine: the same, for administration and statistics.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def knows(self, name: str) -> bool:
        """Whether there is a model of this name, loaded or not."""
        return name in self.engine.catalog().models

    def find(self, name: str, number: int | None = None, label: str | None = None) -> Model:
        """Gives an available version.

        Args:
            name: the model's.
            number: the version's; None for the newest that is available.
            label: one of the model's labels, instead of a number.

        Raises:
            UnknownModel: there is no such model or version.
            UnknownLabel: the model has no such label.
            ModelUnavailable: it is not loaded.
        """
        catalog = self.engine.catalog()
        model = catalog.models.get(name)
        if label is not None and model is not None:
            number = find_label(model, label)
        chosen = choose(model, number) if model is not None else None
        if chosen is None:
            if catalog.starting:
                raise ModelUnavailable(f"{catalog.obstacle} Try again shortly.", RETRY_AFTER_SECONDS)
            if label is not None and model is not None:
                sentence = f"Label '{label}' of model '{name}' names version {number}, which is not there yet."
                raise ModelUnavailable(f"{sentence} Try again later.", RETRY_AFTER_SECONDS)
            raise unknown(catalog, name, number)
        if chosen.state != AVAILABLE:
            self.engine.note_demand(name)
            raise unavailable(chosen, catalog.models[name], describe_request(name, number))
        return Model(name, chosen.number, chosen.signatures, chosen.description, self.engine)

    def versions(self, name: str, number: int | None = None, label: str | None = None) -> list[Version]:
        """The versions of a model, newest first, or the one with this number or label.

        Raises:
            UnknownModel: there is no such model or version.
            UnknownLabel: the model has no such label.
        """
        catalog = self.engine.catalog()
        model = catalog.models.get(name)
        if model is None or not model.versions:
            problem = describe_problem(catalog.problems, name)
            raise UnknownModel(problem or f"Could not find any versions of model {name}")
        if label is not None:
            number = find_label(model, label)
        if number is None:
            return list(model.versions)
        for version in model.versions:
            if version.number == number:
                return [version]
        raise UnknownModel(f"Could not find version {number} of model {name}")

    def problems(self) -> dict[str, str]:
        """What is wrong in the model repository: a sentence by entry."""
        return dict(self.engine.catalog().problems)

    def list_models(self) -> list[dict[str, Any]]:
        """Every model: its name, its versions, the signatures of the newest and what its `model.json` says."""
        return [summarize(model) for model in self.engine.catalog().models.values()]

    def loaded(self) -> list[Version]:
        """The versions that are available."""
        models = self.engine.catalog().models.values()
        return [version for model in models for version in model.versions if version.state == AVAILABLE]

    def pending(self) -> dict[str, str]:
        """What is in the way of readiness: a sentence by model, or one under "" that concerns the whole service."""
        catalog = self.engine.catalog()
        if silence := self.describe_silence():
            return {"": silence}
        if catalog.obstacle:
            return {"": catalog.obstacle}
        return {model.name: model.obstacle for model in catalog.models.values() if model.obstacle}

    def describe_silence(self) -> str:
        """That the engine does not respond, in a sentence; "" where it does, or is being started."""
        seconds = 0.0 if self.engine.catalog().starting else self.engine.silent_seconds()
        return f"The engine has not responded for {seconds:.0f} s." if seconds > SILENT_SECONDS else ""


def choose(model: ServedModel, number: int | None) -> Version | None:
    """The version with this number, or the newest that is available, or is about to be, or the newest."""
    if number is not None:
        return next((version for version in model.versions if version.number == number), None)
    available = (version for version in model.versions if version.state == AVAILABLE)
    coming = (version for version in model.versions if version.state in (START, LOADING))
    return next(available, None) or next(coming, None) or next(iter(model.versions), None)


def find_label(model: ServedModel, label: str) -> int:
    """The version that a label stands for, loaded or not.

    Raises:
        UnknownLabel: the model has no such label.
    """
    number = model.labels.get(label, model.pending_labels.get(label))
    if number is None:
        known = ", ".join(sorted(model.labels)) or "none"
        raise UnknownLabel(f"Unrecognized servable version label: {label}. Labels: {known}")
    return number


def describe_request(name: str, number: int | None) -> str:
    """What was asked for, in TensorFlow Serving's words."""
    return f"Latest({name})" if number is None else f"Specific({name}, {number})"


def unknown(catalog: Catalog, name: str, number: int | None) -> UnknownModel:
    """The error for a model or version that is not served."""
    problem = describe_problem(catalog.problems, name) if name not in catalog.models else ""
    if problem:
        return UnknownModel(problem)
    if number is None or name not in catalog.models:
        served = f"Models: {', '.join(catalog.models) or 'none'}"
    else:
        served = f"Versions: {', '.join(str(version.number) for version in catalog.models[name].versions) or 'none'}"
    return UnknownModel(f"Servable not found for request: {describe_request(name, number)}. {served}.")


def unavailable(version: Version, model: ServedModel, wanted: str) -> ServiceError:
    """The error for a version that is not loaded; `wanted` is what was asked for."""
    loaded = ", ".join(str(other.number) for other in model.versions if other.state == AVAILABLE)
    if version.state == END and not version.error and loaded:
        return UnknownModel(
            f"Servable not found for request: {wanted}. It is not loaded any more. Loaded: {loaded}. "
            "KILN_VERSIONS, or the model configuration, says which versions are."
        )
    if version.state == END and not version.error:
        return UnknownModel(
            f"Servable not found for request: {wanted}. It was unloaded; "
            f"POST /v2/repository/models/{version.name}/load loads the model."
        )
    if version.state == END:
        return ModelUnavailable(
            f"Model '{version.name}' version {version.number} could not be loaded; "
            f"GET /v1/models/{version.name} says why."
        )
    return ModelUnavailable(f"Model '{version.name}' is still being loaded. Try again shortly.", RETRY_AFTER_SECONDS)


def describe_problem(problems: Mapping[str, str], name: str) -> str:
    """Why an entry of the model repository is not a model, in a sentence; "" where nothing is known of it."""
    found = [entry for entry in sorted(problems) if entry == name or entry.startswith(f"{name}/")]
    sentences = "; ".join(f"{entry}: {problems[entry]}" for entry in found)
    return f"Model '{name}' is not served. {sentences}." if found else ""


# What `GET /v1/models` repeats of a model's `model.json`.
REPEATED = (
    "task", "labels", "target", "input", "features", "operating_point", "metrics", "data", "example", "created",
)  # fmt: skip


def summarize(model: ServedModel) -> dict[str, Any]:
    """One model as `list_models` tells it; a SavedModel of another make has no more than these four."""
    newest = choose(model, None)
    summary: dict[str, Any] = {
        "name": model.name,
        "versions": [describe_state(version) for version in model.versions],
        "version_labels": dict(model.labels),
        "signatures": sorted(newest.signatures) if newest else [],
    }
    description = newest.description if newest else {}
    return summary | {key: description[key] for key in REPEATED if key in description}


def describe_state(version: Version) -> dict[str, Any]:
    """A version's state in TensorFlow Serving's form, and beside it whether its signatures are batched."""
    batching = {signature: asdict(state) for signature, state in version.batching.items()}
    return ({"batching": batching} if batching else {}) | {
        "version": str(version.number),
        "state": version.state,
        "status": {"error_code": version.error_code, "error_message": version.error},
    }
