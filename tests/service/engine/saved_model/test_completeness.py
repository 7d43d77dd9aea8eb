"""What cannot run is refused at load, with a sentence that says what is missing. The graphs are made by hand."""

import os

import numpy as np
import pytest

from service.engine.saved_model.completeness import Incomplete, restores_variables
from service.engine.saved_model.definitions import read_definitions
from service.engine.saved_model.graph import Graph
from service.engine.saved_model.loader import SavedModelLoader
from service.engine.tensorflow.library import FAILED_PRECONDITION, TensorFlowError, find_library
from service.engine.tensorflow.protos import load_protos
from service.errors import AnswerTooLarge, InvalidSettings
from tests.service.engine.saved_model.test_loaded_model import (
    FLOAT,
    STRING,
    TEXT,
    X,
    add_node,
    add_signature,
    write_model,
)

STATE = "__saved_model_init_op"


def change(folder, edit):
    """Edits the only graph of a SavedModel."""
    file = folder / "saved_model.pb"
    definition = load_protos("tensorflow.core.protobuf.saved_model_pb2").SavedModel.FromString(file.read_bytes())
    edit(definition.meta_graphs[0])
    file.write_bytes(definition.SerializeToString())
    return folder


def load(folder, **options):
    return SavedModelLoader(threads=1, **options)(folder, "m", 1)


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "1")


@pytest.mark.parametrize(
    ("operation", "hint"),
    [
        ("PyFunc", "Python functions do not travel with a SavedModel"),
        ("EagerPyFunc", "Python functions do not travel with a SavedModel"),
        ("CaseFoldUTF8", "Libraries of custom operations are named by KILN_OP_LIBRARIES"),
        ("CudnnRNN", "Libraries of custom operations are named by KILN_OP_LIBRARIES"),
    ],
)
def test_operations_that_cannot_run_here_are_named(folder, operation, hint):
    def edit(graph):
        add_node(graph, "odd", operation, "x")
        add_signature(graph, "odd", ("x", "x:0", FLOAT, [-1]), ("y", "odd:0", FLOAT, [-1]))

    with pytest.raises(ValueError, match=f"operations that cannot run here: {operation}. {hint}"):
        load(change(folder, edit))


def test_operations_that_no_signature_needs_do_no_harm(folder):
    def edit(graph):
        function = graph.graph_def.library.function.add()
        function.signature.name = "never_called"
        function.node_def.add(name="odd", op="PyFunc")

    load(change(folder, edit)).close()


def test_operations_within_functions_count(folder):
    def edit(graph):
        function = graph.graph_def.library.function.add()
        function.signature.name = "called"
        function.node_def.add(name="odd", op="PyFunc")
        node = graph.graph_def.node.add(name="call", op="PartitionedCall", input=["x"])
        node.attr["f"].func.name = "called"
        add_signature(graph, "odd", ("x", "x:0", FLOAT, [-1]), ("y", "call:0", FLOAT, [-1]))

    with pytest.raises(ValueError, match=r"cannot run here: PyFunc\."):
        load(change(folder, edit))


def test_a_version_without_a_signature_to_serve_says_what_each_lacks(folder):
    def edit(graph):
        graph.signature_def["numbers"].inputs["x"].dtype = 11  # DT_QINT8
        graph.signature_def["texts"].outputs.clear()
        sparse = graph.signature_def["sparse"]
        sparse.inputs["s"].coo_sparse.values_tensor_name = "x:0"
        sparse.outputs["y"].name = "y:0"
        graph.signature_def[STATE].outputs["y"].name = "y:0"

    with pytest.raises(ValueError, match="has no signature that can be served") as caught:
        load(change(folder, edit))
    assert "signature 'numbers' has the input 'x' of type DT_QINT8" in str(caught.value)
    assert "signature 'sparse' has the input 's', which is not one dense tensor" in str(caught.value)
    assert "signature 'texts' has no outputs" in str(caught.value)
    assert STATE not in str(caught.value)


def test_a_version_without_any_signature_is_refused(folder):
    with pytest.raises(ValueError, match="it has none at all"):
        load(change(folder, lambda graph: graph.signature_def.clear()))


def test_a_saved_model_in_text_form_is_read(folder):
    text = load_protos("google.protobuf.text_format")
    file = folder / "saved_model.pb"
    definition = load_protos("tensorflow.core.protobuf.saved_model_pb2").SavedModel.FromString(file.read_bytes())
    (folder / "saved_model.pbtxt").write_text(text.MessageToString(definition))
    file.unlink()
    model = load(folder)
    assert model.call("numbers", {"x": X})["y"].tolist() == [[2, 4], [6, 8]]
    model.close()
    (folder / "saved_model.pbtxt").write_text("meta_graphs { cut")
    with pytest.raises(ValueError, match=r"saved_model\.pbtxt is not a SavedModel, or was cut short"):
        load(folder)


def test_a_pipe_is_not_waited_for(folder):
    (folder / "saved_model.pb").unlink()
    os.mkfifo(folder / "saved_model.pb")
    with pytest.raises(ValueError, match="is not a regular file"):
        load(folder)


