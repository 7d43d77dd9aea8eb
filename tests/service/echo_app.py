"""The HTTP front on models that answer their inputs, for gunicorn to serve."""

import os
from pathlib import Path

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import FakeModel, add_version
from tests.service.fake_engine import fake_repository


def create():
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) / "models"
    if not (folder / "echo").exists():
        add_version(folder / "echo", 1)
    seconds = int(os.environ.get("ECHO_SECONDS", "30"))
    settings = Settings(max_body_bytes=100_000, log_level="error", timeout_seconds=seconds)
    return create_app(settings, fake_repository(folder, FakeModel))
