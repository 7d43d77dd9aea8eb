"""Whatever bytes come by gRPC, the answer is a code for what is wrong with them."""

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import encode_tensor
from tests.service.grpc_fleet import SIGNATURES, make, serving

METHODS = (
    "PredictionService/Predict",
    "PredictionService/Classify",
    "PredictionService/Regress",
    "PredictionService/MultiInference",
    "PredictionService/GetModelMetadata",
    "ModelService/GetModelStatus",
    "ModelService/HandleReloadConfigRequest",
)
EXPECTED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
texts = st.one_of(st.sampled_from(["", "echo", "x", *SIGNATURES]), st.text(max_size=5))
numbers = st.integers(-(2**63), 2**63 - 1)
sizes = st.lists(st.one_of(st.integers(-1, 3), numbers), max_size=4)


@pytest.fixture(scope="module")
def channel(tmp_path_factory, make_version):
    folder = tmp_path_factory.mktemp("models")
    make_version(folder / "echo", 1)
    with serving(folder, max_body_bytes=2**20) as (_, _, client):
        yield client.channel


def code_of(channel, method, content):
    call = channel.unary_unary(f"/tensorflow.serving.{method}")
    try:
        call(content, timeout=10)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def test_bytes_that_are_no_message_are_refused(channel, caplog):
    for method in METHODS:
        call = channel.unary_unary(f"/tensorflow.serving.{method}")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"\xff\xff", timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details().startswith("The request is not a tensorflow.serving.")
    assert not caplog.records


@given(st.sampled_from(METHODS), st.binary(max_size=50))
@settings(max_examples=150, deadline=None)
def test_any_bytes(channel, method, content):
    assert code_of(channel, method, content) in EXPECTED


@st.composite
def tensors(draw):
    tensor = load_protos("tensorflow.core.framework.tensor_pb2").TensorProto(dtype=draw(st.integers(0, 30)))
    for size in draw(sizes):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_shape.unknown_rank = draw(st.booleans()) and draw(st.booleans())
    tensor.float_val.extend(draw(st.lists(st.floats(width=32), max_size=4)))
    tensor.int_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    tensor.half_val.extend(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)))
    tensor.string_val.extend(draw(st.lists(st.binary(max_size=4), max_size=4)))
    tensor.tensor_content = draw(st.one_of(st.just(b""), st.binary(max_size=24)))
    return tensor


@given(
    texts, texts, st.dictionaries(st.sampled_from(["x", "a", "b", "text", "h", ""]), tensors(), max_size=2),
    st.lists(texts, max_size=2), st.one_of(st.none(), numbers),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_prediction(channel, model, signature, inputs, wanted, version):
    # These two fail or wait on purpose.
    signature = "" if signature in ("breaks", "waits") else signature
    request = make("predict.PredictRequest", inputs=inputs, output_filter=wanted)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    assert code_of(channel, METHODS[0], request.SerializeToString()) in EXPECTED


@given(st.integers(0, 100), st.binary(min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_good_request_with_some_bytes_changed(channel, place, change):
    request = make("predict.PredictRequest")
    request.model_spec.name = "echo"
    encode_tensor(np.ones((1, 3), np.float32), request.inputs["x"])
    content = request.SerializeToString()
    place = min(place, len(content))
    assert code_of(channel, METHODS[0], content[:place] + change + content[place + len(change) :]) in EXPECTED
