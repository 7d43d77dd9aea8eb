"""The end of a finished classifier: from a trained network's last kernels to class scores to probabilities."""

import keras

from pipeline.calibration import SCORES, probabilities_layer
from pipeline.members import average_members
from pipeline.objectives import Objective

LEAST_PROBABILITY = 1e-30
"""Below it the logarithm of a mean probability is not taken: float32 ends at 1e-38."""


def finish_classifier(model: keras.Model, objective: Objective) -> keras.Model:
    """Puts class scores and a softmax behind a trained network.

    The scores are those before the last activation, not logarithms of rounded probabilities: a sigmoid of 1 - 6e-8 is
    exact to one digit only, and a temperature would show it. The score of class 0 of two is 0. The scores of several
    members are the logarithms of their mean probabilities.

    Args:
        model: what `build_model` gave, for a classification.
        objective: that it was trained for.

    Returns:
        A model from raw input to `(n, classes)` float32 probabilities (two classes: `[1 - p, p]`), with a layer
        `class_scores`; the hidden layers' weights are shared.
    """
    linear = _without_activation(model)
    scores = linear.output
    if objective.task == "binary":
        zeros = keras.layers.Rescaling(0.0, dtype="float32", name="score_of_class_0")(scores)
        scores = keras.layers.Concatenate(dtype="float32", name="scores_of_both_classes")([zeros, scores])
    if objective.members > 1:
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities_of_members")(scores)
        scores = keras.ops.log(keras.ops.maximum(average_members(probabilities), LEAST_PROBABILITY))
    scores = keras.layers.Identity(dtype="float32", name=SCORES)(scores)
    return keras.Model(linear.input, probabilities_layer()(scores))


def _without_activation(model: keras.Model) -> keras.Model:
    """The same network with outputs as they are before their activation."""

    def copy_output(layer: keras.Layer) -> keras.Layer:
        if not layer.name.startswith("output"):
            return layer
        return keras.layers.Dense.from_config(layer.get_config() | {"activation": "linear"})

    linear = keras.models.clone_model(model, clone_function=copy_output)
    for layer in linear.layers:
        if layer.name.startswith("output"):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return linear
