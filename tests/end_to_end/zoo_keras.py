"""Models of the zoo that are Keras models, exported as Keras does it (`model.export`)."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.end_to_end.zoo_graphs import make_inputs, sentence

Inputs = Callable[[np.random.Generator, int], dict[str, np.ndarray]]
TEXTS = ["good film", "bad film", "never a boring plot, always good actors", "a bad end", "the plot is never good"]


def dense() -> keras.Model:
    return keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(8, "relu"), layers.Dropout(0.5), layers.Dense(3)]
    )


def normalized() -> keras.Model:
    scale = layers.Normalization()
    scale.adapt(np.random.default_rng(2).normal(3, 2, (50, 4)))
    return keras.Sequential([keras.Input((4,), name="x"), scale, layers.BatchNormalization(), layers.Dense(2)])


def convolutional() -> keras.Model:
    return keras.Sequential([
        keras.Input((8, 8, 1), name="x"), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(),
        layers.MaxPooling2D(), layers.Flatten(), layers.Dense(3, "softmax"),
    ])  # fmt: skip


def gru() -> keras.Model:
    return keras.Sequential([keras.Input((None, 2), name="x"), layers.GRU(6), layers.Dense(1)])


def bidirectional() -> keras.Model:
    return keras.Sequential([keras.Input((None, 2), name="x"), layers.Bidirectional(layers.LSTM(4)), layers.Dense(1)])


def attention() -> keras.Model:
    tokens = keras.Input((None,), dtype="int64", name="x")
    embedded = layers.Embedding(40, 8, mask_zero=True)(tokens)
    mixed = layers.MultiHeadAttention(2, 4)(embedded, embedded)
    return keras.Model(tokens, layers.Dense(1)(layers.GlobalAveragePooling1D()(mixed)))


def two_ways() -> keras.Model:
    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate()([layers.Dense(4, "tanh")(left), right])
    return keras.Model({"left": left, "right": right}, {"sum": layers.Dense(1)(joined), "all": layers.Dense(2)(joined)})


def text_lstm() -> keras.Model:
    vectorize = layers.TextVectorization()
    vectorize.adapt(TEXTS)
    return keras.Sequential([
        keras.Input((), dtype="string", name="x"), vectorize, layers.Embedding(len(vectorize.get_vocabulary()), 8),
        layers.LSTM(8), layers.Dense(1),
    ])  # fmt: skip


def text_fixed_length() -> keras.Model:
    vectorize = layers.TextVectorization(output_sequence_length=6)
    vectorize.adapt(TEXTS)
    return keras.Sequential([
        keras.Input((), dtype="string", name="x"), vectorize, layers.Embedding(len(vectorize.get_vocabulary()), 8),
        layers.GlobalMaxPooling1D(), layers.Dense(2, "softmax"),
    ])  # fmt: skip


def stateful_lstm() -> keras.Model:
    return keras.Sequential(
        [keras.Input(batch_shape=(1, 1, 3), name="x"), layers.LSTM(4, stateful=True), layers.Dense(1)]
    )


def texts(random: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    array = np.empty(rows, object)
    array[:] = [b"good film" if rows == 1 else sentence(random) for _ in range(rows)]
    return {"x": array}


def by_specs(**specs) -> Inputs:
    return lambda random, rows: make_inputs(specs, random, rows)


TABLE = by_specs(x=("float32", [None, 4]))
SERIES = by_specs(x=("float32", [None, None, 2]))
# By name: the model, its requests, its kind and the rows of the requests.
KERAS: dict[str, tuple[Callable[[], keras.Model], Inputs, str, tuple[int, ...]]] = {
    "keras_dense": (dense, TABLE, "pure", (1, 2, 7, 1)),
    "keras_normalized": (normalized, TABLE, "pure", (1, 2, 7, 1)),
    "keras_convolutional": (convolutional, by_specs(x=("float32", [None, 8, 8, 1])), "pure", (1, 2, 7, 1)),
    "keras_gru": (gru, SERIES, "pure", (1, 2, 7, 1)),
    "keras_bidirectional": (bidirectional, SERIES, "pure", (1, 2, 7, 1)),
    "keras_attention": (
        attention,
        lambda random, rows: {"x": random.integers(0, 40, (rows, int(random.integers(2, 9))))},
        "pure",
        (1, 2, 7, 1),
    ),
    "keras_two_ways": (
        two_ways, by_specs(left=("float32", [None, 2]), right=("float32", [None, 3])), "pure", (1, 2, 7, 1)
    ),
    "keras_text_lstm": (text_lstm, texts, "pure", (1, 1, 2, 5)),
    "keras_text_fixed_length": (text_fixed_length, texts, "pure", (1, 1, 2, 5)),
    "keras_stateful_lstm": (stateful_lstm, by_specs(x=("float32", [1, 1, 3])), "stateful", (1, 1, 1)),
}  # fmt: skip


def save(name: str, folder: str) -> None:
    """Exports a model of `KERAS`."""
    keras.utils.set_random_seed(len(name))
    model = KERAS[name][0]()
    # `export` alone would make the number of rows free, which a model with a state for each row is not.
    fixed = model.inputs[0].shape[0] is not None
    signature = [tf.TensorSpec(model.inputs[0].shape, name="x")] if fixed else None
    model.export(folder, verbose=False, input_signature=signature)
    keras.backend.clear_session()
