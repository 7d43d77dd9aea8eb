"""The plain handler: what one writes after a Flask tutorial, without its usual mistakes.

Models are loaded once per worker, and the signature is called by keyword: `model.predict`, or a positional argument,
would cost ten times as much.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask, Response, jsonify, request

FOLDER_VARIABLE = "PLAIN_MODELS"
NAMES_VARIABLE = "PLAIN_NAMES"


def create_app() -> Flask:
    """Makes the application for the newest versions of the models `PLAIN_NAMES` in the folder `PLAIN_MODELS`."""
    import tensorflow

    app = Flask(__name__, static_folder=None)
    folder = Path(os.environ[FOLDER_VARIABLE])
    # TensorFlow frees the variables of a SavedModel that nobody holds.
    loaded = {name: tensorflow.saved_model.load(str(newest(folder / name)))
              for name in os.environ[NAMES_VARIABLE].split(",")}  # fmt: skip

    @app.post("/<name>")
    def predict(name: str) -> Response:
        signature = loaded[name].signatures["serving_default"]
        [(argument, spec)] = signature.structured_input_signature[1].items()
        rows = np.asarray(request.get_json()["instances"], spec.dtype.as_numpy_dtype)
        outputs: dict[str, Any] = signature(**{argument: tensorflow.constant(rows)})
        [predictions] = outputs.values()
        return jsonify(predictions=predictions.numpy().tolist())

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    return app


def newest(folder: Path) -> Path:
    """The folder with the highest number."""
    return max((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
