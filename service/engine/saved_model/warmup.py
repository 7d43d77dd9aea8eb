"""The first call of a signature is slow, so a model is called before it is served.

A model that brings `assets.extra/tf_serving_warmup_requests` is called with those; one that does not, with zeros, where
its graph keeps no state that they could change.
"""

import logging
from collections.abc import Container, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from service.engine.interface import Arrays
from service.engine.model import InvalidInput, Model
from service.engine.signature import DEFAULT_SIGNATURE, TensorSpec
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import decode_tensor
from service.errors import AnswerTooLarge

logger = logging.getLogger(__name__)

# TensorFlow Serving reads no more either (`WarmupConsts::kMaxNumRecords`).
MOST_RECORDS = 1000
MOST_BYTES = 2**31 - 1


def warm_up(model: Model, path: Path, stateless: Container[str], title: str, *, is_again: bool = False) -> None:
    """Calls the model's signatures.

    The first call of each signature takes most of a small model's load. Where the version has served before, clients
    wait for it: of the requests that change nothing only the first is run, and another signature's first client waits.

    Args:
        model: to be called.
        path: the version's folder.
        stateless: the signatures whose calls change nothing.
        title: what to call the model in the log.
        is_again: whether all of this was done before, in an engine that has ended.

    Raises:
        InvalidInput: the model refuses one of the requests that it brings itself.
        TensorFlowError: a call failed in another way, as the version's own would.
        ValueError: the file of requests is damaged.
    """
    records = warmup_file(path)
    if records.is_file():
        has_called = False
        for signature, inputs in islice(read_requests(records), MOST_RECORDS):
            check_request(model, signature, inputs)
            changes_nothing = signature in stateless
            if not (is_again and has_called and changes_nothing):
                model.call(signature, inputs)
            has_called |= changes_nothing
    elif DEFAULT_SIGNATURE in stateless:
        call_with_zeros(model, title)


def warmup_file(path: Path) -> Path:
    """Where a version keeps its warm-up requests."""
    return path / "assets.extra" / "tf_serving_warmup_requests"


def check_request(model: Model, name: str, inputs: Arrays) -> None:
    """Refuses a warm-up request that does not fit its signature.

    Raises:
        ValueError: saying what does not.
    """
    signature = model.signatures.get(name)
    if signature is None:
        raise ValueError(f"A warm-up request names signature '{name}', which the model does not have")
    if not signature.required <= inputs.keys() <= signature.inputs.keys():
        raise ValueError(
            f"A warm-up request of signature '{name}' has the inputs {sorted(inputs)}, but it takes "
            f"{sorted(signature.inputs)}"
        )
    for key, array in inputs.items():
        spec = signature.inputs[key]
        if not spec.is_servable or array.dtype != spec.numpy_dtype:
            raise ValueError(
                f"A warm-up request of signature '{name}' has {array.dtype} for input '{key}', which takes "
                f"{spec.type_name}"
            )


def read_requests(records: Path) -> Iterator[tuple[str, Arrays]]:
    """Signature and inputs of each Predict request in a file of `PredictionLog` records; other kinds are skipped."""
    logs = load_protos("tensorflow_serving.apis.prediction_log_pb2")
    for record in read_records(records):
        log = logs.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") != "predict_log":
            continue
        request = log.predict_log.request
        inputs = {name: decode_tensor(tensor, MOST_BYTES) for name, tensor in request.inputs.items()}
        yield request.model_spec.signature_name or DEFAULT_SIGNATURE, inputs


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: length, checksum of the length, content, checksum of the content.

    Raises:
        ValueError: the file ends within a record.

    Source:
        tensorflow/core/lib/io/record_writer.h, "Format of a single record".
    """
    with path.open("rb") as file:
        while head := file.read(12):
            length = int.from_bytes(head[:8], "little")
            content = file.read(length) if len(head) == 12 and length <= path.stat().st_size else b""
            if len(content) < length or len(file.read(4)) < 4:
                raise ValueError(f"{path} ends within a record")
            yield content


def call_with_zeros(model: Model, title: str) -> None:
    """Calls the default signature, if its inputs are numbers of known rank; zeros need not be to a model's liking.

    Any other failure is one of the version: it cannot run here.
    """
    signature = model.signatures[DEFAULT_SIGNATURE]
    inputs: Arrays = {}
    for key, spec in signature.inputs.items():
        array = zeros(spec)
        if array is None:
            return
        inputs[key] = array
    try:
        model.call(DEFAULT_SIGNATURE, inputs)
    except (InvalidInput, AnswerTooLarge) as error:
        logger.info("Signature %s of %s does not take zeros: %s", DEFAULT_SIGNATURE, title, error)


def zeros(spec: TensorSpec) -> np.ndarray | None:
    """A batch of one row of zeros, or None where zeros make no sense."""
    if spec.shape is None or not spec.is_servable or spec.numpy_dtype.kind == "O":
        return None
    return np.zeros([max(size, 1) for size in spec.shape], spec.numpy_dtype)
