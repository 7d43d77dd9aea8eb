"""`tensorflow.serving.PredictionService`: Classify, Regress and MultiInference, whose inputs are `tf.Example`s.

Source:
    TensorFlow Serving, `classifier.cc`, `regressor.cc`, `multi_inference.cc` and `util.cc`.
"""

from typing import Any

import numpy as np

from service.auth import PREDICT
from service.engine.call_model import call_model
from service.engine.repository import Model, Repository
from service.engine.signature import DEFAULT_SIGNATURE, Signature
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_sizes import check_size
from service.errors import InvalidPayload, UnsupportedType
from service.protocols.example_signatures import (
    INPUT,
    check_count,
    choose_class_outputs,
    choose_value_outputs,
    find_signature,
)
from service.protocols.grpc.exchange import Exchange, Method
from service.protocols.grpc.inference_results import write_classifications, write_regressions
from service.protocols.grpc.inputs import listed
from service.protocols.grpc.model_specs import find_by_spec, find_model, state_model

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


class Inference:
    """Classes and numbers for examples.

    Args:
        repository: the models.
        most_bytes: what the inputs of a request may take; see `check_size`.
    """

    def __init__(self, repository: Repository, most_bytes: int) -> None:
        self._repository = repository
        self._most_bytes = most_bytes
        self._classification = load_protos("tensorflow_serving.apis.classification_pb2")
        self._regression = load_protos("tensorflow_serving.apis.regression_pb2")
        self._inference = load_protos("tensorflow_serving.apis.inference_pb2")

    def methods(self) -> list[Method]:
        """The methods of the service that are here."""
        return [
            Method("Classify", PREDICT, self._classification.ClassificationRequest, self.classify),
            Method("Regress", PREDICT, self._regression.RegressionRequest, self.regress),
            Method("MultiInference", PREDICT, self._inference.MultiInferenceRequest, self.infer),
        ]

    def classify(self, request: Any, exchange: Exchange) -> Any:
        """Gives labels and scores for each example.

        Args:
            request: a `ClassificationRequest`.
            exchange: the call.

        Returns:
            A `ClassificationResponse`.

        Raises:
            ServiceError: the request is wrong, or the model cannot answer.
        """
        response = self._classification.ClassificationResponse()
        self._answer(CLASSIFY, request, response, exchange)
        return response

    def regress(self, request: Any, exchange: Exchange) -> Any:
        """Gives a number for each example.

        Args:
            request: a `RegressionRequest`.
            exchange: the call.

        Returns:
            A `RegressionResponse`.

        Raises:
            ServiceError: the request is wrong, or the model cannot answer.
        """
        response = self._regression.RegressionResponse()
        self._answer(REGRESS, request, response, exchange)
        return response

    def _answer(self, method: str, request: Any, response: Any, exchange: Exchange) -> None:
        model = find_model(self._repository, request, exchange)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        wanted = check_signature(method, find_signature(model, name))
        exchange.signature = name
        examples = read_examples(request.input, self._most_bytes)
        outputs = run(model, name, examples, wanted, exchange)
        state_model(response.model_spec, model, name)
        write(method, outputs, len(examples), response.result)

    def infer(self, request: Any, exchange: Exchange) -> Any:
        """Classifies and regresses the same examples by several signatures of one model.

        Args:
            request: a `MultiInferenceRequest`.
            exchange: the call.

        Returns:
            A `MultiInferenceResponse`.

        Raises:
            ServiceError: the request is wrong, or the model cannot answer.
        """
        first = request.tasks[0].model_spec if request.tasks else self._inference.InferenceTask().model_spec
        model = find_by_spec(self._repository, first, exchange)
        tasks = check_tasks(request.tasks, model)
        examples = read_examples(request.input, self._most_bytes)
        response = self._inference.MultiInferenceResponse()
        for name, method, wanted in tasks:
            exchange.signature = name
            outputs = run(model, name, examples, wanted, exchange)
            result = response.results.add()
            state_model(result.model_spec, model, name)
            part = result.classification_result if method == CLASSIFY else result.regression_result
            part.SetInParent()
            write(method, outputs, len(examples), part)
        return response


def check_tasks(tasks: Any, model: Model) -> list[tuple[str, str, list[str]]]:
    """The signature, method and outputs of each `InferenceTask`.

    Raises:
        InvalidPayload: the tasks do not fit together, or not the model.
        UnsupportedType: a task is neither to classify nor to regress.
    """
    checked: dict[str, tuple[str, str, list[str]]] = {}
    tensors = set()
    for task in tasks:
        if not task.model_spec.name:
            raise InvalidPayload("Found ModelSpec with an empty model name.")
        if task.model_spec.name != model.name:
            raise InvalidPayload("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name in checked:
            raise InvalidPayload(f"Duplicate evaluation of signature: {name}")
        signature = model.signatures.get(name)
        if signature is None:
            raise InvalidPayload(
                f"Requested signature not found in model graph: {name[:256]}. Signatures: {listed(model.signatures)}"
            )
        checked[name] = name, task.method_name, check_signature(task.method_name, signature)
        tensors.add(signature.inputs[INPUT].tensor)
        if len(tensors) > 1:
            raise InvalidPayload("Input tensor must be the same for all Signatures.")
    return list(checked.values())


def check_signature(method: str, signature: Signature) -> list[str]:
    """The outputs that a signature has for a method.

    Raises:
        InvalidPayload: the signature is not made for this method.
        UnsupportedType: there is no such method.
    """
    if method not in (CLASSIFY, REGRESS):
        raise UnsupportedType(f"Unsupported signature method_name: {method[:256]}. Supported: {CLASSIFY}, {REGRESS}")
    if signature.method_name != method:
        kind = "classification" if method == CLASSIFY else "regression"
        raise InvalidPayload(
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}. "
            "Such signatures are called by Predict."
        )
    choose = choose_class_outputs if method == CLASSIFY else choose_value_outputs
    return choose(signature)


def read_examples(source: Any, most_bytes: int) -> np.ndarray:
    """The serialized examples of an `Input`, each with the context before it, as an object array of `bytes`, axis (n,).

    Raises:
        InvalidPayload: there are none, or they are too large together.
    """
    chosen = getattr(source, source.WhichOneof("kind") or "example_list")
    # To join two messages' bytes is to merge the messages; the parsing op in the graph does so.
    context = chosen.context.SerializeToString() if hasattr(chosen, "context") else b""
    count = len(chosen.examples)
    if not count:
        raise InvalidPayload("Input is empty.")
    examples_bytes = sum(example.ByteSize() for example in chosen.examples)
    check_size([(np.dtype(object), count, count * len(context) + examples_bytes)], most_bytes)
    array = np.empty(count, object)
    array[:] = [context + example.SerializeToString() for example in chosen.examples]
    return array


def run(model: Model, name: str, examples: np.ndarray, wanted: list[str], exchange: Exchange) -> dict[str, np.ndarray]:
    """Runs a signature on examples.

    Raises:
        InvalidPayload: the signature takes another number of examples.
        ServiceError: as `Engine.call` says.
    """
    check_count(model.signatures[name], len(examples))
    return call_model(model, name, {INPUT: examples}, wanted, exchange.deadline)


def write(method: str, outputs: dict[str, np.ndarray], count: int, result: Any) -> None:
    """Writes outputs into a `ClassificationResult` or `RegressionResult`."""
    if method == CLASSIFY:
        write_classifications(outputs, count, result)
    else:
        write_regressions(outputs, count, result)
