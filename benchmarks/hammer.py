"""Clients of the soak: every request carries a number that no other has, and every answer must carry it back.

Run as a process of its own: `python -m benchmarks.hammer ADDRESS GRPC_ADDRESS THREADS SEED OUTPUT` asks until SIGTERM,
then writes the records to OUTPUT. With one thread it is the innocent client: small requests, one each 20 ms.
"""

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import orjson

from benchmarks.kept_connection import BadAnswer, CutAnswer, KeptConnection, UnaskedAnswer
from benchmarks.tiny_models import MODEL
from service.engine.tensorflow.protos import load_protos

WAYS = ("REST rows", "REST columns", "v2 JSON", "v2 binary", "gRPC")
COLUMNS = ("way", "bytes", "sent", "received", "outcome", "version")
# Bytes of a request and how often each is asked for.
SIZES, WEIGHTS = (100, 10_000, 100_000, 1_000_000, 4_000_000, 8_000_000), (60, 15, 13, 8, 2, 2)
COLUMNS_OF_LARGE = 1024
BYTES_PER_JSON_NUMBER = 10
SECONDS = 40.0
PAUSE_SECONDS = 0.02
# float32 holds whole numbers up to here; threads of all processes share them.
MOST_NUMBERS, MOST_THREADS = 2**24, 64

# What became of a request that was not answered with a status.
WRONG, TWICE, RESET_KEPT, RESET_NEW, CUT, SILENT, UNASKED = range(7)
# Added to a status that should have Retry-After and does not.
BARE = 1000
# What the service may answer while it is in trouble.
EXPECTED = (429, 503, 504)
CODES = {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "DEADLINE_EXCEEDED": 504, "INVALID_ARGUMENT": 400}


