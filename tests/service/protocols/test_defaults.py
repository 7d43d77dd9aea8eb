"""Inputs for which the signature has a default may be missing; the engine then gets only what was sent."""

import numpy as np
import pytest

from service.app import create_app
from service.engine.signature import Signature, TensorSpec
from service.settings import Settings
from tests.service.fake_engine import fake_repository

X = TensorSpec("x", "DT_FLOAT", (-1,))
SCALE = TensorSpec("scale", "DT_FLOAT", (), has_default=True)
SHIFT = TensorSpec("shift", "DT_FLOAT", (-1,), has_default=True)
Y = {"y": TensorSpec("y", "DT_FLOAT", (-1,))}


class Scaled:
    """Knows the defaults, as a SavedModel does."""

    def __init__(self, *_version) -> None:
        self.signatures = {
            "serving_default": Signature({"scale": SCALE, "shift": SHIFT, "x": X}, Y),
            "all optional": Signature({"scale": SCALE, "shift": SHIFT}, Y),
            "one": Signature({"shift": SHIFT}, Y),
        }

    def call(self, _signature, inputs):
        return {"y": inputs.get("x", np.float32([1])) * inputs.get("scale", 3) + inputs.get("shift", 0)}


@pytest.fixture
def client(models):
    return create_app(Settings(), fake_repository(models, Scaled)).test_client()


def predict(client, body):
    response = client.post("/v1/models/echo:predict", json=body)
    return response.status_code, response.get_json()


def infer(client, *tensors, signature="serving_default"):
    inputs = [{"name": name, "shape": shape, "datatype": "FP32", "data": data} for name, shape, data in tensors]
    body = {"inputs": inputs, "parameters": {"signature_name": signature}}
    response = client.post("/v2/models/echo/infer", json=body)
    return response.status_code, response.get_json()


@pytest.mark.parametrize("repeats", [1, 300])
def test_what_has_a_default_may_be_missing(client, repeats):
    values = [1.0, 2.0] * repeats
    expected = [3.0, 6.0] * repeats
    assert predict(client, {"instances": values}) == (200, {"predictions": expected})
    assert predict(client, {"instances": [{"x": value} for value in values]}) == (200, {"predictions": expected})
    assert predict(client, {"instances": [{"x": [value]} for value in values]})[1]["predictions"][1] == [6.0]
    assert predict(client, {"inputs": values}) == (200, {"outputs": expected})
    assert predict(client, {"inputs": {"x": values}}) == (200, {"outputs": expected})
    assert infer(client, ("x", [len(values)], values))[1]["outputs"][0]["data"] == expected


def test_what_is_sent_is_used(client):
    assert predict(client, {"inputs": {"x": [1, 2], "scale": 5}}) == (200, {"outputs": [5.0, 10.0]})
    assert predict(client, {"instances": [{"x": 1, "shift": 1}, {"shift": 2, "x": 1}]})[1] == {"predictions": [4, 5]}
    assert infer(client, ("scale", [], 5), ("x", [1], [2]))[1]["outputs"][0]["data"] == [10.0]
    assert predict(client, {"signature_name": "one", "instances": [4]}) == (200, {"predictions": [7.0]})
    assert predict(client, {"signature_name": "all optional", "inputs": {}}) == (200, {"outputs": [3.0]})
    assert infer(client, signature="all optional")[1]["outputs"][0]["data"] == [3.0]


ADVICE = ". Inputs that may be missing, in all rows: scale, shift"
WRONG = {
    "a required one is missing": (
        {"instances": [{"scale": 1}]},
        "Failed to process element: 0 of 'instances' list. JSON object: {\"scale\":1} "
        "keys must be equal to: scale,shift,x" + ADVICE,
    ),
    "another one is missing in one row": (
        {"instances": [{"x": 1, "shift": 1}, {"x": 1}]},
        "Failed to process element: 1 of 'instances' list. JSON object: {\"x\":1} "
        "keys must be equal to: shift,x" + ADVICE,
    ),
    "one more in one row": (
        {"instances": [{"x": 1}, {"x": 1, "scale": 1}]},
        'Failed to process element: 1 of \'instances\' list. JSON object: {"scale":1,"x":1} '
        "keys must be equal to: x" + ADVICE,
    ),
    "an unknown one": (
        {"instances": [{"x": 1}, {"x": 1, "z": 1}]},
        "Failed to process element: 1 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: z. Inputs: scale,shift,x",
    ),
    "a required column is missing": ({"inputs": {"scale": 1}}, "Missing named input: x in 'inputs' object."),
    "a plain list where nothing is required": (
        {"signature_name": "all optional", "instances": [1]},
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map. Inputs: scale, shift",
    ),
}


@pytest.mark.parametrize(("body", "sentence"), WRONG.values(), ids=WRONG)
def test_what_has_none_must_be_there(client, body, sentence):
    assert predict(client, body) == (400, {"error": sentence})


def test_what_has_none_must_be_there_in_open_inference_too(client):
    assert infer(client, ("scale", [], 1)) == (400, {"error": "Missing inputs: 'x'"})
