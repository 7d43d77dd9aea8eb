"""Status, metadata, the list of models, probes, metrics, request ids and logs."""

import dataclasses
import json
import logging
import re

import pytest

from service.app import create_admin_app, create_app
from service.logs import JsonFormatter, TextFormatter
from service.settings import Settings
from tests.service.fake_engine import fake_repository

AVAILABLE = {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


def test_status_tells_the_state_of_the_newest_version(client):
    assert client.get("/v1/models/echo").get_json() == {"model_version_status": [AVAILABLE]}
    assert client.get("/V1/models/echo/Versions/2").get_json() == {"model_version_status": [AVAILABLE]}


def test_every_version_is_served_when_the_settings_say_so(models, fake_model):
    repository = fake_repository(models, fake_model, latest=0)
    client = create_app(Settings(), repository).test_client()
    states = client.get("/v1/models/echo").get_json()["model_version_status"]
    assert [state["version"] for state in states] == ["2", "1"]
    assert client.post("/v1/models/echo/versions/1:predict", json={"inputs": [[1, 2, 3]]}).status_code == 200
    assert repository.find("echo").version == 2


def test_metadata_has_the_form_of_a_signature_definition(client):
    body = client.get("/v1/models/echo/metadata").get_json()
    assert body["model_spec"] == {"name": "echo", "signature_name": "", "version": "2"}
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}], "unknown_rank": False},
        "name": "x:0",
    }
    assert signatures["any"]["inputs"]["v"]["tensor_shape"] == {"dim": [], "unknown_rank": True}


def test_the_list_of_models_repeats_what_model_json_says(client):
    echo, named = client.get("/v1/models").get_json()["models"]
    assert (echo["name"], echo["versions"]) == ("echo", [AVAILABLE])
    assert "task" not in echo
    assert (named["task"], named["labels"]) == ("multiclass", ["a", "b"])
    assert "serving_default" in named["signatures"]
    assert "secret" not in named


def test_a_service_whose_models_are_loaded_is_ready(client):
    assert client.get("/v2/health/live").get_json() == {"live": True}
    response = client.get("/v2/health/ready")
    assert (response.status_code, response.get_json()) == (200, {"live": True, "ready": True})


def test_a_model_that_is_being_loaded_is_unavailable_and_the_service_not_ready(models, fake_model):
    client = create_app(Settings(), fake_repository(models, fake_model, loaded=False)).test_client()
    response = client.post("/v1/models/echo:predict", json={"inputs": [[1, 2, 3]]})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "2"
    assert response.get_json()["error"] == "Model 'echo' is still being loaded. Try again shortly."
    ready = client.get("/v2/health/ready")
    assert ready.status_code == 503
    assert ready.get_json()["models"]["echo"] == "version 2 is in state LOADING"
    assert client.get("/v2/health/live").status_code == 200


def test_a_model_that_cannot_be_loaded_says_why_and_the_others_are_served(models, fake_model, make_version):
    make_version(models / "bad", 3, broken=True)
    repository = fake_repository(models, fake_model)
    client = create_app(Settings(), repository).test_client()
    [status] = client.get("/v1/models/bad").get_json()["model_version_status"]
    assert status["state"] == "END"
    assert status["status"] == {"error_code": "UNKNOWN", "error_message": "OSError: variables are missing"}
    response = client.post("/v1/models/bad:predict", json={"inputs": 1})
    assert (response.status_code, "Retry-After" in response.headers) == (503, False)
    assert "could not be loaded; GET /v1/models/bad says why." in response.get_json()["error"]
    assert client.get("/v2/health/ready").get_json()["models"] == {"bad": "version 3 is in state END"}
    assert client.post("/v1/models/echo:predict", json={"inputs": [[1, 2, 3]]}).status_code == 200


def test_an_empty_repository_is_not_ready_and_says_what_to_do(tmp_path, fake_model):
    client = create_app(Settings(), fake_repository(tmp_path / "nothing", fake_model)).test_client()
    assert client.get("/v1/models").get_json() == {"models": [], "problems": {}}
    assert "Publish one" in client.get("/v2/health/ready").get_json()["reason"]


def test_a_named_model_that_is_not_there_keeps_the_service_from_being_ready(models, fake_model):
    repository = fake_repository(models, fake_model, ("echo", "absent"))
    client = create_app(Settings(), repository).test_client()
    assert list(client.get("/v2/health/ready").get_json()["models"]) == ["absent"]
    assert client.post("/v1/models/named:predict", json={"inputs": 1}).status_code == 404


def test_versions_are_numbers_with_a_saved_model(models, fake_model, make_version):
    for name in ("latest", "02", "-1", "1.5"):
        make_version(models / "echo", name)
    (models / "echo" / "9").mkdir()
    make_version(models / ".staging", 1)
    (models / "empty").mkdir()
    repository = fake_repository(models, fake_model, latest=0)
    assert [version.number for version in repository.versions("echo")] == [2, 1]
    assert [model["name"] for model in repository.list_models()] == ["echo", "named"]


def test_an_entry_that_is_no_model_says_why(client, repository):
    problems = {"flat": "move the files to flat/1", "m/v1": "rename it", "m/v2": "rename it too"}
    catalog = dataclasses.replace(repository.engine.catalog(), problems=problems)
    repository.engine.catalog = lambda: catalog
    assert client.get("/v1/models").get_json()["problems"] == problems
    sentences = {
        "flat": "Model 'flat' is not served. flat: move the files to flat/1.",
        "m": "Model 'm' is not served. m/v1: rename it; m/v2: rename it too.",
    }
    for name, sentence in sentences.items():
        for response in (client.get(f"/v1/models/{name}"), client.post(f"/v1/models/{name}:predict", json={})):
            assert (response.status_code, response.get_json()) == (404, {"error": sentence})


