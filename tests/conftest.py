"""Fixtures and marks that all tests share."""

import dataclasses
import signal

import pytest

from service.settings import Settings, variable_name

# Minutes each; begun at the end, they would run alone.
LONG = ("test_roundtrip.py", "test_answers.py", "test_isolation.py")


def pytest_sessionstart():
    """Has SIGTERM end the session as Ctrl-C does, so that no service is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Begins with what takes longest."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No test sees the service settings of the shell that it was started from."""
    for field in dataclasses.fields(Settings):
        monkeypatch.delenv(variable_name(field.name), raising=False)
