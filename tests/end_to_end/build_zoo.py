"""`python -m tests.end_to_end.build_zoo FOLDER` writes the zoo and TensorFlow's answers; see `tests.end_to_end.zoo`."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.end_to_end import zoo_keras
from tests.end_to_end.zoo import ANSWERS, Animal, Arrays, Case
from tests.end_to_end.zoo_faults import save_faults
from tests.end_to_end.zoo_graphs import GRAPHS, Graph, make_inputs
from tests.end_to_end.zoo_pages import save_pages
from tests.service import build_saved_models as older

DEFAULTS = {"defaults": {"scale": 3.0}}
# TensorFlow Serving's own example has this folder.
VERSIONS = {"half_plus_two": "00000123"}


def save_graph(name: str, graph: Graph, folder: Path) -> None:
    """Saves a function as the signature `serving_default` of a module."""
    module = graph.variables() if graph.variables else tf.Module()
    given = [module] if graph.variables else []
    specs = {key: tf.TensorSpec(shape, dtype, name=key) for key, (dtype, shape) in graph.specs.items()}
    if name in DEFAULTS:
        module.call = with_default(graph.function)
    else:
        module.call = tf.function(lambda *values: graph.function(*given, *values), input_signature=list(specs.values()))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})


def with_default(function: Callable) -> Callable:
    """A function of `x` and of `scale`, which has a default."""

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="scale")]
    )
    def call(x, scale=tf.constant(3.0)):  # noqa: B008
        return function(x, scale)

    return call


def ask(folder: Path, requests: list[tuple[str, Arrays]]) -> list[Case]:
    """What TensorFlow answers to requests, one after another, to the model that it loads from a folder."""
    loaded = tf.saved_model.load(str(folder), tags="serve")
    defaults = {key: tf.constant(value) for key, value in DEFAULTS.get(folder.parent.name, {}).items()}
    cases = []
    for signature, inputs in requests:
        tensors = {key: tf.constant(value) for key, value in inputs.items()}
        outputs = loaded.signatures[signature](**(defaults | tensors))
        answers = {key: storable(value.numpy()) for key, value in outputs.items()}
        cases.append(Case(signature, {key: storable(value) for key, value in inputs.items()}, answers))
    return cases


def storable(array: np.ndarray) -> np.ndarray:
    """An array that numpy alone can read."""
    array = np.asarray(array)
    return array.view("V2") if array.dtype.name == "bfloat16" else array


def build_graphs(folder: Path) -> list[Animal]:
    """The models of `zoo_graphs`."""
    animals = []
    for number, (name, graph) in enumerate(GRAPHS.items()):
        path = folder / name / VERSIONS.get(name, "1")
        save_graph(name, graph, path)
        random = np.random.default_rng(number)
        make = graph.make or (lambda random, rows, specs=graph.specs: make_inputs(specs, random, rows))
        requests = [("serving_default", make(random, rows)) for rows in graph.rows]
        if graph.kind == "random":
            cases = [Case("serving_default", inputs, {"y": np.round(inputs["x"] * 1000) / 8}) for _, inputs in requests]
        else:
            cases = ask(path, requests)
        animals.append(Animal(name, graph.kind, cases))
    return animals


def build_keras(folder: Path) -> list[Animal]:
    """The models of `zoo_keras`."""
    animals = []
    for number, (name, (_, make, kind, rows)) in enumerate(zoo_keras.KERAS.items()):
        path = folder / name / "1"
        zoo_keras.save(name, str(path))
        random = np.random.default_rng(1000 + number)
        inputs = list(tf.saved_model.load(str(path)).signatures["serving_default"].structured_input_signature[1])
        requests = [("serving_default", rename(make(random, count), inputs)) for count in rows]
        animals.append(Animal(name, kind, ask(path, requests)))
    return animals


def rename(made: Arrays, names: list[str]) -> Arrays:
    """The inputs under the names that the export gave them, where there is one only."""
    return dict(zip(names, made.values(), strict=True)) if len(made) == 1 else made


def build_older(folder: Path) -> list[Animal]:
    """TensorFlow 1 and others, whose builders tests of the engine have already."""
    animals = []
    for name, save in older.BUILDERS.items():
        cases = save(folder / name / "1")
        kind = "stateful" if name == "tables" else "pure"
        if name == "examples":
            cases = [case for case in cases if case[0] == "parsed"]
        animals.append(Animal(name, kind, ask(folder / name / "1", cases)))
    for path in folder.glob("*/vocabulary.txt"):
        path.unlink()
    return animals


def main(folder: Path) -> None:
    """Writes everything, the answers last."""
    animals = [*build_graphs(folder / "zoo"), *build_keras(folder / "zoo")]
    save_faults(folder / "faults")
    save_pages(folder / "pages")
    # The last, as it turns to TensorFlow 1's control flow.
    animals += build_older(folder / "zoo")
    (folder / ANSWERS).write_bytes(pickle.dumps(animals))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
