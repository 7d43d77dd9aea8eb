"""Builds SavedModels whose rows depend on one another, or do not, in many ways.

`python -m tests.service.build_row_models FOLDER` writes `FOLDER/<model>/1/`, and `FOLDER/stateful_lstm.npy` with what
that model answers first and second to ones.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
MODELS: dict[str, Callable[[Path], None]] = {}
FLOATS = tf.TensorSpec([None], tf.float32, name="x")
ROWS = tf.TensorSpec([None, 4], tf.float32, name="x")
SERIES = tf.TensorSpec([None, 6, 3], tf.float32, name="x")
TEXTS = tf.TensorSpec([None], tf.string, name="text")
NUMBERS = tf.TensorSpec([None], tf.int32, name="ids")
VOCABULARY = ["good", "film", "bad", "the", "plot", "was", "dull"]


def model(save: Callable[[Path], None]) -> Callable[[Path], None]:
    """Registers a function that writes a SavedModel."""
    MODELS[save.__name__] = save
    return save


def function(name: str, call: Callable, *specs: tf.TensorSpec, **variables) -> None:
    """Registers a SavedModel of one function; `variables` make its variables, which it gets first."""

    def save(folder: Path) -> None:
        module = tf.Module()
        made = [make() for make in variables.values()]
        module.made = made
        module.call = tf.function(lambda *inputs: call(*made, *inputs), input_signature=specs)
        tf.saved_model.save(module, str(folder), signatures=module.call.get_concrete_function())

    MODELS[name] = save


def cast_rows(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.shape(x)[0], tf.float32)


def same_query(query: tf.Tensor) -> tf.Tensor:
    same = tf.cast(query[:, None] == query[None], tf.float32)
    return same / tf.reduce_sum(same, 1, keepdims=True)


# Rows that depend on one another by arithmetic.
function("softmax", lambda x: {"p": tf.nn.softmax(x)}, FLOATS)
function("centred", lambda x: {"y": x - tf.reduce_mean(x, 0)}, ROWS)
function("faintly_centred", lambda x: {"y": x - 1e-9 * tf.reduce_mean(x, 0)}, ROWS)
function("normed", lambda x: {"y": x / tf.reduce_max(x)}, FLOATS)
function("summed", lambda x: {"y": tf.cumsum(x)}, ROWS)
function("sorted_rows", lambda x: {"y": tf.sort(x)}, FLOATS)
function("ranks", lambda x: {"y": tf.argsort(tf.argsort(x))}, FLOATS)
function("reversed_rows", lambda x: {"y": x[::-1]}, ROWS)
function("rolled", lambda x: {"y": tf.roll(x, 1, 0)}, ROWS)
function("minus_first", lambda x: {"y": x - x[:1]}, ROWS)
function("differences", lambda x: {"y": x - tf.concat([x[:1] * 0, x[:-1]], 0)}, ROWS)
function("distances", lambda x: {"y": tf.reduce_sum(tf.square(x[:, None] - x[None]), [1, 2])}, ROWS)
function("attention", lambda x: {"y": tf.nn.softmax(x @ tf.transpose(x)) @ x}, ROWS)
function("whitened", lambda x: {"y": tf.math.l2_normalize(x, axis=0)}, ROWS)
function("best", lambda x: {"is_best": tf.equal(x, tf.reduce_max(x)), "x": x}, FLOATS)
function("flipped_sign", lambda x: {"y": tf.where(tf.reduce_any(x > 5000.0), -x, x)}, FLOATS)
function("repeats", lambda x: {"y": tf.reduce_sum(tf.cast(x[:, None] == x[None], tf.int32), 1), "x": x}, FLOATS)
# By their number.
function("counted", lambda x: {"y": x * cast_rows(x)}, FLOATS)
function("crowded", lambda x: {"y": tf.where(cast_rows(x) > 20.0, -x, x)}, FLOATS)
function("branch_on_rows", lambda x: {"y": tf.cond(tf.shape(x)[0] > 1, lambda: -x, lambda: x)}, FLOATS)
function("numbered", lambda x: {"y": x + tf.range(cast_rows(x))}, FLOATS)
# By shape.
function("scalar", lambda x: {"y": tf.reduce_sum(x)}, FLOATS)
function("one_row", lambda x: {"y": tf.reduce_sum(x, 0, keepdims=True)}, ROWS)
function("twice", lambda x: {"y": tf.repeat(x, 2)}, FLOATS)
function("kept", lambda x: {"y": tf.boolean_mask(x, x > 0)}, FLOATS)
function("unique", lambda x: {"y": tf.unique(x).y}, FLOATS)
function("grouped", lambda x: {"y": tf.cast(tf.unique(x).idx, tf.float32)}, FLOATS)
function("tokens", lambda text: {"tokens": tf.strings.split(text).to_tensor()}, TEXTS)
function("wordcount_padded",
         lambda text: {"n": tf.cast(tf.shape(tf.strings.split(text).to_tensor())[1], tf.float32)
                       + tf.zeros(tf.shape(text)), "size": tf.strings.length(text)}, TEXTS)  # fmt: skip
# By state and chance.
function("counter", lambda n, x: {"y": x, "n": tf.fill(tf.shape(x), n.assign_add(1))}, FLOATS,
         n=lambda: tf.Variable(0))  # fmt: skip
function("running_mean", lambda m, x: {"y": x - m.assign(0.9 * m + 0.1 * tf.reduce_mean(x))}, FLOATS,
         m=lambda: tf.Variable(0.0))  # fmt: skip
function("noise", lambda x: {"y": x + tf.random.uniform(tf.shape(x))}, FLOATS)
function("seeded_noise", lambda x: {"y": x + tf.random.stateless_uniform(tf.shape(x), [1, 2])}, FLOATS)
function("clock", lambda x: {"y": x + tf.cast(tf.timestamp(), tf.float32)}, FLOATS)
# A loop that values end, and one that ends by itself.
function(
    "loop_on_values",
    lambda x: {"y": tf.while_loop(lambda y: tf.reduce_max(y) > 1, lambda y: (y / 2,), (x,))[0]},
    FLOATS,
)
# Iterates until all rows are near enough.
function(
    "loop_until_all",
    lambda x: {"y": tf.while_loop(
        lambda _, go_on: go_on,
        lambda y, _: (y / 2, tf.reduce_any(y > 1)), (x, tf.constant(True)), maximum_iterations=50)[0]},
    FLOATS,
)  # fmt: skip
# By groups: of one query, of the customer in a column.
function(
    "query_centred",
    lambda x, query: {"y": 2 * x - tf.reduce_sum(x[None] * same_query(query), 1)},
    FLOATS, tf.TensorSpec([None], tf.int64, name="query"),
)  # fmt: skip
function(
    "column_centred",
    lambda x: {"y": 2 * x[:, 1] - tf.reduce_sum(x[None, :, 1] * same_query(x[:, 0]), 1)},
    ROWS,
)
function("in_group", lambda x: {"y": x + tf.cast(tf.gather(tf.math.bincount(x), x), tf.int32)}, NUMBERS)
function("joined", lambda text: {"y": tf.strings.join([text, tf.fill(tf.shape(text), tf.strings.reduce_join(text))])},
         TEXTS)  # fmt: skip
function("any_flag", lambda x: {"y": tf.logical_or(x, tf.reduce_any(x))}, tf.TensorSpec([None], tf.bool, name="x"))
function("outlier", lambda x: {"x": x, "y": x > tf.reduce_mean(x) + 3 * tf.math.reduce_std(x)}, FLOATS)
function("segments", lambda x: {"y": tf.gather(tf.math.segment_mean(x, tf.range(tf.shape(x)[0]) // 2),
                                               tf.range(tf.shape(x)[0]) // 2)}, FLOATS)  # fmt: skip
function("longest", lambda x: {"y": tf.reduce_mean(x[:, : tf.reduce_max(tf.reduce_sum(tf.sign(x), 1))], 1)},
         tf.TensorSpec([None, None], tf.int32, name="x"))  # fmt: skip
function("percentile", lambda x: {"y": tf.minimum(x, tf.sort(x)[tf.shape(x)[0] * 9 // 10])}, FLOATS)
function("doubles", lambda x: {"y": x / tf.reduce_max(x)}, tf.TensorSpec([None, 3], tf.float64, name="x"))
function("pixels_by_brightest", lambda x: {"y": tf.reduce_mean(tf.cast(x, tf.float32) / tf.cast(tf.reduce_max(x),
         tf.float32), [1, 2, 3])}, tf.TensorSpec([None, 8, 8, 1], tf.uint8, name="x"))  # fmt: skip
function(
    "endless",
    lambda x: {
        "y": tf.while_loop(lambda i, _: i > 0, lambda i, y: (i, y), (tf.cast(tf.reduce_max(x), tf.int32), x))[1]
    },
    FLOATS,
)


# Rows that touch one another at values only that no probe thinks of.
def genres(text: tf.Tensor) -> tf.Tensor:
    padded = tf.strings.split(text, "|").to_tensor("")
    return tf.reduce_mean(tf.cast(tf.strings.to_hash_bucket_fast(padded, 50), tf.float32), 1)


function("genres", lambda text: {"y": genres(text)}, TEXTS)
function(
    "separated",
    lambda x: {"y": tf.reduce_sum(x[:, : tf.reduce_max(tf.argmax(tf.cast(x == 1e4, tf.int32), 1)) + 1], 1)},
    ROWS,
)
function("ages", lambda ids: {"y": (tf.reduce_max(ids) - ids) // 86400}, NUMBERS)
function("brightest", lambda x: {"y": x / tf.maximum(tf.reduce_max(x), 3e6)}, ROWS)
function(
    "filled", lambda x: {"y": tf.where(x < -5e6, tf.reduce_mean(tf.where(x < -5e6, tf.zeros_like(x), x), 0), x)}, ROWS
)
function("flagged", lambda x: {"y": tf.where(tf.reduce_any(x == -999.0), tf.zeros_like(x), x * 2)}, FLOATS)
function("late", lambda ids: {"y": ids + tf.cast(tf.reduce_max(ids) > 10**6, tf.int32)}, NUMBERS)


# By a number of rows that functions pass on, by an axis of rows that is not the first, or the only one.
@tf.function
def divide_large(x: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    return tf.where(x > 1e6, x / tf.cast(number, tf.float32), x)


@tf.function
def count(x: tf.Tensor) -> tf.Tensor:
    return tf.shape(x)[0]


def add_frequencies(x: tf.Tensor) -> tf.Tensor:
    kinds = tf.cast(tf.clip_by_value(x[:, 0] / 1e6, 0.0, 2.0), tf.int32)
    return x + tf.where(x > 1e6, tf.reduce_sum(tf.one_hot(kinds, 4, axis=0), 1), tf.zeros_like(x))


def normalize_large(x: tf.Tensor) -> tf.Tensor:
    ones = tf.ones([4])
    normal, _, _ = tf.compat.v1.nn.fused_batch_norm(x[:, None, None, :], ones, ones, is_training=True)
    return tf.where(x > 1e6, normal[:, 0, 0], x)


def subtract_least(x: tf.Tensor) -> tf.Tensor:
    return tf.where(x > 1e6, tf.reduce_max(x[:, None] - x, 1), x)


def spread_diagonal(x: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.Einsum(inputs=[x], equation="i->ii")


@tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
def subtract_largest(x: tf.Tensor) -> tf.Tensor:
    """It is called with any number of rows, though it says that it takes one."""
    changed = tf.where(x > 1e6, x - tf.reduce_max(x, 0, keepdims=True), x)
    return tf.compat.v1.placeholder_with_default(changed, [None, 4])


def compare_with_others(x: tf.Tensor) -> tf.Tensor:
    """A function that says that it takes two columns gets a list and a column."""
    column = tf.TensorSpec([None, 1], tf.float32)

    @tf.function(input_signature=[column, column])
    def compare(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.where(b > 1e6, a - b, tf.zeros_like(a)), 1)

    [compared] = tf.raw_ops.PartitionedCall(args=[x, x[:, None]], Tout=[tf.float32], f=compare.get_concrete_function())
    compared.set_shape([None])
    return compared


function("count_passed", lambda x: {"y": divide_large(x, tf.shape(x)[0])}, ROWS)
function("count_reshaped", lambda x: {"y": divide_large(x, tf.reshape(tf.shape(x)[0], [1, 1]))}, ROWS)
function("count_returned", lambda x: {"y": tf.where(x > 1e6, x / tf.cast(count(x), tf.float32), x)}, ROWS)
function("frequencies", lambda x: {"y": add_frequencies(x)}, ROWS)
function("softmax_of_large", lambda x: {"y": tf.where(x > 1e6, tf.nn.softmax(x), x)}, FLOATS)
function("normalized_large", lambda x: {"y": normalize_large(x)}, ROWS)
function("repeated_letter", lambda x: {"y": tf.where(x > 1e6, tf.reduce_min(spread_diagonal(x), 1), x)}, FLOATS)
function("said_to_be_one", lambda x: {"y": tf.identity(subtract_largest(x))}, ROWS)
function("said_to_be_columns", lambda x: {"y": x + compare_with_others(x)}, FLOATS)
function("subtracted_least", lambda x: {"y": subtract_least(x)}, FLOATS)

# Independent rows.
function("linear", lambda w, x: {"y": tf.sin(x) @ w}, ROWS, w=lambda: tf.Variable(tf.ones([4, 2])))
function("softmax_of_row", lambda x: {"p": tf.nn.softmax(x), "class": tf.argmax(x, 1)}, ROWS)
function("in_functions", lambda x: {"y": divide_large(x, tf.constant(2))}, ROWS)
function("one_hot", lambda ids: {"y": tf.one_hot(ids, 4) * 2}, NUMBERS)
function("always_zero", lambda x: {"y": tf.zeros_like(x)}, ROWS)
function("any_width", lambda x: {"y": tf.reduce_mean(x, 1)}, tf.TensorSpec([None, None], tf.float32, name="x"))
function("two_inputs", lambda a, b: {"y": a * 2 + tf.cast(b, tf.float32)[:, None]},
         ROWS, NUMBERS)  # fmt: skip
function("two_inputs_centred", lambda a, b: {"y": a * 2 + tf.cast(b - tf.reduce_min(b), tf.float32)[:, None]},
         ROWS, NUMBERS)  # fmt: skip
function("embedding", lambda t, ids: {"y": tf.gather(t, ids)}, NUMBERS,
         t=lambda: tf.Variable(np.arange(12, dtype=np.float32).reshape(6, 2)))  # fmt: skip
function("upper", lambda text: {"upper": tf.strings.upper(text)}, TEXTS)
function("per_row", lambda x: {"y": tf.map_fn(lambda row: tf.reduce_sum(row) * row, x)}, ROWS)
function("half", lambda x: {"y": x * 3}, tf.TensorSpec([None, 4], tf.float16, name="x"))
function("bfloat16", lambda x: {"y": x * 3}, tf.TensorSpec([None, 4], tf.bfloat16, name="x"))
function("flags", lambda x: {"y": tf.logical_not(x)}, tf.TensorSpec([None, 3], tf.bool, name="x"))
function("pixels", lambda x: {"y": tf.reduce_mean(tf.cast(x, tf.float32), [1, 2, 3])},
         tf.TensorSpec([None, None, None, 3], tf.uint8, name="x"))  # fmt: skip
function("checked", lambda x: {"y": tf.math.log(check(x))}, FLOATS)


def check(x: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.assert_positive(x)]):
        return tf.identity(x)


def lookup(name: str, call: Callable) -> None:
    def save(folder: Path) -> None:
        module = tf.Module()
        keys, values = tf.constant(VOCABULARY), tf.range(1, len(VOCABULARY) + 1)
        module.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)
        module.weights = tf.Variable(tf.random.stateless_normal([len(VOCABULARY) + 1, 3], [1, 2]))
        module.call = tf.function(
            lambda text: {"y": call(tf.gather(module.weights, module.table.lookup(text)))}, input_signature=[TEXTS]
        )
        tf.saved_model.save(module, str(folder), signatures=module.call.get_concrete_function())

    MODELS[name] = save


lookup("lookup", lambda y: y)
# Words that the model does not know would all look the same.
lookup("lookup_centred", lambda y: y - tf.reduce_mean(y, 0))


def network(name: str, *layers: Callable, shape: tuple = (6, 3), dtype: str = "float32") -> None:
    def save(folder: Path) -> None:
        keras.utils.set_random_seed(1)
        made = keras.Sequential([keras.Input(shape, dtype=dtype), *[layer() for layer in layers]])
        made.export(str(folder), verbose=False)

    MODELS[name] = save


layers = keras.layers
network("dense", lambda: layers.Dense(8, "relu"), lambda: layers.Dense(3, "softmax"), shape=(5,))
network("lstm", lambda: layers.LSTM(8), lambda: layers.Dense(2))
network("convolution", lambda: layers.Conv2D(4, 3), lambda: layers.BatchNormalization(),
        lambda: layers.MaxPooling2D(), lambda: layers.Flatten(), lambda: layers.Dropout(0.5),
        lambda: layers.Dense(3, "softmax"), shape=(12, 12, 1))  # fmt: skip
network("embedded", lambda: layers.Embedding(50, 4, mask_zero=True), lambda: layers.GRU(4),
        shape=(7,), dtype="int32")  # fmt: skip
network("convolution_1d", lambda: layers.Conv1D(4, 3), lambda: layers.GlobalAveragePooling1D(), shape=(None, 3))


class TrainingNorm(keras.layers.Layer):
    """Batch normalization that always takes the batch's own statistics."""

    def call(self, x):
        mean, variance = tf.nn.moments(x, [0])
        return (x - mean) * tf.math.rsqrt(variance + 1e-3)


