"""Requests that a server replays while it loads a model, so that the first client does not wait for TensorFlow.

Source:
    TensorFlow Serving, SavedModel Warmup: a TFRecord file `assets.extra/tf_serving_warmup_requests` of PredictionLog.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

FILE_NAME = "tf_serving_warmup_requests"


@dataclass(frozen=True)
class Request:
    """One call of a signature: its name and its inputs by name."""

    signature_name: str
    inputs: Mapping[str, np.ndarray]


def save_requests(model: str, requests: Iterable[Request], path: Path) -> None:
    """Writes the requests for a model as a TFRecord of PredictionLog."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(_log(model, request).SerializeToString(deterministic=True))


def load_requests(path: Path) -> Iterator[Request]:
    """Reads what `save_requests` wrote."""
    for record in tf.data.TFRecordDataset([str(path)]).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        yield Request(request.model_spec.signature_name, inputs)


def _log(model: str, request: Request) -> prediction_log_pb2.PredictionLog:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = model
    message.model_spec.signature_name = request.signature_name
    for name, values in request.inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=message))
