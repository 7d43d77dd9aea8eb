"""The real service by its address, and the numbers of the Keras models that it must give."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests

from tests.end_to_end.service import ROOT, clean_environment, service

__all__ = ["ROOT", "TOLERANCE", "assert_same", "environment", "keras_outputs", "predict", "serve"]

TOLERANCE = 1e-5
environment = clean_environment


@contextmanager
def serve(models: Path) -> Iterator[str]:
    """Runs the service on a model repository until the block ends; gives its address once it is ready."""
    with service(models, workers=1) as running:
        yield running.address


def predict(address: str, model: str, body: dict) -> list:
    response = requests.post(f"{address}/v1/models/{model}:predict", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def keras_outputs(project: Path, model: str, rows: np.ndarray) -> np.ndarray:
    import keras

    return np.asarray(keras.models.load_model(project / "runs" / model / "model.keras")(rows.astype("float32")))


def assert_same(answered: object, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.array(answered), expected, rtol=TOLERANCE, atol=TOLERANCE)