network("batch_statistics", TrainingNorm, lambda: layers.Dense(3), shape=(5,))


def texts(name: str, *, length: int | None) -> None:
    def save(folder: Path) -> None:
        keras.utils.set_random_seed(1)
        vectorization = layers.TextVectorization(output_sequence_length=length, vocabulary=VOCABULARY)
        inputs = keras.Input((), dtype="string", name="text")
        x = layers.Embedding(len(VOCABULARY) + 2, 8)(vectorization(inputs))
        outputs = layers.Dense(1, "sigmoid")(layers.LSTM(8)(x))
        keras.Model(inputs, outputs).export(str(folder), verbose=False)

    MODELS[name] = save


texts("text_any_length", length=None)
texts("text_fixed_length", length=10)


@model
def stateful_lstm(folder: Path) -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input(batch_shape=(1, 1, 3), name="x")
    made = keras.Model(inputs, layers.Dense(1)(layers.LSTM(4, stateful=True)(inputs)))
    answered = [made(np.ones((1, 1, 3), np.float32)).numpy().item() for _ in range(2)]
    np.save(folder.parent.parent / "stateful_lstm.npy", answered)
    made.layers[1].reset_states()
    made.export(str(folder), verbose=False, input_signature=[tf.TensorSpec((1, 1, 3), tf.float32, name="x")])


@model
def tensorflow_1_loop(folder: Path) -> None:
    v1.disable_control_flow_v2()
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        weights = v1.get_variable("weights", initializer=[[1.0], [10.0]], use_resource=False)
        _, y = v1.while_loop(lambda i, _: i < 5, lambda i, a: (i + 1, a * 2.0), (tf.constant(0), x @ weights))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    v1.enable_control_flow_v2()


@model
def tensorflow_1(folder: Path) -> None:
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        weights = v1.get_variable("weights", initializer=[[1.0], [10.0]], use_resource=False)
        y = x @ weights
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})


@model
def said_to_be_a_list(folder: Path) -> None:
    """The graph takes a column; the signature, edited by hand, says that it takes a list."""
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 1], "x")
        y = tf.where(x > 1e6, tf.nn.softmax(x), x)
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        for info in (signature.inputs["x"], signature.outputs["y"]):
            del info.tensor_shape.dim[1:]
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


@model
def tensorflow_1_counter(folder: Path) -> None:
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        count = v1.get_variable("count", initializer=0.0, use_resource=False)
        y = x + v1.assign_add(count, 1.0)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})


def main(folder: Path) -> None:
    for name, save in MODELS.items():
        save(folder / name / "1")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
