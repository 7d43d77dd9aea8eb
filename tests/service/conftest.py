"""A service on models that need no TensorFlow."""

import json
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.engine.model import InvalidInput
from service.engine.signature import Signature, TensorSpec
from service.http.application import KilnApp
from service.settings import Settings
from tests.service.fake_engine import fake_repository


def spec(name, dtype="DT_FLOAT", shape=(-1,)):
    return TensorSpec(name, dtype, shape, f"{name}:0")


def signature(inputs, outputs=()):
    return Signature({item.name: item for item in inputs}, {item.name: item for item in outputs})


SIGNATURES = {
    "serving_default": signature([spec("x", shape=(-1, 3))], [spec("y", shape=(-1, 3))]),
    "two": signature([spec("a", shape=(-1, 2)), spec("b", "DT_INT64")], [spec("sum"), spec("b", "DT_INT64")]),
    "texts": signature([spec("text", "DT_STRING")], [spec("text", "DT_STRING"), spec("text_bytes", "DT_STRING")]),
    "pixels": signature([spec("pixels", "DT_UINT8", (-1, 2, 2))], [spec("pixels", "DT_UINT8", (-1, 2, 2))]),
    "flags": signature([spec("flags", "DT_BOOL", (-1, 2))], [spec("flags", "DT_BOOL", (-1, 2))]),
    "half": signature([spec("h", "DT_HALF")], [spec("h", "DT_HALF")]),
    "any": signature([spec("v", "DT_DOUBLE", None)], [spec("v", "DT_DOUBLE", None)]),
    "pair": signature([spec("x", shape=(2,))], [spec("x", shape=(2,))]),
    "scalar": signature([spec("x")], [spec("total", shape=())]),
    "uneven": signature([spec("x")], [spec("x"), spec("twice")]),
    "logarithm": signature([spec("x")], [spec("y")]),
    "refuses": signature([spec("x")], [spec("x")]),
    "breaks": signature([spec("x")], [spec("x")]),
}


class FakeModel:
    """Answers its inputs, by and large."""

    def __init__(self, path: Path, name: str, version: int) -> None:
        if (path / "broken").exists():
            raise OSError("variables are missing")
        self.name = name
        self.version = version
        self.signatures = SIGNATURES

    def call(self, signature, inputs):
        if signature == "refuses":
            raise InvalidInput("Unknown image file format")
        if signature == "breaks":
            raise RuntimeError("secret detail of the inside")
        if signature == "two":
            return {"sum": inputs["a"].sum(axis=1), "b": inputs["b"]}
        if signature == "texts":
            return {"text": inputs["text"], "text_bytes": inputs["text"]}
        if signature == "scalar":
            return {"total": inputs["x"].sum()}
        if signature == "uneven":
            return {"x": inputs["x"], "twice": np.concatenate([inputs["x"], inputs["x"]])}
        if signature == "logarithm":
            with np.errstate(divide="ignore"):
                return {"y": np.log(inputs["x"])}
        [array] = inputs.values()
        return {next(iter(self.signatures[signature].outputs)): array}


def add_version(folder: Path, number: int, description=None, *, broken=False) -> Path:
    version = folder / str(number)
    (version / "assets.extra").mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"")
    if broken:
        (version / "broken").touch()
    if description is not None:
        (version / "assets.extra" / "model.json").write_text(json.dumps(description))
    return version


class WholeAnswers(FlaskClient):
    """A client that takes the whole answer at once, after which the request has been counted and logged."""

    def open(self, *arguments, **options):
        return super().open(*arguments, **{"buffered": True} | options)


@pytest.fixture(autouse=True, scope="session")
def _take_whole_answers():
    KilnApp.test_client_class = WholeAnswers


@pytest.fixture
def models(tmp_path):
    """A model repository with two versions of `echo` and one of `named`."""
    folder = tmp_path / "models"
    add_version(folder / "echo", 1)
    add_version(folder / "echo", 2)
    example = {"signature_name": "serving_default", "instances": [[1.0, 2.5, 3.0]], "expected": "a"}
    add_version(folder / "named", 7, {"task": "multiclass", "labels": ["a", "b"], "example": example, "secret": 1})
    return folder


@pytest.fixture
def repository(models):
    return fake_repository(models, FakeModel)


@pytest.fixture
def app(repository):
    return create_app(Settings(max_body_bytes=10_000), repository)


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture(scope="session")
def fake_model():
    return FakeModel


@pytest.fixture(scope="session")
def make_version():
    return add_version
