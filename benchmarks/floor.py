"""The floor: gunicorn and Flask answering a constant after reading the body. No server behind them can be faster."""

import json
import os
from pathlib import Path

from flask import Flask, Response, request

FOLDER_VARIABLE = "FLOOR_ANSWERS"


def create_app() -> Flask:
    """Makes the application.

    The folder named in `FLOOR_ANSWERS` holds two files for each scenario: `<scenario>.body`, the bytes to answer, and
    `<scenario>.json`, its headers.
    """
    app = Flask(__name__, static_folder=None)
    folder = Path(os.environ[FOLDER_VARIABLE])
    answers = {path.stem: (path.read_bytes(), json.loads(path.with_suffix(".json").read_text("ascii")))
               for path in folder.glob("*.body")}  # fmt: skip

    @app.post("/<scenario>")
    def answer(scenario: str) -> Response:
        request.get_data()
        body, headers = answers[scenario]
        return Response(body, headers=headers)

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    return app
