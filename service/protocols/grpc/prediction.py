"""`tensorflow.serving.PredictionService`: Predict and GetModelMetadata.

Source:
    TensorFlow Serving, `predict_util.cc`, `get_model_metadata_impl.cc` and `server_core.cc`.
"""

from typing import Any

from service.auth import PREDICT
from service.engine.call_model import call_model
from service.engine.repository import Repository
from service.engine.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import encode_tensor
from service.errors import FailedPrecondition, InvalidPayload
from service.protocols.grpc.exchange import Exchange, Method
from service.protocols.grpc.inputs import check_filter, decode_inputs, listed
from service.protocols.grpc.model_specs import find_model, state_model

SERVICE = "tensorflow.serving.PredictionService"
SIGNATURES = "signature_def"


class Prediction:
    """Predictions by arrays, and what the signatures are.

    Args:
        repository: the models.
        most_bytes: what the inputs of a request may take; see `check_size`.
        typed: whether answers use the typed fields of `TensorProto`.
    """

    def __init__(self, repository: Repository, most_bytes: int, *, typed: bool) -> None:
        self._repository = repository
        self._most_bytes = most_bytes
        self._typed = typed
        self._predictions = load_protos("tensorflow_serving.apis.predict_pb2")
        self._metadata = load_protos("tensorflow_serving.apis.get_model_metadata_pb2")

    def methods(self) -> list[Method]:
        """The methods of the service that are here."""
        return [
            Method("Predict", PREDICT, self._predictions.PredictRequest, self.predict),
            Method("GetModelMetadata", PREDICT, self._metadata.GetModelMetadataRequest, self.describe),
        ]

    def predict(self, request: Any, exchange: Exchange) -> Any:
        """Runs a signature.

        Args:
            request: a `PredictRequest`.
            exchange: the call.

        Returns:
            A `PredictResponse`.

        Raises:
            ServiceError: the request is wrong, or the model cannot answer.
        """
        model = find_model(self._repository, request, exchange)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = model.signatures.get(name)
        if signature is None:
            raise FailedPrecondition(
                f'Serving signature key "{name[:256]}" not found. Signatures: {listed(model.signatures)}'
            )
        exchange.signature = name
        inputs = decode_inputs(request.inputs, signature, self._most_bytes)
        wanted = check_filter(list(request.output_filter), signature)
        outputs = call_model(model, name, inputs, wanted, exchange.deadline)
        response = self._predictions.PredictResponse()
        state_model(response.model_spec, model, name)
        for alias, array in outputs.items():
            encode_tensor(array, response.outputs[alias], typed=self._typed)
        return response

    def describe(self, request: Any, exchange: Exchange) -> Any:
        """Tells a model's signatures.

        Args:
            request: a `GetModelMetadataRequest`.
            exchange: the call.

        Returns:
            A `GetModelMetadataResponse`.

        Raises:
            ServiceError: the request is wrong, or there is no such model.
        """
        if not request.HasField("model_spec"):
            raise InvalidPayload("Missing ModelSpec")
        if not request.metadata_field:
            raise InvalidPayload("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURES:
                raise InvalidPayload(f"Metadata field {field[:256]} is not supported. Supported: {SIGNATURES}")
        model = find_model(self._repository, request, exchange)
        definitions = self._metadata.SignatureDefMap()
        for name, signature in model.signatures.items():
            encode_signature(signature, definitions.signature_def[name])
        response = self._metadata.GetModelMetadataResponse()
        response.model_spec.name = model.name
        response.model_spec.version.value = model.version
        response.metadata[SIGNATURES].Pack(definitions)
        return response


def encode_signature(signature: Signature, definition: Any) -> None:
    """Writes a signature into an empty `SignatureDef`."""
    definition.method_name = signature.method_name
    for specs, tensors in ((signature.inputs, definition.inputs), (signature.outputs, definition.outputs)):
        for name, spec in specs.items():
            encode_spec(spec, tensors[name])


def encode_spec(spec: TensorSpec, info: Any) -> None:
    """Writes an input or output into an empty `TensorInfo`."""
    info.name = spec.tensor
    info.dtype = load_protos("tensorflow.core.framework.types_pb2").DataType.Value(spec.dtype)
    info.tensor_shape.unknown_rank = spec.shape is None
    for size in spec.shape or ():
        info.tensor_shape.dim.add().size = size
