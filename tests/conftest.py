"""Fixtures and marks that all tests share."""

import dataclasses

import pytest

from service.settings import Settings, variable_name


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No test sees the service settings of the shell that it was started from."""
    for field in dataclasses.fields(Settings):
        monkeypatch.delenv(variable_name(field.name), raising=False)
