"""Small untrained networks as published models, for tests that ask one for answers."""

from pathlib import Path

import keras

from pipeline.prepared import Description, Feature, write_json
from pipeline.signatures import Signatures, save_signatures

FEATURES = ("floor_area", "rooms", "distance")
LABELS = {"pictures": ("zero", "one", "two"), "tumours": ("benign", "malignant"), "rents": ()}
TASKS = {"pictures": "multiclass", "tumours": "binary", "rents": "regression"}


def describe(name: str) -> Description:
    """`pictures` of 4 x 4 grey levels, `tumours` in two classes, `rents` in EUR."""
    is_image = name == "pictures"
    return Description(
        name, TASKS[name], "image" if is_image else "features", (4, 4) if is_image else (3,),
        (0.0, 255.0) if is_image else None, LABELS[name],
        () if is_image else tuple(Feature(feature) for feature in FEATURES),
        "rent", "EUR" if name == "rents" else "", "made up", "0" * 64, "", {"row": {}},
    )  # fmt: skip


def build(description: Description) -> keras.Model:
    """A network with random weights whose answers differ from row to row."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(description.input_shape, name=description.input_name)
    hidden = keras.layers.Dense(16, "tanh")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 64)(inputs)))
    if description.task == "multiclass":
        outputs = keras.layers.Dense(3, "softmax")(hidden)
    elif description.task == "binary":
        positive = keras.layers.Dense(1, "sigmoid")(hidden)
        outputs = keras.layers.Concatenate()([keras.layers.Rescaling(-1.0, 1.0)(positive), positive])
    else:
        outputs = keras.layers.Rescaling(400.0, 900.0)(keras.layers.Dense(1)(hidden))
    return keras.Model(inputs, outputs)


def publish(repository: Path, name: str, version: int = 1) -> keras.Model:
    """Publishes one of the three networks and returns it."""
    description = describe(name)
    model = build(description)
    folder = repository / name / str(version)
    save_signatures(Signatures(model, description, 0.4 if description.task == "binary" else None), folder)
    manifest = {
        "name": name,
        "task": description.task,
        "labels": list(description.labels),
        "target": {"name": description.target_name, "unit": description.target_unit},
        "input": {"kind": description.input_kind, "name": description.input_name,
                  "shape": list(description.input_shape)},
        "features": [{"name": feature.name, "unit": feature.unit} for feature in description.features],
    }  # fmt: skip
    write_json(manifest, folder / "assets.extra" / "model.json")
    return model
