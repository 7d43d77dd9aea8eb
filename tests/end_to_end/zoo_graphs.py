"""Models of the zoo that are one function of TensorFlow each; `build_zoo` saves and asks them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

Specs = dict[str, tuple[str, list[int | None] | None]]
WORDS = ("good", "bad", "film", "plot", "actor", "never", "always", "été", "雪", "x", "boring", "a", "the", "end")


@dataclass(frozen=True)
class Graph:
    """A function to save.

    Attributes:
        function: it.
        specs: type and shape of each input.
        kind: see `Animal`.
        make: makes the inputs of a request from random numbers and a count of rows; default: by the specs.
        rows: of each request.
        variables: makes what the function finds as its first argument, a `tf.Module` that is saved with it.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    specs: Specs
    kind: str = "pure"
    make: Callable[[np.random.Generator, int], dict[str, np.ndarray]] | None = None
    rows: tuple[int, ...] = (1, 2, 3, 7, 1, 16)
    variables: Callable[[], tf.Module] | None = None


GRAPHS: dict[str, Graph] = {}


def graph(specs: Specs, **options: Any) -> Callable[[Callable], Callable]:
    """Adds the decorated function to the zoo under its name."""

    def add(function: Callable) -> Callable:
        GRAPHS[function.__name__] = Graph(function, specs, **options)
        return function

    return add


