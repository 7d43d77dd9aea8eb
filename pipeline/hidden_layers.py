"""The hidden layers of each architecture, from scaled rows to what the output layer takes."""

from collections.abc import Callable
from functools import partial

import keras

from pipeline.errors import ParamsError
from pipeline.network_params import CnnParams, Initializer, LayerParams, MlpParams, NetworkParams, RnnParams

CONSTANT_WEIGHT = 0.05
"""Value of every weight under the `constant` initializer, which breaks a network on purpose."""

RANDOM_SPREAD = 0.05
"""Deviation of `random_normal` and bound of `random_uniform`: what Keras takes where nothing is said."""

UNROLLED_STEPS = 32
"""A SimpleRNN over at most so many steps is unrolled: faster, for a graph that is still small. LSTM and GRU are not,
since a GPU's fused kernels for them need the loop."""

CELLS = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}

GLOBAL_POOLING = {
    "average": (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D),
    "max": (keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D),
}
POOLING = {
    "average_pooling": (keras.layers.AveragePooling1D, keras.layers.AveragePooling2D),
    "max_pooling": (keras.layers.MaxPooling1D, keras.layers.MaxPooling2D),
}
"""Along signals, and over images."""


def add_hidden_layers(params: NetworkParams, scaled: keras.KerasTensor, policy: str) -> keras.KerasTensor:
    """Puts a network's hidden layers behind its scaled input.

    Args:
        params: the model's `network` block.
        scaled: float32 `(n, rows, columns)` or `(n, k)`.
        policy: the layers' dtype policy.

    Returns:
        `(n, units)`, what the output layer takes.

    Raises:
        ParamsError: the network does not fit the data.
    """
    return _HIDDEN[type(params)](params, scaled, policy)


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


def _add_dense_layers(params: MlpParams, hidden: keras.KerasTensor, policy: str) -> keras.KerasTensor:
    if len(hidden.shape) > 2:
        hidden = keras.layers.Flatten(dtype="float32", name="flatten")(hidden)
    return _add_dense(params, params.units, hidden, policy)


def _add_dense(
    params: MlpParams | CnnParams, units: tuple[int, ...], hidden: keras.KerasTensor, policy: str
) -> keras.KerasTensor:
    for number, count in enumerate(units, start=1):
        hidden = _add_weights(params, partial(keras.layers.Dense, count, name=f"hidden_{number}"), hidden, policy)
        if params.dropout:
            hidden = keras.layers.Dropout(params.dropout, dtype=policy, name=f"dropout_{number}")(hidden)
    return hidden


def _add_convolutions(params: CnnParams, hidden: keras.KerasTensor, policy: str) -> keras.KerasTensor:
    hidden = keras.layers.Reshape((*hidden.shape[1:], 1), dtype="float32", name="add_channel")(hidden)
    dimensions = len(hidden.shape) - 2
    for block, filters in enumerate(params.filters, start=1):
        is_last = block == len(params.filters)
        for index in range(1, params.convolutions_per_block + 1):
            name = f"convolution_{block}" + (f"_{index}" if params.convolutions_per_block > 1 else "")
            hidden = _add_convolution(params, filters, name, hidden, policy)
        if not is_last or params.downsample_last:
            hidden = _add_downsampling(params, filters, block, hidden, policy)
        if not is_last and params.block_dropout:
            hidden = keras.layers.Dropout(params.block_dropout, dtype=policy, name=f"block_dropout_{block}")(hidden)
    if params.global_pooling == "none":
        hidden = keras.layers.Flatten(dtype=policy, name="flatten")(hidden)
    else:
        pooling = GLOBAL_POOLING[params.global_pooling][dimensions - 1]
        hidden = pooling(dtype=policy, name="global_pooling")(hidden)
    if params.dropout:
        hidden = keras.layers.Dropout(params.dropout, dtype=policy, name="dropout")(hidden)
    return _add_dense(params, params.dense_units, hidden, policy)


def _add_convolution(
    params: CnnParams, filters: int, name: str, hidden: keras.KerasTensor, policy: str, strides: int = 1
) -> keras.KerasTensor:
    convolution = (keras.layers.Conv1D, keras.layers.Conv2D)[len(hidden.shape) - 3]
    # A stride that does not divide the positions would drop the last ones without padding.
    padding = params.padding if strides == 1 else "same"
    if padding == "valid":
        where = name.replace("_", " ", 1).replace("_", ".")
        _check_room(hidden, params.kernel_size, f"{where} with kernel_size {params.kernel_size}")
    build = partial(convolution, filters, params.kernel_size, strides=strides, padding=padding, name=name)
    return _add_weights(params, build, hidden, policy)


def _add_downsampling(
    params: CnnParams, filters: int, block: int, hidden: keras.KerasTensor, policy: str
) -> keras.KerasTensor:
    _check_room(hidden, params.pool_size, f"pooling {block} with pool_size {params.pool_size}")
    name = f"pooling_{block}"
    if params.downsampling == "strided_convolution":
        return _add_convolution(params, filters, name, hidden, policy, strides=params.pool_size)
    pooling = POOLING[params.downsampling][len(hidden.shape) - 3]
    return pooling(params.pool_size, dtype=policy, name=name)(hidden)


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


def _add_weights(
    params: MlpParams | CnnParams, build: Callable[..., keras.Layer], hidden: keras.KerasTensor, policy: str
) -> keras.KerasTensor:
    """A dense or convolution layer with its activation and, where wanted, batch normalization between the two."""
    if not params.batch_normalization:
        return build(dtype=policy, **_kernel(params))(hidden)
    # The normalization's own offset stands in for the bias.
    layer = build(dtype=policy, **_kernel(params) | {"activation": None, "use_bias": False})
    hidden = keras.layers.BatchNormalization(dtype=policy, name=f"{layer.name}_normalized")(layer(hidden))
    return keras.layers.Activation(params.activation, dtype=policy, name=f"{layer.name}_activated")(hidden)


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
