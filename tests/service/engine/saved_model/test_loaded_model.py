"""TensorFlow's C API keeps nothing of a call, and is not given what it would misread. The graphs are made by hand."""

import gc
from pathlib import Path

import numpy as np
import pytest

from service.engine.model import InvalidInput
from service.engine.saved_model.loader import SavedModelLoader
from service.engine.tensorflow import tensors
from service.engine.tensorflow.library import load_library
from service.engine.tensorflow.protos import load_protos

FLOAT, STRING = 1, 7


def write_model(folder, *, answer_type=FLOAT, answer_tensor="y:0", refuse=False):
    """A SavedModel that doubles numbers and writes text in capitals, or says that it does other than it does."""
    definition = load_protos("tensorflow.core.protobuf.saved_model_pb2").SavedModel(saved_model_schema_version=1)
    graph = definition.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    graph.graph_def.versions.producer = 1882
    add_node(graph, "x", "Placeholder", dtype=FLOAT)
    add_node(graph, "text", "Placeholder", dtype=STRING)
    add_node(graph, "y", "AddV2", "x", "x", T=FLOAT)
    add_node(graph, "upper", "StringUpper", "text")
    if refuse:
        add_node(graph, "number", "StringToNumber", "text", out_type=FLOAT)
    add_signature(graph, "numbers", ("x", "x:0", FLOAT, [-1, 2]), ("y", answer_tensor, answer_type, [-1, 2]))
    add_signature(graph, "texts", ("text", "text:0", STRING, [-1]), ("upper", "upper:0", STRING, [-1]))
    if refuse:
        add_signature(graph, "parse", ("text", "text:0", STRING, [-1]), ("number", "number:0", FLOAT, [-1]))
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(definition.SerializeToString())
    return folder


def add_node(graph, name, operation, *inputs, **types):
    node = graph.graph_def.node.add(name=name, op=operation, input=inputs)
    for key, number in types.items():
        node.attr[key].type = number
    if operation == "Placeholder":
        node.attr["shape"].shape.unknown_rank = True
    if operation == "StringUpper":
        node.attr["encoding"].s = b""


def add_signature(graph, name, *sides):
    signature = graph.signature_def[name]
    signature.method_name = "tensorflow/serving/predict"
    for tensors_of, (key, tensor, number, shape) in zip((signature.inputs, signature.outputs), sides, strict=True):
        tensors_of[key].name, tensors_of[key].dtype = tensor, number
        for size in shape:
            tensors_of[key].tensor_shape.dim.add(size=size)


@pytest.fixture
def load(tmp_path):
    loaded = []

    def load(**options):
        model = SavedModelLoader(threads=1)(write_model(tmp_path / str(len(loaded)), **options), "m", 1)
        loaded.append(model)
        return model

    yield load
    for model in loaded:
        model.close()


@pytest.fixture
def model(load):
    return load()


X = np.array([[1, 2], [3, 4]], np.float32)
TEXT = np.array([b"a", b"\0\xff" * 40, b""], object)


def test_numbers_and_strings(model):
    assert model.call("numbers", {"x": X})["y"].tolist() == [[2, 4], [6, 8]]
    assert model.call("texts", {"text": TEXT})["upper"].tolist() == [b"A", b"\0\xff" * 40, b""]


def test_parts_follow_each_other(model):
    parts = [{"text": TEXT[:2]}, {"text": TEXT[2:]}, {"text": np.array([b"z"], object)}]
    assert model.run("texts", parts)["upper"].tolist() == [b"A", b"\0\xff" * 40, b"", b"Z"]
    assert model.run("numbers", [{"x": X}, {"x": X[:1] + 1}])["y"].tolist() == [[2, 4], [6, 8], [4, 6]]


@pytest.mark.parametrize(("signature", "inputs"), [("numbers", {"x": X.copy()}), ("texts", {"text": TEXT.copy()})])
def test_answers_share_no_memory_with_requests_and_cannot_be_changed(model, signature, inputs):
    [(name, array)] = inputs.items()
    [answered] = model.call(signature, inputs).values()
    kept = answered.tolist()
    array[:] = array[::-1].copy()
    assert answered.tolist() == kept
    assert not answered.flags.writeable
    assert name in model.signatures[signature].inputs


def test_empty_arrays(model):
    assert model.call("numbers", {"x": X[:0]})["y"].shape == (0, 2)
    assert model.call("texts", {"text": TEXT[:0]})["upper"].shape == (0,)


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("numbers", {"x": X.astype(np.float64)}), ("numbers", {"x": X.astype(np.uint8)}),
        ("numbers", {"x": TEXT}), ("texts", {"text": X}), ("texts", {"text": np.array(["a"])}),
    ],
)  # fmt: skip
def test_arrays_of_another_type_do_not_reach_tensorflow(model, signature, inputs):
    with pytest.raises(InvalidInput, match=r"^Input '\w+' takes (float|string), but came as "):
        model.call(signature, inputs)
    assert not tensors._lent


def test_one_wrong_part_of_several_leaves_nothing_behind(model):
    with pytest.raises(InvalidInput):
        model.run("texts", [{"text": TEXT}, {"text": X}])
    with pytest.raises(KeyError):
        model.run("texts", [{"text": TEXT}, {}])
    assert not tensors._lent


def test_memory_of_strings_is_given_back_whatever_becomes_of_the_call(load):
    model = load(refuse=True)
    for _ in range(3):
        model.call("texts", {"text": TEXT})
        assert model.call("parse", {"text": np.array([b"1.5"], object)})["number"].tolist() == [1.5]
        with pytest.raises(InvalidInput):
            model.call("parse", {"text": TEXT})
    assert not tensors._lent


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"answer_type": STRING}, "says that the tensor 'y:0' is DT_STRING, but in its graph it is of type 1"),
        ({"answer_tensor": "y:1"}, "names the tensor 'y:1', which its graph does not have"),
        ({"answer_tensor": "z:0"}, "names the tensor 'z:0', which its graph does not have"),
    ],
)
def test_a_signature_that_its_graph_does_not_keep_is_not_loaded(load, options, sentence):
    """Reading numbers as strings would end the process."""
    with pytest.raises(ValueError, match=sentence):
        load(**options)


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory from Linux's /proc")
def test_calls_leave_no_memory_behind(load):
    model = load(refuse=True)
    assert load_library()
    bad, text = np.array([b"no number" * 20] * 20, object), np.array([b"x" * 200] * 20, object)

    def call(times):
        for _ in range(times):
            model.run("numbers", [{"x": X}, {"x": X}])
            model.run("texts", [{"text": text}, {"text": text}])
            with pytest.raises(InvalidInput):
                model.run("parse", [{"text": bad}])
        gc.collect()
        return resident_bytes()

    before = call(300)
    # What is lost is 4 KB or more in each round.
    assert call(700) - before < 2 * 2**20
