"""Every status that the OpenAPI document names is provoked here, once per operation, and no other is ever seen."""

import re
from pathlib import Path

import jsonschema
import pytest

from service.app import create_app
from service.engine.repository import Repository
from service.errors import DeadlineExceeded
from service.openapi import build_document
from service.settings import Settings
from tests.service.fake_engine import FakeEngine
from tests.service.published_models import PublishedModel, publish

LIMIT = 4000
TOKENS = "predict let-me-predict\nmetrics let-me-measure\nadmin let-me-run-it\n"
MODELS = ("digits", "breast_cancer", "diabetes", "foreign")


class UnluckyEngine(FakeEngine):
    """Fails whatever it is told to do."""

    error: Exception = RuntimeError("secret detail of the inside")

    def _fail(self, *_):
        raise self.error

    call = load = unload = set_label = configure = statistics = _fail


class LateEngine(UnluckyEngine):
    """Answers nothing in time."""

    error = DeadlineExceeded("There was no answer within 30 seconds.")


def settings_for(world: str, folder: Path) -> Settings:
    if world != "guarded":
        return Settings(max_body_bytes=LIMIT)
    (folder / "tokens").write_text(TOKENS)
    return Settings(max_body_bytes=LIMIT, token_file=folder / "tokens")


def repository_for(world: str, folder: Path) -> Repository:
    repository = publish(folder, *MODELS, *(["broken"] if world == "usual" else []))
    match world:
        case "loading":
            return Repository(FakeEngine(folder, PublishedModel, loaded=False))
        case "unlucky":
            return Repository(UnluckyEngine(folder, PublishedModel))
        case "late":
            return Repository(LateEngine(folder, PublishedModel))
    return repository


@pytest.fixture(params=[])
def client(request, tmp_path):
    """A client of the service as it is in one of these worlds: usual, with a broken model; sound, with none; loading;
    unlucky and late, by the engine; guarded, by tokens."""
    return create_app(settings_for(request.param, tmp_path), repository_for(request.param, tmp_path / "models"))