def make_values(random: np.random.Generator, dtype: str, shape: list[int]) -> np.ndarray:
    """Random values of a type and shape, which no other request has."""
    size = int(np.prod(shape))
    if dtype == "string":
        flat = np.empty(size, object)
        flat[:] = [sentence(random) for _ in range(size)]
        return flat.reshape(shape)
    if dtype == "bool":
        return random.random(shape) < 0.5
    if np.issubdtype(np.dtype(dtype), np.integer):
        return random.integers(0, min(2**53, np.iinfo(dtype).max // 8), shape).astype(dtype)
    if dtype.startswith("complex"):
        return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(dtype)
    return (random.random(shape) * 10 - 4).astype(dtype)


def sentence(random: np.random.Generator) -> bytes:
    """Some words and a number."""
    words = random.choice(WORDS, random.integers(1, 9)).tolist()
    return " ".join([*words, str(random.integers(10**9))]).encode()


def make_inputs(specs: Specs, random: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Inputs by their specs: unknown sizes are `rows` on the first axis, and one random length on the others."""
    length = int(random.integers(1, 6))
    inputs = {}
    for name, (dtype, shape) in specs.items():
        sizes = [(rows if axis == 0 else length) if size is None else size for axis, size in enumerate(shape or [])]
        inputs[name] = make_values(random, dtype, sizes)
    return inputs


FLAT = {"x": ("float32", [None])}
TABLE = {"x": ("float32", [None, 4])}
TEXT = {"text": ("string", [None])}


# Rows that depend on one another.


@graph(FLAT)
def softmax(x):
    return {"p": tf.nn.softmax(x)}


@graph(TABLE)
def running_sum(x):
    return {"y": tf.cumsum(x, axis=0)}


@graph(TABLE)
def centred(x):
    return {"y": x - tf.reduce_mean(x, axis=0)}


@graph(TABLE)
def batch_normalized(x):
    mean, variance = tf.nn.moments(x, [0])
    return {"y": tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3)}


@graph(TABLE)
def reversed_rows(x):
    return {"y": tf.reverse(x, [0])}


@graph(FLAT)
def sorted_rows(x):
    return {"y": tf.sort(x), "rank": tf.argsort(tf.argsort(x))}


@graph(FLAT)
def row_count(x):
    return {"share": x / tf.cast(tf.shape(x)[0], tf.float32)}


@graph(TABLE)
def pairwise(x):
    return {"distance": tf.norm(x[:, None] - x[None, :] + 1e-3, axis=-1)}


@graph(FLAT)
def any_large(x):
    return {"y": tf.cond(tf.reduce_max(x) > 4.5, lambda: x * 100, lambda: x)}


@graph(FLAT)
def neighbours(x):
    return {"y": x + tf.roll(x, 1, axis=0)}


@graph({"query": ("float32", [None, 3]), "item": ("float32", [None, 3])})
def cross_attention(query, item):
    return {"y": tf.nn.softmax(query @ tf.transpose(item)) @ item}


@graph(FLAT)
def position(x):
    return {"y": x * 1000 + tf.cast(tf.range(tf.shape(x)[0]), tf.float32)}


@graph(TEXT)
def padded_to_longest(text):
    return {"words": tf.strings.split(text).to_tensor("-")}


@graph(FLAT, make=lambda random, rows: {"x": random.integers(0, 4, rows).astype("float32")})
def unique(x):
    values, index = tf.unique(x)
    return {"values": values, "index": index}


# Rows for themselves.


@graph(TABLE)
def linear(x):
    return {"y": x @ tf.constant([[1.0], [2.0], [-3.0], [0.5]]) + 0.25}


@graph({"x": ("float32", [None, 1])}, variables=lambda: with_variable("half", 0.5))
def half_plus_two(module, x):
    return {"y": x * module.half + 2.0}


@graph(FLAT, rows=(1, 3, 20, 100))
def large_answer(x):
    return {"e": tf.expand_dims(x, 1) + tf.zeros([1, 1024])}


@graph({"x": ("float32", [None, None, 2])})
def series_mean(x):
    return {"mean": tf.reduce_mean(x, axis=1), "steps": tf.fill([tf.shape(x)[0]], tf.shape(x)[1])}


@graph({"x": ("float32", [None, None])})
def time_sum(x):
    return {"y": tf.cumsum(x, axis=1)}


@graph({"x": ("float32", [None, 8, 8, 1])})
def convolution(x):
    kernel = tf.reshape(tf.range(18, dtype=tf.float32) / 18 - 0.4, [3, 3, 1, 2])
    return {"y": tf.reduce_max(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME")), [1, 2])}


@graph({"x": ("float32", [None, 3, 3])})
def matrices(x):
    square = tf.matmul(x, x, transpose_b=True) + 5 * tf.eye(3)
    return {"inverse": tf.linalg.inv(square), "root": tf.linalg.cholesky(square)}


@graph({"x": ("float32", [None, 8])})
def spectrum(x):
    return {"power": tf.abs(tf.signal.rfft(x))}


@graph({"x": ("int64", [None])}, make=lambda random, rows: {"x": random.integers(1, 1000, rows)})
def collatz(x):
    step = lambda n: tf.where(n % 2 == 0, n // 2, 3 * n + 1)  # noqa: E731
    _, steps = tf.while_loop(
        lambda n, _: tf.reduce_any(n > 1),
        lambda n, s: (tf.where(n > 1, step(n), n), tf.where(n > 1, s + 1, s)),
        (x, tf.zeros_like(x)),
    )
    return {"steps": steps, "x": x}


@graph(TABLE)
def mapped(x):
    return {"y": tf.map_fn(lambda row: tf.reduce_sum(row) * row[0], x, fn_output_signature=tf.float32)}


@graph({"x": ("int64", [None, 2])})
def whole_numbers(x):
    return {"sum": x[:, 0] + x[:, 1], "larger": tf.reduce_max(x, axis=1)}


@graph({"x": ("uint8", [None, 4, 4])})
def pixels(x):
    return {"mean": tf.reduce_mean(tf.cast(x, tf.float32), [1, 2]), "inverted": 255 - x}


@graph({"x": ("bool", [None, 3]), "y": ("bool", [None, 3])})
def logic(x, y):
    return {"both": x & y, "count": tf.reduce_sum(tf.cast(x | y, tf.int32), axis=1)}


@graph({"x": ("float64", [None, 2])})
def doubles(x):
    return {"y": tf.exp(x) + 1e-9}


@graph({"x": ("float16", [None, 2])})
def halves(x):
    return {"y": x * 2}


@graph({"x": ("int8", [None]), "y": ("int16", [None]), "z": ("uint16", [None]), "w": ("uint32", [None])})
def small_numbers(x, y, z, w):
    return {"x": x + 1, "y": y + 1, "z": z + tf.constant(1, tf.uint16), "w": w + tf.constant(1, tf.uint32)}


@graph({"number": ("complex64", [None])})
def complex_numbers(number):
    return {"length": tf.abs(number), "square": number * number}


@graph({"price": ("float32", [None]), "count": ("int32", [None]), "name": ("string", [None])})
def several_inputs(price, count, name):
    total = price * tf.cast(count, tf.float32)
    return {"total": total, "label": tf.strings.join([name, tf.strings.as_string(count)], ":")}


@graph(TABLE)
def several_outputs(x):
    best = tf.argmax(x, axis=1)
    labels = tf.gather(tf.constant(["red", "green", "blue", "none"]), best)
    return {"scores": tf.nn.softmax(x), "best": best, "label": labels, "is_first": best == 0}


@graph(TEXT)
def upper_case(text):
    return {"upper": tf.strings.upper(text, "utf-8"), "length": tf.strings.length(text, "UTF8_CHAR")}


@graph({"data": ("string", [None])}, make=lambda random, rows: {"data": bytes_array(random, rows)})
def raw_bytes(data):
    return {"data_bytes": tf.strings.join([data, data]), "length": tf.strings.length(data)}


def bytes_array(random, rows):
    array = np.empty(rows, object)
    array[:] = [random.bytes(int(random.integers(1, 40))) for _ in range(rows)]
    return array


@graph(TEXT)
def word_counts(text):
    words = tf.strings.split(text)
    buckets = tf.strings.to_hash_bucket_fast(words, 10)
    counts = tf.reduce_sum(tf.one_hot(buckets.to_tensor(-1), 10), axis=1)
    return {"counts": counts, "words": words.row_lengths()}


@graph({"text": ("string", [None, None])})
def joined_texts(text):
    return {"joined": tf.strings.reduce_join(text, axis=1, separator="|")}


@graph({"png": ("string", [None])}, make=lambda random, rows: {"png": pictures(random, rows)}, rows=(1, 2, 5))
def picture(png):
    decode = lambda data: tf.image.resize(tf.io.decode_png(data, 3), [4, 4])  # noqa: E731
    small = tf.map_fn(decode, png, fn_output_signature=tf.TensorSpec([4, 4, 3], tf.float32))
    return {"mean": tf.reduce_mean(small, [1, 2])}


def pictures(random, rows):
    array = np.empty(rows, object)
    for row in range(rows):
        height, width = random.integers(3, 20, 2)
        array[row] = tf.io.encode_png(random.integers(0, 256, (height, width, 3)).astype("uint8")).numpy()
    return array


@graph(
    {"word": ("int64", [None, None])},
    make=lambda random, rows: {"word": random.integers(0, 50, (rows, 4))},
    variables=lambda: with_variable("table", np.random.default_rng(1).normal(size=(50, 8)).astype("float32")),
)
def embedding(module, word):
    return {"mean": tf.reduce_mean(tf.gather(module.table, word), axis=1)}


def with_variable(name, value):
    module = tf.Module()
    setattr(module, name, tf.Variable(value))
    return module


# Shapes of answers and requests of all sorts.


@graph(FLAT)
def positive(x):
    return {"kept": tf.boolean_mask(x, x > 0)}


@graph(FLAT)
def twice(x):
    return {"pairs": tf.repeat(x, 2)}


@graph(FLAT)
def total(x):
    return {"sum": tf.reduce_sum(x), "x": x}


@graph(TABLE)
def transposed(x):
    return {"columns": tf.transpose(x)}


@graph({"a": ("float32", []), "b": ("float32", [None])})
def scalar_input(a, b):
    return {"scaled": a * b}


@graph({"values": ("float64", None)}, make=lambda random, rows: {"values": random.random((rows, 2, 3)[: 1 + rows % 3])})
def any_rank(values):
    return {"doubled": values * 2, "rank": tf.rank(values)}


@graph({"row": ("float32", [1, 3])}, rows=(1, 1, 1))
def one_row(row):
    return {"sum": tf.reduce_sum(row, axis=1)}


@graph({"rows": ("float32", [4, 2])}, rows=(4, 4, 4))
def four_rows(rows):
    return {"y": tf.cumsum(rows)}


@graph({}, rows=(1,))
def nothing():
    return {"constant": tf.constant([1.0, 2.0])}


@graph({"text/raw-bytes.1": ("string", [None])})
def odd_names(text):
    return {"out/put-1": tf.strings.length(text)}


@graph({"x": ("float32", [None]), "scale": ("float32", [])},
       make=lambda random, rows: {"x": random.random(rows).astype("float32")})  # fmt: skip
def defaults(x, scale):
    return {"y": x * scale}


# What changes its answers.


@graph(FLAT, kind="random")
def random_noise(x):
    x = tf.round(x * 1000) / 8
    return {"y": x + tf.random.uniform(tf.shape(x))}


@graph(FLAT, kind="stateful", rows=(1, 1, 2, 1), variables=lambda: with_variable("calls", np.int64(0)))
def counter(module, x):
    return {"calls": tf.cast(module.calls.assign_add(1), tf.float32) + x}


@graph(
    {"x": ("float32", [None])}, kind="stateful", rows=(3, 1, 2), variables=lambda: with_variable("sum", np.float32(0))
)
def running_total(module, x):
    return {"sum": module.sum.assign_add(tf.reduce_sum(x))}


@graph(TEXT, kind="stateful", rows=(1, 1, 1), variables=lambda: with_table())
def memory(module, text):
    module.seen.insert(tf.constant(["all"]), module.seen.lookup(tf.constant(["all"])) + 1)
    return {"times": module.seen.lookup(tf.constant(["all"])), "text": text}


def with_table():
    module = tf.Module()
    module.seen = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, default_value=0)
    return module
