"""How clients ask: REST rows and columns, Open Inference JSON and binary, and TensorFlow Serving's gRPC.

Each function takes arrays and gives arrays, as `zoo.Case` holds them. What the service answers instead of 200 or OK is
raised as `Refused`.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
import numpy as np

from benchmarks.kept_connection import KeptConnection
from service.engine.tensorflow.protos import load_protos
from tests.end_to_end.zoo import Arrays, Case

# numpy's names of the types: Open Inference's, and TensorFlow's numbers of them.
DATATYPES = {
    "float32": "FP32", "float64": "FP64", "float16": "FP16", "void16": "BF16", "int8": "INT8", "int16": "INT16",
    "int32": "INT32", "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "bool": "BOOL", "object": "BYTES",
}  # fmt: skip
NUMBERS = {
    "float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int16": 5, "int8": 6, "object": 7, "complex64": 8, "int64": 9,
    "bool": 10, "void16": 14, "uint16": 17, "complex128": 18, "float16": 19, "uint32": 22, "uint64": 23,
}  # fmt: skip
TYPES = {number: np.dtype({"object": object, "void16": "V2"}.get(name, name)) for name, number in NUMBERS.items()}
NO_JSON = {"float16", "void16", "complex64", "complex128"}
SECONDS = 60


class Refused(Exception):
    """The service answered something else than what was asked for.

    Attributes:
        status: of HTTP, or gRPC's code.
    """

    def __init__(self, status: int | str, sentence: str) -> None:
        super().__init__(f"{status}: {sentence[:500]}")
        self.status = status


@dataclass
class Client:
    """A client with connections of its own, which are kept; for one thread.

    Attributes:
        address: e.g. `http://127.0.0.1:8080`.
        grpc_address: e.g. `127.0.0.1:8500`.
        seconds: how long to wait for an answer.
    """

    address: str
    grpc_address: str = ""
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        self.connection = KeptConnection(self.address.removeprefix("http://"), self.seconds)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        # Channels to one address share a connection unless their options differ.
        options.append(("grpc.use_local_subchannel_pool", 1))
        self.channel = grpc.insecure_channel(self.grpc_address, options) if self.grpc_address else None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        if self.channel is not None:
            self.channel.close()

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
        """Sends a body, and gives the headers and the body of an answer of status 200."""
        status, found, content = self.connection.post(path, body, dict(headers))
        if status != 200:
            raise Refused(status, content.decode(errors="replace"))
        return found, content

    def post_json(self, path: str, document: dict) -> dict:
        """Sends JSON and reads JSON."""
        _, content = self.post(path, json.dumps(document).encode(), {"Content-Type": "application/json"})
        return json.loads(content)

    def rest_rows(self, model: str, signature: str, inputs: Arrays, expected: Arrays) -> Arrays:
        """`instances` of TensorFlow Serving's REST API."""
        count = len(next(iter(inputs.values())))
        values = {name: to_json(array) for name, array in inputs.items()}
        rows = [{name: value[row] for name, value in values.items()} for row in range(count)]
        if len(inputs) == 1 and signature == "serving_default":
            rows = [next(iter(row.values())) for row in rows]
        answer = self.post_json(f"/v1/models/{model}:predict", {"signature_name": signature, "instances": rows})[
            "predictions"
        ]
        if len(expected) == 1:
            [name] = expected
            return {name: from_json(answer, expected[name])}
        return {name: from_json([row[name] for row in answer], array) for name, array in expected.items()}

    def rest_columns(self, model: str, signature: str, inputs: Arrays, expected: Arrays) -> Arrays:
        """`inputs` of TensorFlow Serving's REST API."""
        values = {name: to_json(array) for name, array in inputs.items()}
        answer = self.post_json(f"/v1/models/{model}:predict", {"signature_name": signature, "inputs": values})[
            "outputs"
        ]
        if len(expected) == 1:
            [name] = expected
            return {name: from_json(answer, expected[name])}
        return {name: from_json(answer[name], array) for name, array in expected.items()}

    def v2_json(self, model: str, signature: str, inputs: Arrays, expected: Arrays) -> Arrays:
        """Open Inference with the values in JSON."""
        entries = [describe(name, array) | {"data": to_json(array.reshape(-1))} for name, array in inputs.items()]
        document = {"inputs": entries, "parameters": {"signature_name": signature}}
        answer = self.post_json(f"/v2/models/{model}/infer", document)
        outputs = {entry["name"]: entry for entry in answer["outputs"]}
        assert set(outputs) == set(expected)
        return {
            name: from_json(outputs[name]["data"], array).reshape(outputs[name]["shape"])
            for name, array in expected.items()
        }

    def v2_binary(self, model: str, signature: str, inputs: Arrays, expected: Arrays) -> Arrays:
        """Open Inference with the values behind the JSON."""
        data = {name: to_bytes(array) for name, array in inputs.items()}
        entries = [
            describe(name, array) | {"parameters": {"binary_data_size": len(data[name])}}
            for name, array in inputs.items()
        ]
        parameters = {"signature_name": signature, "binary_data_output": True}
        head = json.dumps({"inputs": entries, "parameters": parameters}).encode()
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
        found, content = self.post(f"/v2/models/{model}/infer", head + b"".join(data.values()), headers)
        length = int(found["inference-header-content-length"])
        outputs, position = {}, length
        for entry in json.loads(content[:length])["outputs"]:
            end = position + entry["parameters"]["binary_data_size"]
            array = from_bytes(content[position:end], entry["datatype"])
            outputs[entry["name"]], position = array.reshape(entry["shape"]), end
        assert position == len(content)
        assert set(outputs) == set(expected)
        return outputs

    def grpc(self, model: str, signature: str, inputs: Arrays, _expected: Arrays) -> Arrays:
        """TensorFlow Serving's `Predict`."""
        messages = load_protos("tensorflow_serving.apis.predict_pb2")
        stubs = load_protos("tensorflow_serving.apis.prediction_service_pb2_grpc")
        request = messages.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        for name, array in inputs.items():
            fill_proto(request.inputs[name], array)
        try:
            answer = stubs.PredictionServiceStub(self.channel).Predict(request, timeout=self.seconds)
        except grpc.RpcError as error:
            raise Refused(error.code().name, error.details() or "") from None
        return {name: read_proto(proto) for name, proto in answer.outputs.items()}


