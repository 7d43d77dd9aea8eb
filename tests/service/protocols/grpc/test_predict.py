"""TensorFlow Serving's gRPC Predict and GetModelMetadata, called by the official stubs."""

import numpy as np
import pytest

from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import decode_tensor, encode_tensor
from service.errors import InvalidPayload
from service.protocols.grpc.inputs import decode_inputs
from tests.service.grpc_fleet import SIGNATURES, make, refusal, serving

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_version):
    folder = tmp_path_factory.mktemp("models")
    make_version(folder / "echo", 1)
    make_version(folder / "echo", 2)
    make_version(folder / "failed", 1, broken=True)
    return folder


@pytest.fixture(scope="module")
def served(folder):
    with serving(folder, max_body_bytes=MEBIBYTE) as parts:
        parts[1].set_label("echo", "stable", 1)
        yield parts


@pytest.fixture(scope="module")
def client(served):
    return served[2]


def predict_request(inputs, model="echo", signature="", **spec):
    request = make("predict.PredictRequest")
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    for name, array in inputs.items():
        encode_tensor(array, request.inputs[name])
    return request


def outputs_of(response):
    return {name: decode_tensor(proto, MEBIBYTE) for name, proto in response.outputs.items()}


X = {"x": np.array([[1, 2, 3]], np.float32)}


def test_the_newest_version_answers_and_says_so(client):
    response = client.prediction.Predict(predict_request(X), 10.0)
    assert outputs_of(response)["y"].tolist() == [[2, 4, 6]]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("echo", 2, "serving_default")
    assert response.outputs["y"].tensor_content


@pytest.mark.parametrize("spec", [{"version": 1}, {"label": "stable"}])
def test_a_version_is_chosen_by_number_or_label(client, spec):
    response = client.prediction.Predict(predict_request(X, **spec))
    assert outputs_of(response)["y"].tolist() == [[1, 2, 3]]
    assert response.model_spec.version.value == 1


def test_a_call_as_in_the_published_examples(folder):
    """mnist_client.py fills a request and waits for a future; resnet_client_grpc.py reads `float_val`."""
    tensors = load_protos("tensorflow.core.framework.tensor_pb2")
    with serving(folder, grpc_typed_fields=True) as (_, _, client):
        request = make("predict.PredictRequest")
        request.model_spec.name = "echo"
        request.model_spec.signature_name = "serving_default"
        tensor = tensors.TensorProto(dtype=1, float_val=[1, 2, 3])
        tensor.tensor_shape.dim.add(size=1)
        tensor.tensor_shape.dim.add(size=3)
        request.inputs["x"].CopyFrom(tensor)
        future = client.prediction.Predict.future(request, 5.0)
        assert future.exception() is None
        assert np.argmax(future.result().outputs["y"].float_val) == 2


def test_strings_and_types_without_json_pass(client):
    texts = np.array([b"a", "ü".encode(), b"\xff"], object)
    response = client.prediction.Predict(predict_request({"text": texts}, signature="texts"))
    assert outputs_of(response)["text"].tolist() == texts.tolist()
    halves = np.array([[b"\x80\x3f"]], "V2")
    response = client.prediction.Predict(predict_request({"h": halves}, signature="halves"))
    assert outputs_of(response)["h"].tobytes() == halves.tobytes()


def test_a_filter_chooses_the_outputs(client):
    inputs = {"a": np.ones((2, 2), np.float32), "b": np.array([5, 6])}
    request = predict_request(inputs, signature="two")
    assert set(client.prediction.Predict(request).outputs) == {"sum", "b"}
    request.output_filter.append("b")
    assert {name: array.tolist() for name, array in outputs_of(client.prediction.Predict(request)).items()} == {
        "b": [5, 6]
    }
    request.output_filter.append("b")
    assert refusal(client.prediction.Predict, request) == ("INVALID_ARGUMENT", "duplicate output tensor alias: b")
    request.output_filter[:] = ["c"]
    assert refusal(client.prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: c Outputs expected to be in the set {b,sum}.",
    )