def test_a_label_that_is_known_and_not_loaded_yet_is_503(client, repository):
    catalog = repository.engine.catalog()
    model = dataclasses.replace(catalog.models["echo"], pending_labels={"next": 9})
    catalog = dataclasses.replace(catalog, models=catalog.models | {"echo": model})
    repository.engine.catalog = lambda: catalog
    answers = [
        client.get("/v1/models/echo/labels/next/metadata"),
        client.post("/v1/models/echo/labels/next:predict", json={"instances": [[1, 2, 3]]}),
    ]
    sentence = "Label 'next' of model 'echo' names version 9, which is not there yet. Try again later."
    for response in answers:
        assert (response.status_code, response.get_json()["error"]) == (503, sentence)
        assert response.headers["Retry-After"] == "2"
    assert client.get("/v1/models/echo/labels/next").status_code == 404


@pytest.mark.parametrize("text", ["{", "[1]", "\udcff"])
def test_a_broken_model_json_does_not_keep_the_model_from_being_served(models, fake_model, text):
    path = models / "named" / "7" / "assets.extra" / "model.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    repository = fake_repository(models, fake_model)
    assert "task" not in repository.list_models()[1]


def test_a_stopping_service_is_not_ready(app, client):
    app.readiness.is_stopping = lambda: True
    response = client.get("/v2/health/ready")
    assert (response.status_code, response.get_json()["reason"]) == (503, "The service is stopping.")


def test_metrics_count_requests_by_served_model_and_status(client):
    client.post("/v1/models/echo:predict", json={"instances": [[1, 2, 3], [4, 5, 6]]})
    client.post("/v1/models/echo:predict", json={})
    client.post("/v1/models/made-up-1:predict", json={})
    client.get("/made/up")
    text = client.get("/metrics").text
    counts = re.findall(r"^kiln_requests_total{(.*)} (.*)$", text, re.MULTILINE)
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', names)) | {"count": float(count)} for names, count in counts]
    v1 = {"protocol": "tensorflow_serving", "endpoint": "tensorflow_serving.predict", "count": 1.0}
    called = {"model": "echo", "version": "2", "signature": "serving_default", "code": "200"}
    assert v1 | called in labels
    assert v1 | {"model": "echo", "version": "", "signature": "", "code": "400"} in labels
    assert v1 | {"model": "unknown", "version": "", "signature": "", "code": "404"} in labels
    assert {"protocol": "http", "endpoint": "other", "code": "404"}.items() <= labels[-1].items()
    assert 'kiln_in_flight_requests{protocol="http"} 1.0' in text
    assert "made-up" not in text
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.startswith("kiln_") for line in samples)


@pytest.mark.parametrize("given", ["abc", "A.b-c_9", "x" * 128])
def test_a_sane_request_id_is_echoed(client, given):
    assert client.get("/v1/models", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "a b", "é", "x" * 129, "a;b", None])
def test_another_request_id_is_replaced(client, given):
    headers = {} if given is None else {"X-Request-ID": given}
    assert re.fullmatch("[0-9a-f]{16}", client.get("/nothing", headers=headers).headers["X-Request-ID"])


def test_predictions_that_succeed_are_logged_when_debugging_only(client, caplog):
    caplog.set_level(logging.INFO, "service")
    for _ in range(3):
        assert client.post("/v1/models/echo:predict", json={"instances": [[1, 2, 3]]}).status_code == 200
    assert not caplog.records
    client.post("/v1/models/echo:predict", json={})
    assert [entry.fields["status"] for entry in caplog.records] == [400]


def test_a_request_is_logged_in_one_json_line(client, caplog):
    caplog.set_level(logging.DEBUG, "service.http.request_context")
    client.post("/v1/models/echo:predict", json={"instances": [[1, 2, 3]]}, headers={"X-Request-ID": "id-1"})
    [entry] = caplog.records
    line = JsonFormatter().format(entry)
    assert "\n" not in line
    fields = json.loads(line)
    assert 0 <= fields.pop("duration_seconds") < 5
    assert {key: fields[key] for key in ("level", "request_id", "method", "path", "status", "model", "rows")} == {
        "level": "debug",
        "request_id": "id-1",
        "method": "POST",
        "path": "/v1/models/echo:predict",
        "status": 200,
        "model": "echo",
        "rows": 1,
    }


def test_a_path_cannot_pose_as_a_line_of_the_log(client, caplog):
    caplog.set_level(logging.INFO, "service")
    client.get("/a%0A2026-01-01 error forged")
    [entry] = caplog.records
    assert "\n" not in JsonFormatter().format(entry)
    assert "\n" not in TextFormatter().format(entry)


def test_where_there_are_probes_only_a_wrong_path_is_told_which(models, fake_model):
    client = create_admin_app(Settings(), fake_repository(models, fake_model)).test_client()
    answer = client.get("/v1/models")
    assert answer.status_code == 404
    assert answer.get_json() == {
        "error": "There is nothing at /v1/models. Paths: /metrics, /v2/health/live, /v2/health/ready."
    }
