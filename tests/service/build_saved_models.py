"""Builds SavedModels of many kinds, with inputs and what TensorFlow's own session answers to them.

`python -m tests.service.build_saved_models FOLDER` writes `FOLDER/<model>/1/` and `FOLDER/<model>.npz`; its arrays are
named `<case>|<signature>|in|<name>` and `<case>|<signature>|out|<name>`. Cases are to be run in order, as some models
remember what they were asked. bfloat16 is stored as its two bytes, strings as `bytes` objects.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

Arrays = dict[str, np.ndarray]
Cases = list[tuple[str, Arrays]]

v1 = tf.compat.v1
NUMBERS = (
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "half",
    "bfloat16",
    "float32",
    "double",
)
FRUITS = ("apple", "pear", "plum")


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, object)


def write_words(folder: Path) -> str:
    path = folder.parent / "vocabulary.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(FRUITS))
    return str(path)


def save_tensorflow_1(folder: Path) -> Cases:
    """Variables of both kinds, a table read from an asset by a legacy init op, a loop of the old kind, two graphs."""
    v1.disable_control_flow_v2()
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        words = v1.placeholder(tf.string, [None], name="words")
        weights = v1.get_variable("weights", initializer=[[1.0], [10.0]], use_resource=False)
        offset = v1.get_variable("offset", initializer=[0.5], use_resource=True)
        asset = tf.constant(write_words(folder))
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
                                          tf.lookup.TextFileIndex.LINE_NUMBER), 2)  # fmt: skip
        y = x @ weights + offset
        _, powers = v1.while_loop(lambda i, _: i < 5, lambda i, a: (i + 1, a * 2.0), (tf.constant(0), y))
        sparse = v1.sparse_placeholder(tf.float32, [None, 4], name="sparse")
        total = v1.sparse_reduce_sum(sparse, axis=1)
        total.set_shape([None])
        make = v1.saved_model.signature_def_utils.predict_signature_def
        signatures = {
            "serving_default": make({"x": x}, {"y": y, "y_again": y}),
            "loop": make({"x": x}, {"powers": powers}),
            "words": make({"words": words, "x": x}, {"id": table.lookup(words), "y": y}),
            # No protocol carries a sparse tensor; the other signatures are served all the same.
            "sparse": v1.saved_model.signature_def_utils.build_signature_def(
                {"sparse": v1.saved_model.build_tensor_info(sparse)},
                {"total": v1.saved_model.build_tensor_info(total)},
            ),
        }
        initialize_tables = v1.tables_initializer()
        session.run([v1.global_variables_initializer(), initialize_tables])
        v1.add_to_collection(v1.saved_model.constants.LEGACY_INIT_OP_KEY, initialize_tables)
        builder = v1.saved_model.Builder(str(folder))
        assets = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)
        builder.add_meta_graph_and_variables(session, ["train"], {})
        builder.add_meta_graph(["serve"], signatures, assets)
        builder.save()
    rows = np.array([[1, 2], [3, 4], [0, -1]], np.float32)
    return [
        ("serving_default", {"x": rows}),
        ("loop", {"x": rows}),
        ("words", {"words": strings(b"plum", b"apple", b"no fruit"), "x": rows}),
    ]


def save_examples(folder: Path) -> Cases:
    """Classify, regress and predict signatures on serialized `tf.Example`s."""
    with v1.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="examples")
        features = v1.io.parse_example(
            serialized,
            {
                "size": v1.io.FixedLenFeature([2], tf.float32),
                "count": v1.io.FixedLenFeature([], tf.int64, default_value=7),
                "word": v1.io.FixedLenFeature([], tf.string, default_value=b"none"),
            },
        )
        weights = v1.get_variable("weights", initializer=[[1.0, -1.0, 0.5], [0.5, 0.25, -2.0]])
        scores = tf.nn.softmax(features["size"] @ weights)
        classes = tf.tile(tf.constant([FRUITS]), [tf.shape(scores)[0], 1])
        value = tf.reduce_sum(features["size"], axis=1) * tf.cast(features["count"], tf.float32)
        make = v1.saved_model.signature_def_utils
        signatures = {
            "serving_default": make.classification_signature_def(serialized, classes, scores),
            "classes_only": make.classification_signature_def(serialized, classes, None),
            "scores_only": make.classification_signature_def(serialized, None, scores),
            "regress": make.regression_signature_def(serialized, value),
            "parsed": make.predict_signature_def(
                {"examples": serialized}, {"word": features["word"], "count": features["count"]}
            ),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    examples = strings(example([1.0, 2.0]), example([0.25, -1.0], count=3, word=b"\xff\x00"))
    return [(name, {signature_input(name): examples}) for name in signatures]


def signature_input(name: str) -> str:
    return "examples" if name == "parsed" else "inputs"


def example(size: list[float], count: int | None = None, word: bytes | None = None) -> bytes:
    train = tf.train
    features = {"size": train.Feature(float_list=train.FloatList(value=size))}
    if count is not None:
        features["count"] = train.Feature(int64_list=train.Int64List(value=[count]))
    if word is not None:
        features["word"] = train.Feature(bytes_list=train.BytesList(value=[word]))
    return train.Example(features=train.Features(feature=features)).SerializeToString()


class Types(tf.Module):
    """Every type that a protocol carries, in and out of one signature, and some that none does."""

    @tf.function(
        input_signature=[{kind: tf.TensorSpec([None, 2], kind, name=kind) for kind in (*NUMBERS, "bool", "string")}]
    )
    def every(self, values):
        results = {f"{kind}_out": values[kind] + tf.constant(1, tf.as_dtype(kind)) for kind in NUMBERS}
        return results | {
            "bool_out": tf.logical_not(values["bool"]),
            "string_out": tf.strings.join([values["string"], values["string"]]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.complex64, name="number")])
    def complex(self, number):
        return {"length": tf.abs(number)}


def save_types(folder: Path) -> Cases:
    module = Types()
    every = module.every.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": every, "complex": module.complex})
    limits = {}
    for kind in NUMBERS:
        dtype = tf.as_dtype(kind)
        low, high = (dtype.min, dtype.max - 1) if dtype.is_integer else (-1.5, 1024)
        limits[kind] = np.array([[low, high], [0, 1]], dtype.as_numpy_dtype)
    limits["bool"] = np.array([[True, False], [False, True]])
    limits["string"] = np.array([[b"", b"\x00\xff"], ["é".encode(), b"x" * 100]], object)
    none = {name: array[:0] for name, array in limits.items()}
    one = {name: array[1:] for name, array in limits.items()}
    return [("serving_default", limits), ("serving_default", one), ("serving_default", none)]


class Shapes(tf.Module):
    """Ranks and batch axes of all sorts."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.double, name="values")])
    def any_rank(self, values):
        return {"doubled": values * 2, "rank": tf.rank(values)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="a"), tf.TensorSpec([None], tf.float32, name="b")])
    def scalars(self, a, b):
        return {"total": a + tf.reduce_sum(b), "scaled": a * b}

    @tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="row")])
    def one_row(self, row):
        return {"sum": tf.reduce_sum(row, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, 2], tf.float32, name="series")])
    def series(self, series):
        return {"mean": tf.reduce_mean(series, axis=1), "steps": tf.fill([tf.shape(series)[0]], tf.shape(series)[1])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def twice(self, x):
        return {"pairs": tf.repeat(x, 2)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def positive(self, x):
        return {"kept": tf.boolean_mask(x, x > 0)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def summary(self, x):
        return {"sum": tf.reduce_sum(x, keepdims=True), "x": x}

    @tf.function(input_signature=[])
    def nothing(self):
        return {"constant": tf.constant([1.0, 2.0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text/raw-bytes.1")])
    def odd_names(self, text):
        lengths = tf.map_fn(tf.strings.length, text, fn_output_signature=tf.int32)
        return {"text_bytes": text, "length": lengths}


def save_shapes(folder: Path) -> Cases:
    module = Shapes()
    names = ("any_rank", "scalars", "one_row", "series", "twice", "positive", "summary", "nothing", "odd_names")
    tf.saved_model.save(module, str(folder), signatures={name: getattr(module, name) for name in names})
    x = np.array([1, -2, 3], np.float32)
    numbers = np.arange(12, dtype=np.float32)
    return [
        ("any_rank", {"values": np.array(1.5)}),
        ("any_rank", {"values": np.array([[[1.0, 2.0]]])}),
        ("any_rank", {"values": np.empty((0, 3))}),
        ("scalars", {"a": np.array(2, np.float32), "b": x}),
        ("one_row", {"row": x[None]}),
        ("series", {"series": numbers.reshape(2, 3, 2)}),
        ("series", {"series": numbers.reshape(1, 6, 2)}),
        ("twice", {"x": x}),
        ("positive", {"x": x}),
        ("summary", {"x": x}),
        ("nothing", {}),
        ("odd_names", {"text/raw-bytes.1": strings(b"", b"\xff\xfe", b"word")}),
    ]


class Tables(tf.Module):
    """A table read from an asset file, one that counts what it was asked, and a variable that does."""

    def __init__(self, words: str) -> None:
        super().__init__()
        whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        self.fixed = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(words, tf.string, whole, tf.int64, number), default_value=-1
        )
        self.seen = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, default_value=0)
        self.calls = tf.Variable(0, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def find(self, words):
        return {"id": self.fixed.lookup(words)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def count(self, words):
        self.seen.insert(words, self.seen.lookup(words) + 1)
        return {"times": self.seen.lookup(words), "calls": self.calls.assign_add(1)}


def save_tables(folder: Path) -> Cases:
    module = Tables(write_words(folder))
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.find, "count": module.count})
    words = strings(b"pear", b"stone")
    return [
        ("serving_default", {"words": words}),
        ("count", {"words": words}),
        ("count", {"words": words[:1]}),
        ("count", {"words": words}),
    ]


def compute(folder: Path, cases: Cases) -> Arrays:
    """Runs the cases in a session of TensorFlow's, as TensorFlow Serving would."""
    arrays = {}
    with v1.Graph().as_default(), v1.Session() as session:
        signatures = v1.saved_model.loader.load(session, ["serve"], str(folder)).signature_def
        for number, (name, inputs) in enumerate(cases):
            signature = signatures[name]
            fetches = {key: info.name for key, info in signature.outputs.items()}
            feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
            outputs = session.run(fetches, feeds)
            for kind, group in (("in", inputs), ("out", outputs)):
                arrays |= {f"{number:02}|{name}|{kind}|{key}": storable(array) for key, array in group.items()}
    return arrays


def storable(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array.view("V2") if array.dtype.name == "bfloat16" else array


BUILDERS: dict[str, Callable[[Path], Cases]] = {
    "tensorflow_1": save_tensorflow_1,
    "examples": save_examples,
    "types": save_types,
    "shapes": save_shapes,
    "tables": save_tables,
}


def main(folder: Path) -> None:
    for name, save in BUILDERS.items():
        cases = save(folder / name / "1")
        np.savez(folder / f"{name}.npz", **compute(folder / name / "1", cases))
    # What an asset was made of is not there where the model is served.
    for path in folder.glob("*/vocabulary.txt"):
        path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
