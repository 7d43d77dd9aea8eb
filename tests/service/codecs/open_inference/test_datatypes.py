"""Every datatype of the Open Inference Protocol, as JSON and as bytes."""

import numpy as np
import orjson
import pytest

from service.app import create_app
from service.codecs.open_inference.binary import decode_binary, encode_binary
from service.codecs.open_inference.datatypes import DATATYPES
from service.engine.signature import Signature, TensorSpec
from service.errors import InvalidPayload
from service.protocols.open_inference.documents import describe_tensor
from service.settings import Settings
from tests.service.fake_engine import fake_repository

DTYPES = {name: TensorSpec("t", dtype, (-1, 2)) for dtype, name in DATATYPES.items()}
VALUES = {"BOOL": [True, False], "BYTES": ["a", "b\0"], "FP32": [0.1, -3e38], "FP64": [0.1, 1e308]}


@pytest.fixture(scope="module")
def client(tmp_path_factory, make_version):
    class Echo:
        def __init__(self, *_):
            self.signatures = {name: Signature({"t": spec}, {"t": spec}) for name, spec in DTYPES.items()}

        def call(self, _signature, inputs):
            return inputs

    models = tmp_path_factory.mktemp("models")
    make_version(models / "echo", 1)
    return create_app(Settings(), fake_repository(models, Echo)).test_client()


def ask(client, datatype, tensor, blob=b"", *, binary_output=False):
    document = {
        "inputs": [{"name": "t", "shape": [1, 2], "datatype": datatype} | tensor],
        "parameters": {"signature_name": datatype, "binary_data_output": binary_output},
    }
    text = orjson.dumps(document)
    headers = {"Inference-Header-Content-Length": str(len(text))} if blob else {}
    return client.post("/v2/models/echo/infer", data=text + blob, headers=headers)


@pytest.mark.parametrize("datatype", [name for name, spec in DTYPES.items() if spec.has_json])
def test_json_there_and_back(client, datatype):
    spec = DTYPES[datatype]
    values = VALUES.get(datatype)
    if values is None:
        limits = np.iinfo(spec.numpy_dtype)
        values = [int(limits.min), int(limits.max)]
    response = ask(client, datatype, {"data": [values]})
    assert response.status_code == 200, response.text
    [output] = response.get_json()["outputs"]
    assert output["datatype"] == datatype
    assert output["data"] == (pytest.approx(values, rel=1e-7) if datatype == "FP32" else values)


@pytest.mark.parametrize("datatype", DTYPES)
def test_bytes_there_and_back(client, datatype):
    spec = DTYPES[datatype]
    blob = b"\x03\0\0\0abc\0\0\0\0" if datatype == "BYTES" else bytes([1] * 2 * spec.numpy_dtype.itemsize)
    tensor = {"parameters": {"binary_data_size": len(blob)}}
    response = ask(client, datatype, tensor, blob, binary_output=True)
    assert response.status_code == 200, response.text
    assert response.data[int(response.headers["Inference-Header-Content-Length"]) :] == blob


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_needs_bytes(client, datatype):
    response = ask(client, datatype, {"data": [1, 2]}, binary_output=True)
    assert response.status_code == 501
    assert response.get_json()["error"] == (
        f"Input 't' is of type {datatype}, for which JSON has no form. Send it as binary data."
    )
    response = ask(client, datatype, {"parameters": {"binary_data_size": 4}}, b"abcd")
    assert response.status_code == 501
    assert response.get_json()["error"] == (
        f"Output 't' is of type {datatype}, for which JSON has no form. Ask for it as binary data."
    )


def test_a_type_that_the_protocol_does_not_have_keeps_its_name():
    assert describe_tensor(TensorSpec("c", "DT_COMPLEX64", None)) == {
        "name": "c",
        "datatype": "COMPLEX64",
        "shape": [-1],
    }


def test_bytes_need_no_alignment():
    body = b"odd" + np.arange(4, dtype=np.float64).tobytes()
    array = decode_binary(memoryview(body)[3:], TensorSpec("t", "DT_DOUBLE", (-1, 2)), (2, 2))
    assert array.tolist() == [[0, 1], [2, 3]]
    assert bytes(encode_binary(array)) == body[3:]


def test_arrays_that_do_not_lie_in_order_are_put_in_order():
    array = np.arange(6, dtype=np.int16).reshape(2, 3).T
    assert b"".join([encode_binary(array)]) == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "takes 2 strings with 4 bytes of length each, but its binary data has 0 bytes"),
        (b"\0\0\0\0\x01\0\0\0", "string 1 runs past the end of the binary data"),
        (b"\xff\xff\xff\xff\0\0\0\0", "string 0 runs past the end of the binary data"),
        (b"\x04\0\0\0abcd", "string 1 runs past the end of the binary data"),
        (b"\0\0\0\0\0\0\0\0!", "takes 2 strings, but 1 bytes follow them in its binary data"),
    ],
)
def test_strings_stay_within_their_bytes(data, sentence):
    with pytest.raises(InvalidPayload, match=sentence):
        decode_binary(memoryview(data), TensorSpec("t", "DT_STRING", (-1,)), (2,))