def describe(name: str, array: np.ndarray) -> dict:
    """A tensor's head in Open Inference."""
    return {"name": name, "shape": list(array.shape), "datatype": DATATYPES[array.dtype.name]}


def to_json(array: np.ndarray) -> list | float | str | dict:
    """Values as JSON has them; strings that are no UTF-8 as base64."""
    if array.dtype != object:
        return array.tolist()
    if array.ndim:
        return [to_json(part) if isinstance(part, np.ndarray) else string_to_json(part) for part in array]
    return string_to_json(array.item())


def string_to_json(value: bytes) -> str | dict:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def from_json(value: list | float, like: np.ndarray) -> np.ndarray:
    """An array of the type of another one."""
    if like.dtype != object:
        return np.array(value, like.dtype)
    if isinstance(value, list):
        parts = [from_json(part, like) for part in value]
        array = np.empty((len(parts), *(parts[0].shape if parts else ())), object)
        for index, part in enumerate(parts):
            array[index] = part if part.ndim else part.item()
        return array
    array = np.empty((), object)
    array[()] = base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
    return array


def to_bytes(array: np.ndarray) -> bytes:
    """Values as Open Inference's binary extension has them."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(len(value).to_bytes(4, "little") + value for value in array.reshape(-1))


def from_bytes(data: bytes, datatype: str) -> np.ndarray:
    """Values of Open Inference's binary extension, flat."""
    if datatype != "BYTES":
        name = next(name for name, known in DATATYPES.items() if known == datatype)
        return np.frombuffer(data, "V2" if name == "void16" else name)
    values, position = [], 0
    while position < len(data):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        values.append(data[start:position])
    array = np.empty(len(values), object)
    array[:] = values
    return array


def fill_proto(proto: object, array: np.ndarray) -> None:
    """Writes an array into a `TensorProto`."""
    proto.dtype = NUMBERS[array.dtype.name]
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if array.dtype == object:
        proto.string_val.extend(array.reshape(-1).tolist())
    else:
        proto.tensor_content = array.tobytes()


def read_proto(proto: object) -> np.ndarray:
    """The array in a `TensorProto` that has its values in `tensor_content` or, strings, in `string_val`."""
    shape = [dim.size for dim in proto.tensor_shape.dim]
    dtype = TYPES[proto.dtype]
    if dtype.hasobject:
        array = np.empty(len(proto.string_val), object)
        array[:] = list(proto.string_val)
        return array.reshape(shape)
    return np.frombuffer(proto.tensor_content, dtype).reshape(shape)


Way = Callable[[Client, str, str, Arrays, Arrays], Arrays]
WAYS: dict[str, Way] = {
    "REST rows": Client.rest_rows,
    "REST columns": Client.rest_columns,
    "v2 JSON": Client.v2_json,
    "v2 binary": Client.v2_binary,
    "gRPC": Client.grpc,
}


def ways(case: Case) -> list[str]:
    """The ways that can carry a case."""
    arrays = [*case.inputs.values(), *case.outputs.values()]
    types = {array.dtype.name for array in arrays}
    carried = ["gRPC"]
    if not types & {"complex64", "complex128"}:
        carried.append("v2 binary")
    if types & NO_JSON:
        return carried
    sizes = {array.shape[0] if array.ndim else -1 for array in arrays}
    # Open Inference has text in JSON, and no bytes.
    carried += ["v2 JSON"] if all(map(is_text, arrays)) else []
    # Nested lists tell no shape that has a 0 in it, but for that of one axis.
    if all(array.size or array.ndim == 1 for array in arrays):
        carried += ["REST columns"] if case.inputs else []
        carried += ["REST rows"] if case.inputs and len(sizes) == 1 and -1 not in sizes and 0 not in sizes else []
    return carried


def is_text(array: np.ndarray) -> bool:
    """Whether its strings, if it has any, are UTF-8."""
    if array.dtype != object:
        return True
    return all(isinstance(string_to_json(value), str) for value in array.reshape(-1))


def assert_answer(answered: Arrays, case: Case, kind: str = "pure") -> None:
    """Checks an answer against TensorFlow's own."""
    assert set(answered) == set(case.outputs)
    for name, expected in case.outputs.items():
        array = answered[name]
        assert array.shape == expected.shape, f"{name}: shape {array.shape} instead of {expected.shape}"
        assert array.dtype == expected.dtype, f"{name}: {array.dtype} instead of {expected.dtype}"
        if kind == "random":
            noise = array - expected
            assert ((noise >= 0) & (noise < 1)).all(), f"{name}: {array} is not within 1 of {expected}"
        elif array.dtype.kind in "fc":
            # Sums in another order differ by some units in the last place of their largest part.
            scale = float(np.abs(expected).max(initial=0))
            relative = 2e-3 if array.dtype == np.float16 else 1e-5
            np.testing.assert_allclose(array, expected, rtol=relative, atol=scale * relative / 10, err_msg=name)
        else:
            assert array.tolist() == expected.tolist(), name
