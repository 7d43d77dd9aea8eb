"""`tensorflow.serving.ModelService`: the states of versions, and which ones to serve.

Source:
    TensorFlow Serving, `get_model_status_impl.cc`, `model_service_impl.cc` and `server_core.cc`.
"""

from pathlib import Path
from typing import Any

from service.auth import ADMIN, PREDICT
from service.engine.interface import Choice
from service.engine.repository import Repository
from service.engine.tensorflow.protos import load_protos
from service.errors import InvalidPayload
from service.protocols.grpc.exchange import Exchange, Method
from service.protocols.grpc.model_specs import version_choice

SERVICE = "tensorflow.serving.ModelService"
PLATFORM = "tensorflow"
# What a new configuration may take beyond the loading, for versions that end.
UNLOAD_SECONDS = 100


class Models:
    """States and configuration.

    Args:
        repository: the models.
        folder: the model repository.
        load_timeout_seconds: how long a version may take to be loaded.
    """

    def __init__(self, repository: Repository, folder: Path, load_timeout_seconds: float) -> None:
        self._repository = repository
        self._folder = folder
        self._configure_seconds = load_timeout_seconds + UNLOAD_SECONDS
        self._status = load_protos("tensorflow_serving.apis.get_model_status_pb2")
        self._management = load_protos("tensorflow_serving.apis.model_management_pb2")

    def methods(self) -> list[Method]:
        """The methods of the service."""
        return [
            Method("GetModelStatus", PREDICT, self._status.GetModelStatusRequest, self.describe),
            Method(
                "HandleReloadConfigRequest", ADMIN, self._management.ReloadConfigRequest, self.configure,
                self._configure_seconds,
            ),
        ]  # fmt: skip

    def describe(self, request: Any, exchange: Exchange) -> Any:
        """Tells the states of a model's versions, newest first.

        Args:
            request: a `GetModelStatusRequest`.
            exchange: the call.

        Returns:
            A `GetModelStatusResponse`.

        Raises:
            InvalidPayload: the request names no model.
            UnknownModel: there is no such model or version.
            UnknownLabel: the model has no such label.
        """
        if not request.HasField("model_spec"):
            raise InvalidPayload("Missing ModelSpec")
        spec = request.model_spec
        exchange.model = spec.name if self._repository.knows(spec.name) else "unknown"
        response = self._status.GetModelStatusResponse()
        codes = load_protos("tensorflow.core.protobuf.error_codes_pb2").Code
        for version in self._repository.versions(spec.name, *version_choice(spec)):
            entry = response.model_version_status.add()
            entry.version = version.number
            entry.state = self._status.ModelVersionStatus.State.Value(version.state)
            entry.status.error_code = codes.Value(version.error_code)
            entry.status.error_message = version.error
        return response

    def configure(self, request: Any, _exchange: Exchange) -> Any:
        """Serves exactly the models that the request lists, and answers when they are loaded.

        Args:
            request: a `ReloadConfigRequest`.
            _exchange: the call.

        Returns:
            A `ReloadConfigResponse`.

        Raises:
            InvalidPayload: the list is not one that can be served.
            InvalidConfiguration: a label names a version that is not served.
            ModelUnavailable: a model or version cannot be loaded.
        """
        if request.config.WhichOneof("config") != "model_config_list":
            raise InvalidPayload(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        entries = request.config.model_config_list.config
        choices: dict[str, Choice] = {}
        for entry in entries:
            if entry.name in choices:
                raise InvalidPayload(f"Illegal to list model {entry.name} multiple times in config list")
            check_platform(entry)
            check_path(entry, self._folder)
            choices[entry.name] = read_choice(entry)
        labels = {entry.name: dict(entry.version_labels) for entry in entries}
        self._repository.engine.configure(choices, labels)
        response = self._management.ReloadConfigResponse()
        response.status.SetInParent()
        return response


def check_platform(entry: Any) -> None:
    """Whether a `ModelConfig` is one of TensorFlow's.

    Raises:
        InvalidPayload: it is not, or says so twice.
    """
    if entry.model_type and entry.model_platform:
        raise InvalidPayload(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    # The number of TENSORFLOW in the deprecated ModelType.
    if entry.model_type not in (0, 1):
        raise InvalidPayload(f"ModelServerConfig::model_type choice {entry.model_type} not supported.")
    if not entry.model_type and not entry.model_platform:
        raise InvalidPayload(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    if entry.model_platform not in ("", PLATFORM):
        raise InvalidPayload(
            f"Model {entry.name} requests unsupported platform {entry.model_platform[:256]}. Supported: {PLATFORM}"
        )


def check_path(entry: Any, folder: Path) -> None:
    """Whether a `ModelConfig` names the model's folder in the repository, the only place that models come from.

    Raises:
        InvalidPayload: it names another.
    """
    expected = (folder / entry.name).resolve()
    is_name = Path(entry.name).name == entry.name and entry.name not in (".", "..")
    if not is_name or "\0" in entry.base_path or (folder / entry.base_path).resolve() != expected:
        raise InvalidPayload(
            f"The base_path of model '{entry.name[:256]}' is '{entry.base_path[:256]}', expected '{expected}': "
            "models are served from the folder of their name in the model repository."
        )


def read_choice(entry: Any) -> Choice:
    """The versions that a `ModelConfig` wants; the newest where it does not say.

    Raises:
        InvalidPayload: it wants none.
    """
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Choice(latest=0)
    if kind == "specific":
        if not policy.specific.versions:
            raise InvalidPayload(f"The specific version policy of model '{entry.name}' names no version.")
        return Choice(specific=tuple(sorted(set(policy.specific.versions), reverse=True)))
    return Choice(latest=max(policy.latest.num_versions, 1))
