"""The first call of a signature is slow, so a model is called before it is served.

A model that brings `assets.extra/tf_serving_warmup_requests` is called with those; one that does not, with zeros.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from service.engine.model import InvalidInput, Model
from service.engine.signature import TensorSpec

logger = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
# TensorFlow Serving reads no more either (`WarmupConsts::kMaxNumRecords`).
MOST_RECORDS = 1000


def warm_up(model: Model, path: Path) -> None:
    """Calls the model's signatures.

    Args:
        model: to be called.
        path: the version's folder.

    Raises:
        InvalidInput: the model refuses one of the requests that it brings itself.
    """
    records = path / "assets.extra" / "tf_serving_warmup_requests"
    if records.is_file():
        for signature, inputs in islice(read_requests(records), MOST_RECORDS):
            model.call(signature, inputs)
    else:
        call_with_zeros(model)


def read_requests(records: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Signature and inputs of each Predict request in a file of `PredictionLog` records; other kinds are skipped."""
    import tensorflow
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tensorflow.data.TFRecordDataset(str(records)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") != "predict_log":
            continue
        request = log.predict_log.request
        inputs = {name: tensorflow.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        yield request.model_spec.signature_name or DEFAULT_SIGNATURE, inputs


def call_with_zeros(model: Model) -> None:
    """Calls every signature whose inputs are numbers of known rank; zeros need not be to a model's liking."""
    for name, signature in model.signatures.items():
        inputs = {key: zeros(spec) for key, spec in signature.inputs.items()}
        if any(array is None for array in inputs.values()):
            continue
        try:
            model.call(name, inputs)
        except InvalidInput as error:
            logger.info("Signature %s of model %s does not take zeros: %s", name, model.name, error)


def zeros(spec: TensorSpec) -> np.ndarray | None:
    """A batch of one row of zeros, or None where zeros make no sense."""
    if spec.shape is None or spec.numpy_dtype is None or spec.numpy_dtype.kind == "O":
        return None
    return np.zeros([max(size, 1) for size in spec.shape], spec.numpy_dtype)
