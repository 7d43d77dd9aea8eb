"""A model repository whose models answer at once, for tests of what people see: no TensorFlow, real descriptions."""

import json
from pathlib import Path

import numpy as np

from service.engine.model import InvalidInput
from service.engine.repository import Repository
from service.engine.signature import Signature, TensorSpec
from service.openapi.examples import BIOPSY, PATIENT, SUMMARY
from tests.service.fake_engine import fake_repository

FEATURES = {"kind": "features", "name": "features", "range": None}
DESCRIPTIONS = {
    "digits": {key: SUMMARY[key] for key in ("task", "labels", "input", "features", "target", "metrics", "example")},
    "breast_cancer": {
        "task": "binary",
        "labels": ["benign", "malignant"],
        "input": FEATURES | {"shape": [30]},
        "features": [{"name": name, "unit": ""} for name in BIOPSY],
        "target": {"name": "diagnosis", "unit": ""},
        "metrics": {"test": {"accuracy": 0.974}, "baseline": {"trivial": {"accuracy": 0.63}}},
        "operating_point": {"threshold": 0.41, "maximizes": "f1", "chosen_on": "validation"},
        "example": {"instances": [list(BIOPSY.values())], "expected": "malignant"},
    },
    "diabetes": {
        "task": "regression",
        "labels": [],
        "input": FEATURES | {"shape": [10]},
        "features": [{"name": name, "unit": "mg/dl"} for name in PATIENT],
        "target": {"name": "disease_progression", "unit": "points"},
        "metrics": {"test": {"mae": 43.2}, "baseline": {"trivial": {"mae": 64.0}}},
        "example": {"instances": [list(PATIENT.values())], "expected": 151.0},
    },
    "foreign": {},
    "examples": {},
    "broken": {},
}


def tensor(name: str, shape: tuple[int, ...], dtype: str = "DT_FLOAT") -> TensorSpec:
    return TensorSpec(name, dtype, (-1, *shape), f"{name}:0")


def named(*specs: TensorSpec) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}


CLASSES = named(
    tensor("label", (), "DT_STRING"),
    tensor("class_id", (), "DT_INT64"),
    tensor("score", ()),
    tensor("probabilities", (-1,)),
)
SIGNATURES = {
    "digits": {
        "serving_default": Signature(named(tensor("image", (8, 8))), named(tensor("probabilities", (10,)))),
        "classify": Signature(named(tensor("image", (8, 8))), CLASSES),
        "image_bytes": Signature(named(tensor("image_bytes", (), "DT_STRING")), CLASSES),
    },
    "breast_cancer": {"named_features": Signature(named(*(tensor(name, ()) for name in BIOPSY)), CLASSES)},
    "diabetes": {
        "serving_default": Signature(named(tensor("features", (10,))), named(tensor("prediction", (1,)))),
        "named_features": Signature(named(*(tensor(name, ()) for name in PATIENT)), named(tensor("prediction", (1,)))),
    },
    "foreign": {
        "serving_default": Signature(
            named(tensor("left", (2,)), tensor("word", (), "DT_STRING")), named(tensor("sum", ()))
        ),
        "half": Signature(named(tensor("x", (), "DT_HALF")), named(tensor("y", ()))),
    },
    "examples": {
        "serving_default": Signature(
            named(tensor("inputs", (), "DT_STRING")),
            named(tensor("classes", (-1,), "DT_STRING"), tensor("scores", (-1,))),
            "tensorflow/serving/classify",
        ),
        "regress": Signature(
            named(tensor("inputs", (), "DT_STRING")), named(tensor("outputs", ())), "tensorflow/serving/regress"
        ),
    },
}


class PublishedModel:
    """Answers every row alike: classifiers their last class, regressions 206.1; what is no PNG is refused."""

    def __init__(self, _folder: Path, name: str, version: int) -> None:
        if name == "broken":
            raise ValueError("saved_model.pb ends after 17 bytes")
        self.name, self.version, self.signatures = name, version, SIGNATURES[name]

    def call(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        [(first, values), *_] = inputs.items()
        if first == "image_bytes" and not all(value.startswith(b"\x89PNG") for value in values):
            raise InvalidInput("Unknown image file format. One of JPEG, PNG, GIF, BMP required.")
        rows = len(values)
        if signature == "regress":
            return {"outputs": np.full(rows, 206.1, np.float32)}
        if self.name == "examples":
            return {"classes": np.full((rows, 2), b"a", object), "scores": np.full((rows, 2), 0.5, np.float32)}
        labels = DESCRIPTIONS[self.name].get("labels")
        if not labels:
            [(name, spec)] = self.signatures[signature].outputs.items()
            return {name: np.full((rows, *spec.shape[1:]), 206.1, np.float32)}
        probabilities = np.full((rows, len(labels)), 0.1 / (len(labels) - 1), np.float32)
        probabilities[:, -1] = 0.9
        if signature == "serving_default":
            return {"probabilities": probabilities}
        return {
            "label": np.full(rows, labels[-1].encode(), object),
            "class_id": np.full(rows, len(labels) - 1, np.int64),
            "score": probabilities[:, -1],
            "probabilities": probabilities,
        }


def publish(folder: Path, *names: str) -> Repository:
    """A repository in `folder` with models of these names."""
    for name in names:
        extra = folder / name / "1" / "assets.extra"
        extra.mkdir(parents=True)
        (extra.parent / "saved_model.pb").write_bytes(b"")
        if DESCRIPTIONS[name]:
            (extra / "model.json").write_text(json.dumps(DESCRIPTIONS[name]))
    return fake_repository(folder, PublishedModel)
