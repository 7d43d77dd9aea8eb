"""The networks: from raw input to output, with the preprocessing as layers. No files are read or written here."""

from collections.abc import Callable

import keras

from pipeline.classifiers import finish_classifier
from pipeline.errors import ParamsError
from pipeline.members import add_members, average_members
from pipeline.network_params import CnnParams, Initializer, LayerParams, MlpParams, NetworkParams, RnnParams
from pipeline.objectives import Objective
from pipeline.prepared import Description
from pipeline.scaling import Standardization, add_bins, scaling_layer

CONSTANT_WEIGHT = 0.05
"""Value of every weight under the `constant` initializer, which breaks a network on purpose."""

RANDOM_SPREAD = 0.05
"""Deviation of `random_normal` and bound of `random_uniform`: what Keras takes where nothing is said."""

UNROLLED_STEPS = 32
"""A SimpleRNN over at most so many steps is unrolled: faster, for a graph that is still small. LSTM and GRU are not,
since a GPU's fused kernels for them need the loop."""

CELLS = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def build_model(
    params: NetworkParams,
    objective: Objective,
    description: Description,
    standardization: Standardization,
    mixed_precision: bool = False,
) -> keras.Model:
    """Builds the network as it is trained.

    Args:
        params: the model's `network` block.
        objective: decides the output; for as many members as `params` has.
        description: of the data set; gives the input's name and shape.
        standardization: of the training rows.
        mixed_precision: compute the hidden layers in bfloat16; weights and output stay float32.

    Returns:
        A model with one float32 input `image` `(n, rows, columns)` or `features` `(n, k)` in raw values. Its output is
        float32: `(n, classes)` softmax, `(n, 1)` sigmoid, `(n, 1)` standardized target, or linear scores of the same
        shapes for the hinge loss; of several members `(n, members, ...)`.

    Raises:
        ParamsError: the network does not fit the data or contradicts itself.
    """
    _check_regularizers(params)
    policy = "mixed_bfloat16" if mixed_precision else "float32"
    inputs = keras.Input(description.input_shape, dtype="float32", name=description.input_name)
    scale = scaling_layer(params.input_scaling, description, standardization)
    scaled = scale(inputs) if scale else inputs
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
        return _HIDDEN[type(params)](params, rows, policy)

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
    model = keras.Model(model.input, model.output)
    if objective.task != "regression":
        return finish_classifier(model, objective)
    answer = average_members(model.output) if objective.members > 1 else model.output
    unscale = keras.layers.Rescaling(
        standardization.target_deviation, offset=standardization.target_mean, dtype="float32", name="unscale"
    )
    return keras.Model(model.input, unscale(answer))


def build_initializer(name: Initializer) -> keras.Initializer:
    """The initializer of a kernel; random ones follow `keras.utils.set_random_seed`."""
    builders: dict[str, Callable[[], keras.Initializer]] = {
        "glorot_uniform": keras.initializers.GlorotUniform,
        "he_normal": keras.initializers.HeNormal,
        "he_uniform": keras.initializers.HeUniform,
        "orthogonal": keras.initializers.Orthogonal,
        "random_uniform": lambda: keras.initializers.RandomUniform(-RANDOM_SPREAD, RANDOM_SPREAD),
        "random_normal": lambda: keras.initializers.RandomNormal(stddev=RANDOM_SPREAD),
        "zeros": keras.initializers.Zeros,
        "constant": lambda: keras.initializers.Constant(CONSTANT_WEIGHT),
    }
    return builders[name]()


def build_regularizer(params: LayerParams) -> keras.Regularizer | None:
    """The penalty on hidden kernels: L1, L2, both (the elastic net) or none."""
    return keras.regularizers.L1L2(l1=params.l1, l2=params.l2) if params.l1 or params.l2 else None


