"""Every status that the OpenAPI document names is provoked here, once per operation, and no other is ever seen."""

import re
from pathlib import Path
from urllib.parse import quote

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
OTHER_SCOPE = {"predict": "let-me-measure", "admin": "let-me-predict", "metrics": "let-me-predict"}

ROW = {"signature_name": "classify", "instances": [[[0] * 8] * 8]}


class UnluckyEngine(FakeEngine):
    """Fails whatever it is told to do."""

    error: Exception = RuntimeError("secret detail of the inside")

    def _fail(self, *_):
        raise self.error

    call = load = unload = set_label = configure = statistics = _fail


class LateEngine(UnluckyEngine):
    """Answers nothing in time."""

    error = DeadlineExceeded("There was no answer within 30 seconds.")


def make_app(folder: Path, world: str):
    """The service as it is while things are `usual`, `loading`, `unlucky`, `late` or `guarded` by tokens."""
    settings = Settings(max_body_bytes=LIMIT)
    if world == "guarded":
        (folder / "tokens").write_text(TOKENS)
        settings = Settings(max_body_bytes=LIMIT, token_file=folder / "tokens")
    repository = publish(folder / "models", *MODELS, *(["broken"] if world == "usual" else []))
    if world == "loading":
        repository = Repository(FakeEngine(folder / "models", PublishedModel, loaded=False))
    if world in ("unlucky", "late"):
        engine = UnluckyEngine if world == "unlucky" else LateEngine
        repository = Repository(engine(folder / "models", PublishedModel))
    return create_app(settings, repository)


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    """A client of each world."""
    worlds = ("usual", "sound", "loading", "unlucky", "late", "guarded")
    return {world: make_app(tmp_path_factory.mktemp(world), world).test_client() for world in worlds}