@pytest.mark.parametrize(
    ("request_of", "code", "sentence"),
    [
        (lambda: make("predict.PredictRequest"), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (lambda: predict_request(X, model=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (lambda: predict_request(X, model="eco"), "NOT_FOUND", "Servable not found for request: Latest(eco)"),
        (lambda: predict_request({}, version=9), "NOT_FOUND", "Servable not found for request: Specific(echo, 9)"),
        (lambda: predict_request(X, label="x"), "INVALID_ARGUMENT", "Unrecognized servable version label: x"),
        (lambda: predict_request({}, model="failed"), "UNAVAILABLE", "Model 'failed' version 1 could not be loaded"),
        (
            lambda: predict_request({}, signature="no"), "FAILED_PRECONDITION",
            'Serving signature key "no" not found. Signatures: {arrays,breaks,',
        ),
        (
            lambda: predict_request({"x": X["x"], "z": X["x"]}), "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
            "Sent extra: {z}. Missing but required: {}.",
        ),
        (
            lambda: predict_request({}), "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            lambda: predict_request({"z": X["x"]}), "INVALID_ARGUMENT",
            "input tensor alias not found in signature: z. Inputs expected to be in the set {x}.",
        ),
        (
            lambda: predict_request({"x": np.zeros((1, 3), np.int64)}), "INVALID_ARGUMENT",
            "input tensor x does not match signature: expected DT_FLOAT, got DT_INT64.",
        ),
        (
            lambda: predict_request({"x": np.zeros(2, np.float32)}, signature="refuses"), "INVALID_ARGUMENT",
            "The model refused the inputs: Unknown image file format. The signature takes 'x' of shape [-1].",
        ),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused(client, request_of, code, sentence):
    actual, details = refusal(client.prediction.Predict, request_of())
    assert actual == code
    assert details.startswith(sentence)


def test_a_tensor_that_cannot_be_read_is_named(client):
    request = predict_request(X)
    request.inputs["x"].tensor_content = b"12345"
    assert refusal(client.prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: x. Reason: tensor_content has 5 bytes; the shape and type need 12",
    )


def test_few_bytes_cannot_ask_for_a_huge_tensor(client):
    request = make("predict.PredictRequest")
    request.model_spec.name = "echo"
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.append(1)
    for size in (2**30, 3):
        request.inputs["x"].tensor_shape.dim.add(size=size)
    code, details = refusal(client.prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("The inputs would take 12884901888 bytes of memory, and at most 2097152 are allowed")


def test_a_long_string_cannot_be_repeated_without_end(client):
    """8 kB that would become 800 MB: fewer values than the shape has places for are filled up with the last one."""
    request = make("predict.PredictRequest")
    request.model_spec.name = "echo"
    request.model_spec.signature_name = "texts"
    tensor = request.inputs["text"]
    tensor.dtype = 7
    tensor.string_val.append(b"x" * 8000)
    tensor.tensor_shape.dim.add(size=100_000)
    assert refusal(client.prediction.Predict, request) == (
        "INVALID_ARGUMENT",
        "The inputs would take 806400000 bytes of memory, and at most 2097152 are allowed (twice KILN_MAX_BODY_BYTES). "
        "Send fewer rows at a time.",
    )


def test_all_inputs_of_a_request_are_weighed_together(client):
    half = {"a": np.zeros((100_000, 2), np.float32), "b": np.zeros(100_000, np.int64)}
    request = predict_request({}, signature="two")
    for name, array in half.items():
        request.inputs[name].dtype = {"a": 1, "b": 9}[name]
        for size in (2 * len(array), *array.shape[1:]):
            request.inputs[name].tensor_shape.dim.add(size=size)
    code, details = refusal(client.prediction.Predict, request)
    assert (code, details[:38]) == ("INVALID_ARGUMENT", "The inputs would take 3200000 bytes of")


def test_shapes_are_for_the_graph_to_judge(client):
    request = predict_request({"x": np.array([1, 2, 5], np.float32)})
    outputs = outputs_of(client.prediction.Predict(request))
    assert outputs["y"].tolist() == [2, 4, 10]


def test_inputs_with_a_default_may_be_missing():
    specs = [TensorSpec("x", "DT_FLOAT", (-1,)), TensorSpec("scale", "DT_FLOAT", (), has_default=True)]
    signature = Signature({spec.name: spec for spec in specs}, {})
    x, scale = np.array([1, 2], np.float32), np.array(2, np.float32)
    for inputs in ({"x": x}, {"x": x, "scale": scale}):
        assert set(decode_inputs(predict_request(inputs).inputs, signature, MEBIBYTE)) == set(inputs)
    with pytest.raises(InvalidPayload, match=r"Sent extra: {}. Missing but required: {x}."):
        decode_inputs(predict_request({"scale": scale}).inputs, signature, MEBIBYTE)


def test_an_input_of_a_type_that_cannot_be_served_takes_nothing():
    # A fleet of TensorFlow Serving's may describe such inputs.
    signature = Signature({"q": TensorSpec("q", "DT_QINT8", (-1,))}, {})
    request = predict_request({"q": np.array([1, 2], np.int8)})
    with pytest.raises(InvalidPayload, match=r"tensor q does not match signature: expected DT_QINT8, got DT_INT8."):
        decode_inputs(request.inputs, signature, MEBIBYTE)


def test_strings_with_an_axis_too_many_are_tried_without_it(client):
    column = {"text": np.array([[b"a"], [b"bc"]], object)}
    response = client.prediction.Predict(predict_request(column, signature="strict_texts"))
    assert outputs_of(response)["length"].tolist() == [1, 2]
    wide = {"text": np.array([[b"a", b"b"]], object)}
    code, details = refusal(client.prediction.Predict, predict_request(wide, signature="strict_texts"))
    assert (code, details) == (
        "INVALID_ARGUMENT",
        "The model refused the inputs: expected rank 1. The signature takes 'text' of shape [-1].",
    )


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_numbers_pass(client, dtype):
    numbers = np.array([1 + 2j, -0.5j], dtype)
    response = client.prediction.Predict(predict_request({"c": numbers}, signature=np.dtype(dtype).name))
    answered = outputs_of(response)["c"]
    assert (answered.dtype, answered.tolist()) == (dtype, numbers.tolist())


def test_a_failure_tells_nothing_of_the_inside(client, caplog):
    request = predict_request({"x": np.zeros(1, np.float32)}, signature="breaks")
    assert refusal(client.prediction.Predict, request) == ("INTERNAL", "Internal error. The log has its cause.")
    assert "secret detail" in caplog.text


def test_long_sentences_are_cut(client):
    request = predict_request({f"ü{'x' * 200}{number}": X["x"] for number in range(50)})
    code, details = refusal(client.prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("input size does not match signature: 50!=1")


def metadata_request(name="echo", fields=("signature_def",)):
    request = make("get_model_metadata.GetModelMetadataRequest", metadata_field=fields)
    request.model_spec.name = name
    return request


def test_metadata_is_the_signatures(client):
    response = client.prediction.GetModelMetadata(metadata_request())
    assert (response.model_spec.name, response.model_spec.version.value) == ("echo", 2)
    assert response.model_spec.signature_name == ""
    definitions = make("get_model_metadata.SignatureDefMap")
    assert response.metadata["signature_def"].Unpack(definitions)
    assert set(definitions.signature_def) == set(SIGNATURES)
    definition = definitions.signature_def["serving_default"]
    assert definition.method_name == "tensorflow/serving/predict"
    info = definition.inputs["x"]
    assert (info.name, info.dtype, [axis.size for axis in info.tensor_shape.dim]) == ("x:0", 1, [-1, 3])
    assert definitions.signature_def["halves"].inputs["h"].tensor_shape.unknown_rank


@pytest.mark.parametrize(
    ("request_of", "code", "sentence"),
    [
        (lambda: make("get_model_metadata.GetModelMetadataRequest"), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (
            lambda: metadata_request("nobody", ()), "INVALID_ARGUMENT",
            "GetModelMetadataRequest must specify at least one metadata_field",
        ),
        (lambda: metadata_request("nobody", ["x"]), "INVALID_ARGUMENT", "Metadata field x is not supported"),
        (lambda: metadata_request("nobody"), "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
    ],
)  # fmt: skip
def test_wrong_requests_for_metadata_are_refused(client, request_of, code, sentence):
    actual, details = refusal(client.prediction.GetModelMetadata, request_of())
    assert actual == code
    assert details.startswith(sentence)