def _check_regularizers(params: NetworkParams) -> None:
    if isinstance(params, MlpParams) and not params.units and (params.dropout or params.l1 or params.l2):
        raise ParamsError(
            "network: dropout, l1 and l2 act on hidden layers, and units: [] gives none. Remove them or add units."
        )


def _check_bins(params: NetworkParams) -> None:
    if params.input_scaling != "standardize":
        raise ParamsError(
            f"network.bins: bins are made of standardized columns, and input_scaling is {params.input_scaling!r}. "
            "Set input_scaling: standardize."
        )


def _add_dense_layers(params: MlpParams, hidden: keras.KerasTensor, policy: str) -> keras.KerasTensor:
    if len(hidden.shape) > 2:
        hidden = keras.layers.Flatten(dtype="float32", name="flatten")(hidden)
    for number, units in enumerate(params.units, start=1):
        hidden = keras.layers.Dense(units, dtype=policy, name=f"hidden_{number}", **_kernel(params))(hidden)
        if params.dropout:
            hidden = keras.layers.Dropout(params.dropout, dtype=policy, name=f"dropout_{number}")(hidden)
    return hidden


def _add_convolutions(params: CnnParams, hidden: keras.KerasTensor, policy: str) -> keras.KerasTensor:
    hidden = keras.layers.Reshape((*hidden.shape[1:], 1), dtype="float32", name="add_channel")(hidden)
    is_image = len(hidden.shape) == 4
    convolution = keras.layers.Conv2D if is_image else keras.layers.Conv1D
    pooling = keras.layers.MaxPooling2D if is_image else keras.layers.MaxPooling1D
    for number, filters in enumerate(params.filters, start=1):
        _check_room(hidden, params.kernel_size, f"convolution {number} with kernel_size {params.kernel_size}")
        name = f"convolution_{number}"
        hidden = convolution(filters, params.kernel_size, dtype=policy, name=name, **_kernel(params))(hidden)
        if number < len(params.filters):
            _check_room(hidden, params.pool_size, f"pooling {number} with pool_size {params.pool_size}")
            hidden = pooling(params.pool_size, dtype=policy, name=f"pooling_{number}")(hidden)
    hidden = keras.layers.Flatten(dtype=policy, name="flatten")(hidden)
    return keras.layers.Dropout(params.dropout, dtype=policy, name="dropout")(hidden) if params.dropout else hidden


def _check_room(hidden: keras.KerasTensor, size: int, step: str) -> None:
    room = min(hidden.shape[1:-1])
    if room < size:
        raise ParamsError(
            f"network: {step} needs at least {size} positions and receives {room}. Use fewer filters or smaller sizes."
        )


def _add_recurrent_layers(params: RnnParams, hidden: keras.KerasTensor, policy: str) -> keras.KerasTensor:
    if len(hidden.shape) == 2:
        hidden = keras.layers.Reshape((hidden.shape[1], 1), dtype="float32", name="as_sequence")(hidden)
    for number, units in enumerate(params.units, start=1):
        name = f"recurrent_{number}"
        layer = CELLS[params.cell](
            units,
            dropout=params.dropout,
            return_sequences=number < len(params.units),
            unroll=params.cell == "simple_rnn" and hidden.shape[1] <= UNROLLED_STEPS,
            dtype=policy,
            name=name,
            **_kernel(params),
        )
        if params.bidirectional:
            layer = keras.layers.Bidirectional(layer, dtype=policy, name=f"{name}_both_ways")
        hidden = layer(hidden)
    return hidden


def _kernel(params: LayerParams) -> dict[str, object]:
    return {
        "activation": params.activation,
        "kernel_initializer": build_initializer(params.kernel_initializer),
        "kernel_regularizer": build_regularizer(params),
    }


_HIDDEN: dict[type, Callable[..., keras.KerasTensor]] = {
    MlpParams: _add_dense_layers,
    CnnParams: _add_convolutions,
    RnnParams: _add_recurrent_layers,
}
