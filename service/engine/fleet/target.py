"""One address of a TensorFlow Serving fleet: its channel, and its methods."""

import json
from typing import Any

import grpc

from service.engine.tensorflow.protos import load_protos

PREDICTION = "/tensorflow.serving.PredictionService/"
MODELS = "/tensorflow.serving.ModelService/"
OPTIONS = (
    # A name may stand for many servers: each call goes to the next of those that can be reached.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    # Otherwise a server that was away for long would be tried again two minutes after it is back.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Retries are decided where it is known what may be repeated.
    ("grpc.enable_retries", 0),
)


class Target:
    """A server, or several behind one name.

    Args:
        address: `host:port`.

    Attributes:
        address: the same.
        predict: `PredictionService.Predict`.
        describe: `PredictionService.GetModelMetadata`.
        status: `ModelService.GetModelStatus`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = grpc.insecure_channel(f"dns:///{address}", OPTIONS)
        predictions = load_protos("tensorflow_serving.apis.predict_pb2")
        metadata = load_protos("tensorflow_serving.apis.get_model_metadata_pb2")
        states = load_protos("tensorflow_serving.apis.get_model_status_pb2")
        self.predict = self._method(PREDICTION + "Predict", predictions.PredictResponse)
        self.describe = self._method(PREDICTION + "GetModelMetadata", metadata.GetModelMetadataResponse)
        self.status = self._method(MODELS + "GetModelStatus", states.GetModelStatusResponse)

    def _method(self, path: str, response: Any) -> grpc.UnaryUnaryMultiCallable:
        return self._channel.unary_unary(path, serialize, response.FromString)

    def close(self) -> None:
        """Ends its connections, and the calls in flight."""
        self._channel.close()


def serialize(message: Any) -> bytes:
    """A message's bytes."""
    content: bytes = message.SerializeToString()
    return content