def test_an_asset_that_the_graph_names_must_be_there(folder):
    def edit(graph):
        graph.asset_file_def.add(filename="words.txt").tensor_info.name = "text:0"

    change(folder, edit)
    with pytest.raises(Incomplete, match=r"assets/words\.txt is missing, .* It is tried again when files change"):
        load(folder)
    (folder / "assets").mkdir()
    os.mkfifo(folder / "assets" / "words.txt")
    with pytest.raises(Incomplete, match="is not a regular file"):
        load(folder)


def restore(graph, name):
    """A graph that restores a variable, as TensorFlow 1 writes it."""
    for node, value in (("prefix", b""), ("names", name), ("slices", b"")):
        tensor = graph.graph_def.node.add(name=node, op="Const").attr["value"].tensor
        tensor.dtype = STRING
        tensor.string_val.append(value)
    graph.graph_def.node.add(name="restore", op="RestoreV2", input=["prefix", "names", "slices"])
    graph.graph_def.node.add(name="restore_all", op="NoOp", input=["^restore"])
    graph.saver_def.restore_op_name = "restore_all"


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        ((), "variables.index"),
        (("variables.index",), "variables.data-00000-of-00001"),
        (("variables.index", "variables.data-00001-of-00002"), "variables.data-00000-of-00002"),
        (("variables.data-00000-of-00001",), "variables.index"),
    ],
)
def test_a_version_that_is_being_copied_is_not_loaded(folder, files, missing):
    change(folder, lambda graph: restore(graph, b"weights"))
    (folder / "variables").mkdir()
    for name in files:
        (folder / "variables" / name).touch()
    with pytest.raises(Incomplete, match=f"variables/{missing} is missing"):
        load(folder)


def test_a_graph_without_variables_needs_no_files_of_them(folder):
    for name, expected in ((b"_CHECKPOINTABLE_OBJECT_GRAPH", False), (b"weights", True)):
        path = write_model(folder.parent / name.decode())
        [definition] = read_definitions(change(path, lambda graph, name=name: restore(graph, name)))
        assert restores_variables(definition, Graph(definition)) == expected


def test_a_default_is_used_where_a_request_has_no_such_input(folder):
    def edit(graph):
        add_node(graph, "scale", "Placeholder", dtype=FLOAT)
        add_node(graph, "scaled", "Mul", "x", "scale", T=FLOAT)
        add_signature(graph, "scaled", ("x", "x:0", FLOAT, [-1, 2]), ("y", "scaled:0", FLOAT, [-1, 2]))
        signature = graph.signature_def["scaled"]
        signature.inputs["scale"].name, signature.inputs["scale"].dtype = "scale:0", FLOAT
        signature.inputs["scale"].tensor_shape.SetInParent()
        signature.defaults["scale"].dtype = FLOAT
        signature.defaults["scale"].tensor_shape.SetInParent()
        signature.defaults["scale"].float_val.append(3)

    model = load(change(folder, edit))
    assert model.signatures["scaled"].required == {"x"}
    assert model.call("scaled", {"x": X})["y"].tolist() == [[3, 6], [9, 12]]
    assert model.run("scaled", [{"x": X}, {"x": X}])["y"].shape == (4, 2)
    assert model.call("scaled", {"x": X, "scale": np.array(2, np.float32)})["y"].tolist() == [[2, 4], [6, 8]]
    model.close()


@pytest.mark.parametrize(("signature", "inputs", "size"), [("numbers", {"x": X}, 16), ("texts", {"text": TEXT}, 81)])
def test_answers_that_are_too_large_are_refused(folder, signature, inputs, size):
    model = load(folder, max_answer_bytes=size)
    assert model.call(signature, inputs)
    model.close()
    model = load(folder, max_answer_bytes=size - 1)
    with pytest.raises(AnswerTooLarge, match=f"The answer has {size} bytes, and at most {size - 1} are given"):
        model.call(signature, inputs)
    model.close()


def test_a_graph_that_fails_other_than_by_values_is_refused_at_load(folder):
    """A variable that nothing initializes."""

    def edit(graph):
        node = graph.graph_def.node.add(name="handle", op="VarHandleOp")
        node.attr["dtype"].type = FLOAT
        node.attr["shape"].shape.SetInParent()
        graph.graph_def.node.add(name="read", op="ReadVariableOp", input=["handle"]).attr["dtype"].type = FLOAT
        add_node(graph, "z", "Mul", "x", "read", T=FLOAT)
        add_signature(graph, "serving_default", ("x", "x:0", FLOAT, [-1]), ("z", "z:0", FLOAT, [-1]))

    with pytest.raises(TensorFlowError) as caught:
        load(change(folder, edit))
    assert caught.value.code == FAILED_PRECONDITION


def test_a_library_of_operations_that_cannot_be_loaded_is_a_wrong_setting(tmp_path):
    SavedModelLoader(threads=1, op_libraries=[find_library()])
    no_library = tmp_path / "operations.so"
    no_library.write_text("nothing")
    with pytest.raises(InvalidSettings, match=f"KILN_OP_LIBRARIES names {no_library}, which TensorFlow cannot load: "):
        SavedModelLoader(threads=1, op_libraries=[no_library])
