"""What a TensorFlow Serving fleet has: the states that every target tells, as one catalogue."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from service.engine.fleet.target import Target
from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Catalog, ServedModel, Version
from service.engine.saved_model.definitions import describe
from service.engine.signature import Signature
from service.engine.tensorflow.protos import load_protos

Place = tuple[str, int]
# Where servers differ, the version is as far as the first of these says.
STATES = (AVAILABLE, LOADING, START, UNLOADING, END)


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        catalog: the models, whose versions are AVAILABLE where a server has them and their signatures are known.
        holders: the targets that have a version.
    """

    catalog: Catalog = field(default_factory=Catalog)
    holders: Mapping[Place, tuple[Target, ...]] = field(default_factory=dict)


@dataclass
class Finding:
    """What the targets say of one version: its state, its error, and who has it available."""

    state: str
    error: str
    holders: list[Target] = field(default_factory=list)


class Surveyor:
    """Asks the fleet, time after time; from one thread only.

    Args:
        targets: all of them.
        names: the models to ask for; TensorFlow Serving has no list of them.
        timeout_seconds: how long a target may take to answer.
    """

    def __init__(self, targets: Sequence[Target], names: Sequence[str], timeout_seconds: float) -> None:
        self._targets = targets
        self._names = names
        self._timeout = timeout_seconds
        self._signatures: dict[Place, Mapping[str, Signature]] = {}
        self._loaded_at: dict[Place, float] = {}

    def survey(self, before: Survey) -> Survey:
        """Asks all targets at once.

        Args:
            before: what was found last; it stays where nobody answers, but for the obstacle.

        Returns:
            What is found now.
        """
        futures = {
            (target, name): target.status.future(status_request(name), timeout=self._timeout)
            for target in self._targets
            for name in self._names
        }
        findings: dict[str, dict[int, Finding]] = {name: {} for name in self._names}
        failures: dict[Target, str] = {}
        for (target, name), future in futures.items():
            error = future.exception()
            if error is None:
                merge(findings[name], future.result(), target)
            elif error.code() is not grpc.StatusCode.NOT_FOUND:
                failures[target] = f"{target.address} ({error.code().name}: {error.details()})"
        if len(failures) == len(self._targets):
            models = before.catalog.models or {name: ServedModel(name) for name in self._names}
            return Survey(Catalog(models, f"No TensorFlow Serving answers: {'; '.join(failures.values())}"))
        self._learn(findings)
        models = {name: self._describe(name, findings[name]) for name in self._names}
        holders = {
            (name, number): tuple(finding.holders)
            for name, versions in findings.items()
            for number, finding in versions.items()
            if finding.holders
        }
        return Survey(Catalog(models), holders)

    def _learn(self, findings: Mapping[str, Mapping[int, Finding]]) -> None:
        """Asks for the signatures of versions that are new, and forgets those that are gone."""
        available = {
            (name, number): finding.holders[0]
            for name, versions in findings.items()
            for number, finding in versions.items()
            if finding.holders
        }
        self._signatures = {place: known for place, known in self._signatures.items() if place in available}
        futures = {
            place: holder.describe.future(metadata_request(*place), timeout=self._timeout)
            for place, holder in available.items()
            if place not in self._signatures
        }
        for place, future in futures.items():
            if future.exception() is None:
                self._signatures[place] = read_signatures(future.result())
                self._loaded_at[place] = time.time()

    def _describe(self, name: str, findings: Mapping[int, Finding]) -> ServedModel:
        versions = tuple(self._describe_version(name, number, findings[number]) for number in sorted(findings)[::-1])
        return ServedModel(name, versions, obstacle=find_obstacle(versions))

    def _describe_version(self, name: str, number: int, finding: Finding) -> Version:
        if finding.state != AVAILABLE:
            return Version(name, number, finding.state, finding.error)
        signatures = self._signatures.get((name, number))
        if signatures is None:
            return Version(name, number, LOADING)
        return Version(name, number, AVAILABLE, "", signatures, loaded_at=self._loaded_at[name, number])


def find_obstacle(versions: Iterable[Version]) -> str:
    """Why a model is not ready, or ""."""
    newest = next(iter(versions), None)
    if newest is None:
        return "no TensorFlow Serving knows this model"
    if any(version.state == AVAILABLE for version in versions):
        return ""
    return f"version {newest.number} is in state {newest.state}" + (f": {newest.error}" if newest.error else "")


def merge(findings: dict[int, Finding], response: Any, target: Target) -> None:
    """Adds what one target says of a model's versions, a `GetModelStatusResponse`, to what the others say."""
    states = load_protos("tensorflow_serving.apis.get_model_status_pb2").ModelVersionStatus.State
    for entry in response.model_version_status:
        state = states.Name(entry.state)
        if state not in STATES:
            continue
        finding = findings.setdefault(entry.version, Finding(state, entry.status.error_message))
        if STATES.index(state) < STATES.index(finding.state):
            finding.state, finding.error = state, entry.status.error_message
        if state == AVAILABLE:
            finding.holders.append(target)


def status_request(name: str) -> Any:
    """Asks for the states of all versions of a model."""
    request = load_protos("tensorflow_serving.apis.get_model_status_pb2").GetModelStatusRequest()
    request.model_spec.name = name
    return request


def metadata_request(name: str, number: int) -> Any:
    """Asks for the signatures of a version."""
    request = load_protos("tensorflow_serving.apis.get_model_metadata_pb2").GetModelMetadataRequest()
    request.model_spec.name = name
    request.model_spec.version.value = number
    request.metadata_field.append("signature_def")
    return request


def read_signatures(response: Any) -> dict[str, Signature]:
    """The signatures in a `GetModelMetadataResponse`, but for those that cannot be served."""
    definitions = load_protos("tensorflow_serving.apis.get_model_metadata_pb2").SignatureDefMap()
    response.metadata["signature_def"].Unpack(definitions)
    described = {name: describe(definition) for name, definition in definitions.signature_def.items()}
    return {name: signature for name, signature in sorted(described.items()) if signature is not None}
