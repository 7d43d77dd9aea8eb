"""The networks: from raw input to output, with the preprocessing as layers. No files are read or written here."""

import keras

from pipeline.augmentation import augmentation_layer, without_augmentation
from pipeline.augmentation_params import AugmentationParams
from pipeline.classifiers import finish_classifier
from pipeline.errors import ParamsError
from pipeline.hidden_layers import add_hidden_layers, build_initializer
from pipeline.members import add_members, average_members
from pipeline.network_params import CnnParams, MlpParams, NetworkParams
from pipeline.objectives import Objective
from pipeline.prepared import Description
from pipeline.scaling import Standardization, add_bins, scaling_layer


def build_model(
    params: NetworkParams,
    objective: Objective,
    description: Description,
    standardization: Standardization,
    mixed_precision: bool = False,
    augmentation: AugmentationParams | None = None,
) -> keras.Model:
    """Builds the network as it is trained.

    Args:
        params: the model's `network` block.
        objective: decides the output; for as many members as `params` has.
        description: of the data set; gives the input's name and shape.
        standardization: of the training rows.
        mixed_precision: compute the hidden layers in bfloat16; weights and output stay float32.
        augmentation: how training rows are changed; it has no weights, and acts in training only.

    Returns:
        A model with one float32 input `image` `(n, rows, columns)` or `features` `(n, k)` in raw values. Its output is
        float32: `(n, classes)` softmax, `(n, 1)` sigmoid, `(n, 1)` standardized target, or linear scores of the same
        shapes for the hinge loss; of several members `(n, members, ...)`.

    Raises:
        ParamsError: the network does not fit the data or contradicts itself.
    """
    _check_use(params)
    policy = "mixed_bfloat16" if mixed_precision else "float32"
    inputs = keras.Input(description.input_shape, dtype="float32", name=description.input_name)
    scale = scaling_layer(params.input_scaling, description, standardization)
    augment = augmentation_layer(augmentation, description)
    rows = augment(inputs) if augment else inputs
    scaled = scale(rows) if scale else rows
    if standardization.edges is not None:
        _check_bins(params)
        scaled = add_bins(scaled, standardization.edges)
    units = objective.classes if objective.task == "multiclass" else 1

    def build_output(name: str) -> keras.Layer:
        return keras.layers.Dense(
            units,
            activation=objective.output_activation,
            kernel_initializer=build_initializer(params.kernel_initializer),
            dtype="float32",
            name=name,
        )

    def add_hidden(rows: keras.KerasTensor) -> keras.KerasTensor:
        return add_hidden_layers(params, rows, policy)

    return keras.Model(inputs, add_members(params.members, scaled, add_hidden, build_output))


def finish_model(model: keras.Model, objective: Objective, standardization: Standardization) -> keras.Model:
    """Puts behind a trained network what turns its output into the answer; the hidden layers' weights are shared.

    Args:
        model: what `build_model` gave.
        objective: that it was trained for.
        standardization: of the training rows.

    Returns:
        A model from raw input to `(n, classes)` probabilities, see `calibration`, or to `(n, 1)` predictions in the
        target's unit; float32.
    """
    # A compiled model would be cloned with its loss.
    model = without_augmentation(keras.Model(model.input, model.output))
    if objective.task != "regression":
        return finish_classifier(model, objective)
    answer = average_members(model.output) if objective.members > 1 else model.output
    unscale = keras.layers.Rescaling(
        standardization.target_deviation, offset=standardization.target_mean, dtype="float32", name="unscale"
    )
    return keras.Model(model.input, unscale(answer))


def _check_use(params: NetworkParams) -> None:
    """What is set must act on something."""
    if isinstance(params, MlpParams) and not params.units:
        _check_unset(params, ("dropout", "l1", "l2", "batch_normalization"), "hidden layers, and units: [] gives none")
    if isinstance(params, CnnParams) and len(params.filters) == 1:
        _check_unset(params, ("block_dropout",), "what stands between blocks, and filters gives one block")


def _check_unset(params: NetworkParams, keys: tuple[str, ...], where: str) -> None:
    for key in keys:
        if getattr(params, key):
            raise ParamsError(f"network.{key}: it acts on {where}. Remove {key}, or add to what it acts on.")


def _check_bins(params: NetworkParams) -> None:
    if params.input_scaling != "standardize":
        raise ParamsError(
            f"network.bins: bins are made of standardized columns, and input_scaling is {params.input_scaling!r}. "
            "Set input_scaling: standardize."
        )
