"""SavedModels that crash, hang or eat memory, each with a signature `x [None] -> y` that is `2 x` while it behaves."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

FLAT = [tf.TensorSpec([None], tf.float32, name="x")]
# The eater takes as much twice at once; a machine of 8 GB must stand it.
EATEN_FLOATS = 300_000_000
HOLD_STEPS = 100_000


def abort(x: tf.Tensor) -> tf.Tensor:
    """Ends the process."""
    # Nothing depends on the operation's outputs, of which it has none.
    with tf.control_dependencies([tf.raw_ops.Abort(error_msg="the model aborts", exit_without_error=False)]):
        return tf.identity(x)


def hang(x: tf.Tensor) -> tf.Tensor:
    """Never ends."""
    return tf.while_loop(lambda value: tf.reduce_sum(value * 0) < 1, lambda value: (value + 1,), (x,))[0]


def eat(x: tf.Tensor) -> tf.Tensor:
    """Takes 2.4 GB and holds them for minutes."""
    large = tf.fill([EATEN_FLOATS], tf.reduce_max(x))
    other = large + 1
    total, _ = tf.while_loop(
        lambda _, step: step < HOLD_STEPS,
        lambda total, step: (total + large[step] + other[step] + tf.reduce_max(large), step + 1),
        (tf.constant(0.0), tf.constant(0)),
    )
    return x + total


class Faulty(tf.Module):
    """Does what `fault` does where the largest `x` is above 0, or not above 0 and so at each load, with its zeros."""

    def __init__(self, fault: Callable[[tf.Tensor], tf.Tensor], at_load: bool) -> None:
        super().__init__()
        self.factor = tf.Variable(2.0)
        self.fault, self.at_load = fault, at_load

    @tf.function(input_signature=FLAT)
    def call(self, x):
        highest = tf.reduce_max(tf.concat([x, [-1.0]], 0))
        is_due = highest <= 0 if self.at_load else highest > 0
        return {"y": self.factor * tf.cond(is_due, lambda: self.fault(x), lambda: tf.identity(x))}


class Innocent(tf.Module):
    """Does what it should."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.Variable(2.0)

    @tf.function(input_signature=FLAT)
    def call(self, x):
        return {"y": self.factor * x}


class Words(tf.Module):
    """Finds words in a vocabulary, an asset, and scores them, by a variable."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        initializer = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(initializer, default_value=3)
        self.scores = tf.Variable([1.5, 2.5, 3.5, -1.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="x")])
    def call(self, x):
        return {"y": tf.gather(self.scores, self.table.lookup(x))}


class Python(tf.Module):
    """Calls a Python function, which does not travel with a SavedModel."""

    @tf.function(input_signature=FLAT)
    def call(self, x):
        y = tf.py_function(lambda value: value * 2, [x], tf.float32)
        y.set_shape([None])
        return {"y": y}


def save_faults(folder: Path) -> None:
    """Writes them to `folder/NAME/1`."""
    vocabulary = folder / "vocabulary.txt"
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("apple\npear\nplum")
    modules = {"innocent": Innocent(), "words": Words(vocabulary), "python_function": Python()}
    for fault in (abort, hang, eat):
        modules[f"{fault.__name__}_at_load"] = Faulty(fault, at_load=True)
        modules[f"{fault.__name__}_on_request"] = Faulty(fault, at_load=False)
    for name, module in modules.items():
        tf.saved_model.save(module, str(folder / name / "1"), signatures={"serving_default": module.call})
    # An asset lies where the model is served, and nowhere else.
    vocabulary.unlink()
