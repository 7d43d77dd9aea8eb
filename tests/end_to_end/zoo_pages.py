"""Small SavedModels with a `model.json`, as the pages show them: classifiers answer their last class, others 206.1."""

import json
from pathlib import Path

import tensorflow as tf

from service.engine.signature import Signature, TensorSpec
from tests.service.published_models import DESCRIPTIONS, SIGNATURES

NAMES = ("digits", "breast_cancer", "diabetes", "foreign")
VALUE = 206.1


def tensor_spec(spec: TensorSpec) -> tf.TensorSpec:
    dtype = tf.dtypes.as_dtype({"DT_HALF": "float16", "DT_STRING": "string"}.get(spec.dtype, "float32"))
    return tf.TensorSpec([None if size < 0 else size for size in spec.shape], dtype, name=spec.name)


def make_function(signature: Signature, labels: list[str]) -> tf.types.experimental.ConcreteFunction:
    """A function with the signature's inputs and outputs."""

    def call(*values):
        rows = tf.shape(values[0])[0]
        if "image_bytes" in signature.inputs:
            # Refuses what is no picture.
            rows = tf.shape(tf.map_fn(lambda data: tf.shape(tf.io.decode_png(data))[0], values[0], tf.int32))[0]
        if not labels:
            [spec] = signature.outputs.values()
            dtype = tf.float16 if spec.dtype == "DT_HALF" else tf.float32
            return {spec.name: tf.fill([rows, *spec.shape[1:]], tf.constant(VALUE, dtype))}
        row = [0.1 / (len(labels) - 1)] * (len(labels) - 1) + [0.9]
        answer = {
            "label": tf.fill([rows], labels[-1]),
            "class_id": tf.fill([rows], tf.constant(len(labels) - 1, tf.int64)),
            "score": tf.fill([rows], 0.9),
            "probabilities": tf.tile([row], [rows, 1]),
        }
        return {name: answer[name] for name in signature.outputs}

    specs = [tensor_spec(spec) for spec in signature.inputs.values()]
    return tf.function(call, input_signature=specs)


def save_pages(folder: Path) -> None:
    """Writes the models and one that is cut off to `folder/NAME/1`."""
    for name in NAMES:
        description = DESCRIPTIONS[name]
        module = tf.Module()
        module.calls = {
            key: make_function(signature, description.get("labels", [])) for key, signature in SIGNATURES[name].items()
        }
        tf.saved_model.save(module, str(folder / name / "1"), signatures=module.calls)
        if description:
            extra = folder / name / "1" / "assets.extra"
            extra.mkdir(exist_ok=True)
            (extra / "model.json").write_text(json.dumps(description))
    cut = folder / "broken" / "1" / "saved_model.pb"
    cut.parent.mkdir(parents=True)
    cut.write_bytes((folder / "digits" / "1" / "saved_model.pb").read_bytes()[:17])