@dataclass
class Hammer:
    """One client with connections of its own.

    Attributes:
        address, grpc_address: of the service.
        number: its own among all.
        is_innocent: whether it asks for little, and not all the time.
        records: see `COLUMNS`.
        quotes: some of what was not good.
    """

    address: str
    grpc_address: str
    number: int
    is_innocent: bool = False
    records: list[tuple[float, ...]] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)
    _asked: set[int] = field(default_factory=set)
    _connection: KeptConnection = field(init=False)

    def run(self, stop: threading.Event) -> None:
        """Asks until told to stop."""
        random_ = random.Random(self.number)
        channel = grpc.insecure_channel(self.grpc_address, [("grpc.max_receive_message_length", -1),
                                        ("grpc.use_local_subchannel_pool", 1)])  # fmt: skip
        stub = load_protos("tensorflow_serving.apis.prediction_service_pb2_grpc").PredictionServiceStub(channel)
        asks = [self.rest_rows, self.rest_columns, self.v2_json, self.v2_binary, lambda x: self.grpc(stub, x)]
        turn = 0
        while not stop.wait(PAUSE_SECONDS if self.is_innocent else 0):
            turn += 1
            number = (turn * MOST_THREADS + self.number) % MOST_NUMBERS
            way = turn % len(WAYS)
            size = SIZES[0] if self.is_innocent else random_.choices(SIZES, WEIGHTS)[0]
            x = make_input(number, size, is_json=way < 3)
            sent = time.monotonic()
            outcome, version = self.ask(asks[way], x, number)
            self.records.append((way, size, sent, time.monotonic(), outcome, version))
        channel.close()

    def __post_init__(self) -> None:
        self._connection = KeptConnection(self.address, SECONDS)

    def ask(self, way: Callable[[np.ndarray], tuple[int, Any, Any]], x: np.ndarray, number: int) -> tuple[int, float]:
        """Asks once; gives what became of it, and the version that answered."""
        try:
            status, y, versions = way(x)
        except (OSError, UnaskedAnswer, CutAnswer, BadAnswer, ValueError, KeyError, TypeError) as error:
            outcome = self.classify(error)
            self.quote(f"asked {number} {x.shape}: {error!r}"[:300])
            self.close()
            return outcome, 0
        if status != 200:
            if status not in EXPECTED:
                self.quote(f"{status}: {str(y)[:200]}")
            return status, 0
        return self.judge(np.asarray(y, np.float32), np.asarray(versions, np.float32).reshape(-1), x, number)

    def classify(self, error: Exception) -> int:
        """What it means that there was no answer to be read."""
        kinds = {TimeoutError: SILENT, UnaskedAnswer: UNASKED, CutAnswer: CUT}
        for kind, outcome in kinds.items():
            if isinstance(error, kind):
                return outcome
        if isinstance(error, OSError):
            return RESET_KEPT if self._connection.has_answered else RESET_NEW
        return WRONG

    def judge(self, y: np.ndarray, versions: np.ndarray, x: np.ndarray, number: int) -> tuple[int, float]:
        """Whether an answer of status 200 is the request's own."""
        if y.size != x.size or not (y == number).all() or len(versions) != len(x) or np.ptp(versions) != 0:
            self.quote(f"asked {number} {x.shape}, answered {np.unique(y)[:4]} {y.shape}, {np.unique(versions)[:4]}")
            return (TWICE if y.size and int(y.flat[0]) in self._asked else WRONG), 0
        self._asked.add(number)
        return 200, float(versions[0])

    def rest_rows(self, x: np.ndarray) -> tuple[int, Any, Any]:
        """`instances` of TensorFlow Serving's REST API."""
        status, document = self.post(f"/v1/models/{MODEL}:predict", b'{"instances":%b}' % matrix(x))
        if status != 200:
            return status, document, None
        rows = orjson.loads(document)["predictions"]
        return status, [row["y"] for row in rows], [row["version"] for row in rows]

    def rest_columns(self, x: np.ndarray) -> tuple[int, Any, Any]:
        """`inputs` of TensorFlow Serving's REST API."""
        status, document = self.post(f"/v1/models/{MODEL}:predict", b'{"inputs":%b}' % matrix(x))
        if status != 200:
            return status, document, None
        outputs = orjson.loads(document)["outputs"]
        return status, outputs["y"], outputs["version"]

    def v2_json(self, x: np.ndarray) -> tuple[int, Any, Any]:
        """Open Inference with the values in JSON."""
        entry = b'{"name":"x","datatype":"FP32","shape":[%d,%d],"data":%b}' % (*x.shape, matrix(x))
        status, document = self.post(f"/v2/models/{MODEL}/infer", b'{"inputs":[%b]}' % entry)
        if status != 200:
            return status, document, None
        outputs = {output["name"]: output["data"] for output in orjson.loads(document)["outputs"]}
        return status, outputs["y"], outputs["version"]

    def v2_binary(self, x: np.ndarray) -> tuple[int, Any, Any]:
        """Open Inference with the values behind the JSON."""
        data = x.tobytes()
        entry = {"name": "x", "datatype": "FP32", "shape": x.shape, "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode("ascii")
        status, body = self.post(f"/v2/models/{MODEL}/infer", head + data, len(head))
        if status != 200:
            return status, body, None
        head, position = body
        outputs = {}
        for output in orjson.loads(head)["outputs"]:
            size = output["parameters"]["binary_data_size"]
            outputs[output["name"]], position = np.frombuffer(position[:size], "<f4"), position[size:]
        return status, outputs["y"], outputs["version"]

    def grpc(self, stub: Any, x: np.ndarray) -> tuple[int, Any, Any]:
        """TensorFlow Serving's `Predict`."""
        request = load_protos("tensorflow_serving.apis.predict_pb2").PredictRequest()
        request.model_spec.name = MODEL
        proto = request.inputs["x"]
        proto.dtype, proto.tensor_content = 1, x.tobytes()
        for size in x.shape:
            proto.tensor_shape.dim.add().size = size
        try:
            answer = stub.Predict(request, timeout=SECONDS)
        except grpc.RpcError as error:
            return CODES.get(error.code().name, 500), f"{error.code().name}: {error.details()}", None
        y, version = (np.frombuffer(answer.outputs[name].tensor_content, "<f4") for name in ("y", "version"))
        return 200, y, version

    def post(self, path: str, body: bytes, head: int = 0) -> tuple[int, Any]:
        """Sends a body on the kept connection; gives the status and the answer, in two parts where it has a head."""
        headers = {"Content-Type": "application/octet-stream" if head else "application/json"}
        headers |= {"Inference-Header-Content-Length": str(head)} if head else {}
        status, found, content = self._connection.post(path, body, headers)
        if status != 200:
            is_bare = status in (429, 503) and "retry-after" not in found
            return status + BARE * is_bare, content
        if head:
            length = int(found["inference-header-content-length"])
            return 200, (content[:length], content[length:])
        return 200, content

    def close(self) -> None:
        """Closes the kept connection."""
        self._connection.close()

    def quote(self, text: str) -> None:
        """Keeps some of what was not good."""
        if len(self.quotes) < 20:
            self.quotes.append(f"{time.monotonic():.3f} {text}")


def make_input(number: int, size: int, *, is_json: bool) -> np.ndarray:
    """A request's values, all of them its number: float32, shape (rows, columns)."""
    count = max(size // (BYTES_PER_JSON_NUMBER if is_json else 4), 4)
    columns = min(count, COLUMNS_OF_LARGE)
    return np.full((count // columns, columns), number, np.float32)


def matrix(x: np.ndarray) -> bytes:
    """A matrix of one number as JSON."""
    row = b"[" + b",".join([b"%d.0" % int(x[0, 0])] * x.shape[1]) + b"]"
    return b"[" + b",".join([row] * len(x)) + b"]"


def main() -> None:
    """Runs the clients that the command line names."""
    address, grpc_address, threads, seed, output = sys.argv[1:]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clients = [
        Hammer(address, grpc_address, int(seed) + number, is_innocent=threads == "1") for number in range(int(threads))
    ]
    running = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    for thread in running:
        thread.start()
    # A thread that waits for another takes no signal.
    while not stop.wait(0.2):
        pass
    for thread in running:
        thread.join()
    records = [record for client in clients for record in client.records]
    np.savez(
        output,
        records=np.array(records, np.float64).reshape(-1, len(COLUMNS)),
        quotes=np.array([quote for client in clients for quote in client.quotes]),
    )


if __name__ == "__main__":
    main()
