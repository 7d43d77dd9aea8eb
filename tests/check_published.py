"""Every model that is published here, every signature, over HTTP against the Keras model: `make check-published`.

Not part of `make test`, which must pass in a clone where nothing is published yet.
"""

import base64
import io
import json
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import requests
from PIL import Image

from tests.running_service import ROOT, assert_same, keras_outputs, predict, serve

MODELS = sorted(path.parents[2].name for path in ROOT.glob("models/*/*/assets.extra/model.json"))
PUBLISHED = list(dict.fromkeys(MODELS))
COUNTS = (1, 37)


def manifest(model: str) -> dict:
    newest = max((ROOT / "models" / model).glob("[0-9]*"), key=lambda path: int(path.name))
    return json.loads((newest / "assets.extra" / "model.json").read_text())


def of_kind(*, image: bool) -> list[str]:
    return [model for model in PUBLISHED if (manifest(model)["input"]["kind"] == "image") == image]


@cache
def raw_rows(model: str) -> np.ndarray:
    data = manifest(model)["data"]
    with np.load(ROOT / "data" / "prepared" / data["name"] / data["split"] / "test.npz") as arrays:
        return arrays["x"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve(ROOT / "models") as base:
        yield base


def test_something_is_published():
    assert PUBLISHED, "nothing in models/; run `make run` or `make repro` first"


@pytest.mark.parametrize("model", PUBLISHED)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_serving_default(address, model, count, form):
    rows = raw_rows(model)[:count]
    response = requests.post(f"{address}/v1/models/{model}:predict", json={form: rows.tolist()}, timeout=60)
    answered = response.json()["predictions" if form == "instances" else "outputs"]
    assert_same(answered, keras_outputs(ROOT, model, rows))


def assert_classified(answers: list[dict], model: str, expected: np.ndarray) -> None:
    about = manifest(model)
    assert_same([answer["probabilities"] for answer in answers], expected)
    if about["task"] == "binary":
        classes = (expected[:, 1] >= about["operating_point"]["threshold"]).astype(int)
    else:
        classes = expected.argmax(axis=1)
    assert [answer["class_id"] for answer in answers] == classes.tolist()
    assert [answer["label"] for answer in answers] == [about["labels"][index] for index in classes]
    assert_same([answer["score"] for answer in answers], expected[np.arange(len(classes)), classes])


@pytest.mark.parametrize("model", [model for model in PUBLISHED if manifest(model)["task"] != "regression"])
@pytest.mark.parametrize("count", COUNTS)
def test_classify(address, model, count):
    rows = raw_rows(model)[:count]
    answers = predict(address, model, {"signature_name": "classify", "instances": rows.tolist()})
    assert_classified(answers, model, keras_outputs(ROOT, model, rows))


@pytest.mark.parametrize("model", of_kind(image=True))
def test_image_bytes(address, model):
    low, high = manifest(model)["input"]["range"]
    pixels = np.round((raw_rows(model)[:5].astype(float) - low) * 255 / (high - low)).astype("uint8")
    instances = []
    for picture in pixels:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG")
        instances.append({"b64": base64.b64encode(buffer.getvalue()).decode()})
    answers = predict(address, model, {"signature_name": "image_bytes", "instances": instances})
    raw = pixels.astype("float32") * ((high - low) / 255) + low
    assert_classified(answers, model, keras_outputs(ROOT, model, raw))


@pytest.mark.parametrize("model", of_kind(image=False))
def test_named_features(address, model):
    rows = raw_rows(model)[:5]
    names = [feature["name"] for feature in manifest(model)["features"]]
    instances = [dict(zip(names, row.tolist(), strict=True)) for row in rows]
    answers = predict(address, model, {"signature_name": "named_features", "instances": instances})
    expected = keras_outputs(ROOT, model, rows)
    if manifest(model)["task"] == "regression":
        assert_same(np.array(answers).reshape(-1, 1), expected)
    else:
        assert_classified(answers, model, expected)
