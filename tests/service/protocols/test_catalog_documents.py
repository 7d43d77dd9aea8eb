"""What the protocols tell of versions and of the repository beside what they have words for."""

import dataclasses

import pytest

from service.engine.interface import BatchingState

PROBLEM = "saved_model.pb must lie in a version's folder"
STATUS = {"error_code": "OK", "error_message": ""}


@pytest.fixture
def catalog(repository, monkeypatch):
    """A catalog with an entry that is not a model, and a version that tells how it is batched."""
    catalog = repository.engine.catalog()
    echo = catalog.models["echo"]
    batching = {
        "serving_default": BatchingState(False, "Its rows depend on one another."),
        "any": BatchingState(True, ""),
    }
    versions = tuple(dataclasses.replace(version, batching=batching) for version in echo.versions)
    models = catalog.models | {"echo": dataclasses.replace(echo, versions=versions)}
    changed = dataclasses.replace(catalog, models=models, problems={"flat": PROBLEM})
    monkeypatch.setattr(repository.engine, "catalog", lambda: changed)


@pytest.mark.usefixtures("catalog")
def test_a_version_tells_whether_and_why_it_is_batched(client):
    expected = {
        "serving_default": {"enabled": False, "reason": "Its rows depend on one another."},
        "any": {"enabled": True, "reason": ""},
    }
    version = {"version": "2", "state": "AVAILABLE", "status": STATUS, "batching": expected}
    assert client.get("/v1/models/echo").get_json() == {"model_version_status": [version]}
    assert client.get("/v1/models/echo/versions/2").get_json() == {"model_version_status": [version]}
    assert client.get("/v1/models").get_json()["models"][0]["versions"] == [version]


def test_a_version_of_which_that_is_not_known_tells_nothing(client):
    [version] = client.get("/v1/models/echo").get_json()["model_version_status"]
    assert version == {"version": "2", "state": "AVAILABLE", "status": STATUS}


@pytest.mark.usefixtures("catalog")
def test_entries_that_are_no_models_are_listed_with_what_is_wrong(client):
    assert client.get("/v1/models").get_json()["problems"] == {"flat": PROBLEM}
    index = client.post("/v2/repository/index").get_json()
    assert {"name": "flat", "state": "UNAVAILABLE", "reason": PROBLEM} in index
    assert {entry["name"] for entry in index} == {"echo", "named", "flat"}
    index = client.post("/v2/repository/index", json={"ready": True}).get_json()
    assert {entry["name"] for entry in index} == {"echo", "named"}


def test_a_repository_without_problems_lists_none(client):
    assert client.get("/v1/models").get_json()["problems"] == {}
