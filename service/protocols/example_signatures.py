"""Signatures that take serialized `tf.Example`s, and what they give: for classify and regress, over REST and gRPC.

What counts is the names of inputs and outputs. Over gRPC the signature's `method_name` counts too; over REST it does
not: models saved by TensorFlow 2 state `tensorflow/serving/predict` for all of them, and TensorFlow Serving's check of
it is off by default.

Source:
    TensorFlow Serving, `classifier.cc`, `regressor.cc` and `main.cc`.
"""

from collections.abc import Iterable

import numpy as np

from service.engine.interface import Arrays
from service.engine.repository import Model
from service.engine.signature import Signature
from service.errors import FailedPrecondition, InvalidPayload

INPUT = "inputs"
CLASSES, SCORES, VALUES = "classes", "scores", "outputs"


def find_signature(model: Model, name: str) -> Signature:
    """A signature by name.

    Raises:
        InvalidPayload: the model has none of that name.
    """
    signature = model.signatures.get(name)
    if signature is None:
        raise InvalidPayload(
            f"No signature was found with the name: {name[:256]}. Signatures: {listed(model.signatures)}"
        )
    return signature


def choose_class_outputs(signature: Signature) -> list[str]:
    """The outputs of a classification signature: classes, scores or both.

    Raises:
        InvalidPayload: it is none.
        FailedPrecondition: the names of its input or outputs say so.
    """
    check_one_input(signature)
    if len(signature.outputs) not in (1, 2):
        raise InvalidPayload(f"Expected one or two output Tensors, found {len(signature.outputs)}. {advise(signature)}")
    check_input("classification", signature)
    wanted = [name for name in (CLASSES, SCORES) if name in signature.outputs]
    if not wanted:
        raise FailedPrecondition(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {listed(signature.outputs)}. {advise(signature)}"
        )
    return wanted


def choose_value_outputs(signature: Signature) -> list[str]:
    """The output of a regression signature.

    Raises:
        InvalidPayload: it is none.
        FailedPrecondition: the names of its input or outputs say so.
    """
    check_one_input(signature)
    if len(signature.outputs) != 1:
        raise InvalidPayload(f"Expected one output Tensor. Outputs: {listed(signature.outputs)}. {advise(signature)}")
    check_input("regression", signature)
    if VALUES not in signature.outputs:
        raise FailedPrecondition(
            f'No regression outputs found in SignatureDef: expected "{VALUES}", found {listed(signature.outputs)}. '
            f"{advise(signature)}"
        )
    return [VALUES]


def check_one_input(signature: Signature) -> None:
    """Refuses signatures with several inputs."""
    if len(signature.inputs) != 1:
        raise InvalidPayload(f"Expected one input Tensor. Inputs: {listed(signature.inputs)}. {advise(signature)}")


def check_input(kind: str, signature: Signature) -> None:
    """Refuses signatures whose input has another name, or does not take examples."""
    spec = signature.inputs.get(INPUT)
    if spec is None:
        raise FailedPrecondition(
            f'No {kind} inputs found in SignatureDef: expected "{INPUT}", found {listed(signature.inputs)}. '
            f"{advise(signature)}"
        )
    if spec.dtype != "DT_STRING" or not (spec.shape is None or (len(spec.shape) == 1)):
        shape = "any" if spec.shape is None else list(spec.shape)
        raise InvalidPayload(
            f"The signature takes no serialized examples: its input '{INPUT}' is {spec.dtype} of shape {shape}, "
            f"expected DT_STRING of shape [-1]. {advise(signature)}"
        )


def check_count(signature: Signature, count: int) -> None:
    """Refuses another number of examples than the input takes."""
    spec = signature.inputs[INPUT]
    if not spec.accepts((count,)):
        raise InvalidPayload(f"There are {count} examples, but input '{INPUT}' takes {list(spec.shape or ())}")


def advise(signature: Signature) -> str:
    """Where else to go with a signature that is not for examples."""
    return f"Its method_name is {signature.method_name}; any signature can be asked to predict."


def check_classes(outputs: Arrays, count: int) -> None:
    """Refuses classes and scores that are no matrices with a row for each example.

    Args:
        outputs: `classes`, `scores` or both.
        count: how many examples there are.

    Raises:
        InvalidPayload: they are of other types or shapes.
    """
    for name, dtype, words in ((CLASSES, np.object_, "DT_STRING"), (SCORES, np.float32, "DT_FLOAT")):
        array = outputs.get(name)
        if array is None:
            continue
        if array.ndim != 2:
            raise InvalidPayload(f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}")
        if array.dtype != np.dtype(dtype):
            raise InvalidPayload(f"Expected {name} Tensor of {words}. Got: {array.dtype}")
        if len(array) != count:
            raise InvalidPayload(f"Expected {name} output batch size of {count}. Got: {len(array)}")
    if len({array.shape for array in outputs.values()}) > 1:
        sizes = [outputs[name].shape[1] for name in (CLASSES, SCORES)]
        raise InvalidPayload(f"Tensors class and score should match in dim_size(1). Got {sizes[0]} vs. {sizes[1]}")


def check_values(outputs: Arrays, count: int) -> None:
    """Refuses what is not a number for each example.

    Args:
        outputs: `outputs`.
        count: how many examples there are.

    Raises:
        InvalidPayload: it is of another type or shape.
    """
    array = outputs[VALUES]
    if not array.ndim or array.shape[1:] not in ((), (1,)):
        raise InvalidPayload(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(array.shape)}"
        )
    if len(array) != count:
        raise InvalidPayload(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array.dtype != np.float32:
        raise InvalidPayload(f"Expected output Tensor of DT_FLOAT. Got: {array.dtype}")


def listed(names: Iterable[str]) -> str:
    """Names as a sentence shows them."""
    return ", ".join(sorted(names)) or "none"
