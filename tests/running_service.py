"""The real service on a free port, and the numbers of the Keras models that it must give."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

ROOT = Path(__file__).parent.parent
TOLERANCE = 1e-5


def environment() -> dict[str, str]:
    """This process's environment without settings of Kiln's, and with this Python's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KILN_")}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "TF_CPP_MIN_LOG_LEVEL": "2"}


@contextmanager
def serve(models: Path) -> Iterator[str]:
    """Runs the service on a model repository until the block ends; gives its address once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"KILN_PORT": str(port), "KILN_WORKERS": "1", "KILN_MODEL_REPOSITORY": str(models)}
    process = subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env=environment() | settings)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "the service ended"
        try:
            if requests.get(f"{address}/v2/health/ready", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    pytest.fail("the service did not become ready")


def predict(address: str, model: str, body: dict) -> list:
    response = requests.post(f"{address}/v1/models/{model}:predict", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def keras_outputs(project: Path, model: str, rows: np.ndarray) -> np.ndarray:
    import keras

    return np.asarray(keras.models.load_model(project / "runs" / model / "model.keras")(rows.astype("float32")))


def assert_same(answered: object, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.array(answered), expected, rtol=TOLERANCE, atol=TOLERANCE)
