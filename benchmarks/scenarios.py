"""What is asked in the benchmark: the models, the requests' bytes and the connections."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plain_handler import newest

MODELS = ("mnist_mlp", "mnist_cnn")
FLOOR, PLAIN, KILN = "floor", "plain", "kiln"


@dataclass(frozen=True)
class Request:
    """The bytes that are sent, over and over.

    Attributes:
        name: names files and the floor's routes.
        model: which one is asked.
        rows: images in the request.
        binary: whether it is the Open Inference Protocol's binary form rather than JSON.
    """

    name: str
    model: str
    rows: int
    binary: bool = False

    @property
    def path(self) -> str:
        """Kiln's route."""
        return f"/v2/models/{self.model}/infer" if self.binary else f"/v1/models/{self.model}:predict"


@dataclass(frozen=True)
class Scenario:
    """A request and how many connections send it.

    Attributes:
        title: for the tables.
    """

    title: str
    request: Request
    connections: int

    @property
    def servers(self) -> tuple[str, ...]:
        """Who is asked; a tutorial's handler knows no binary form."""
        return (FLOOR, KILN) if self.request.binary else (FLOOR, PLAIN, KILN)

    @property
    def name(self) -> str:
        """For the command line."""
        return f"{self.request.name}-{self.connections}"


MLP_ONE = Request("mlp-json-1", "mnist_mlp", 1)
MLP_MANY = Request("mlp-json-32", "mnist_mlp", 32)
MLP_ONE_BINARY = Request("mlp-binary-1", "mnist_mlp", 1, binary=True)
MLP_MANY_BINARY = Request("mlp-binary-32", "mnist_mlp", 32, binary=True)
CNN_ONE = Request("cnn-json-1", "mnist_cnn", 1)
REQUESTS = (MLP_ONE, MLP_MANY, MLP_ONE_BINARY, MLP_MANY_BINARY, CNN_ONE)

SCENARIOS = (
    Scenario("mnist_mlp, 1 image, JSON", MLP_ONE, 1),
    Scenario("mnist_mlp, 1 image, JSON", MLP_ONE, 32),
    Scenario("mnist_mlp, 1 image, JSON", MLP_ONE, 256),
    Scenario("mnist_mlp, 1 image, binary", MLP_ONE_BINARY, 32),
    Scenario("mnist_mlp, 32 images, JSON", MLP_MANY, 8),
    Scenario("mnist_mlp, 32 images, binary", MLP_MANY_BINARY, 8),
    Scenario("mnist_cnn, 1 image, JSON", CNN_ONE, 32),
)


def read_images(repository: Path, model: str, rows: int) -> list[Any]:
    """The model's own example image, and the same moved sideways for further rows, as a client writes them.

    Args:
        repository: the model repository.
        model: a model of 28x28 images.
        rows: how many.

    Returns:
        Lists of whole numbers from 0 to 255.
    """
    extra = newest(repository / model) / "assets.extra"
    [image] = json.loads((extra / "model.json").read_text(encoding="utf-8"))["example"]["instances"]
    return [np.roll(np.array(image), row % 8 - row // 8, axis=1).tolist() for row in range(rows)]


def encode_request(repository: Path, request: Request) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a request."""
    images = read_images(repository, request.model, request.rows)
    if not request.binary:
        return json.dumps({"instances": images}).encode("ascii"), {"Content-Type": "application/json"}
    tensor = np.array(images, "<f4").tobytes()
    shape = [request.rows, 28, 28]
    entry = {"name": "image", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": len(tensor)}}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode("ascii")
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return head + tensor, headers


def decode_answer(request: Request, body: bytes, header_length: int | None) -> np.ndarray:
    """The probabilities in an answer.

    Args:
        request: what was asked.
        body: the answer.
        header_length: its `Inference-Header-Content-Length`, or None.

    Returns:
        float32, shape (rows, classes).
    """
    if header_length is None:
        document = json.loads(body)
        [values] = document.values() if not request.binary else [document["outputs"][0]["data"]]
        return np.array(values, np.float32).reshape(request.rows, -1)
    return np.frombuffer(body[header_length:], "<f4").reshape(request.rows, -1)
