"""TensorFlow Serving's gRPC GetModelStatus and HandleReloadConfigRequest, and who may call what."""

import time

import pytest

from service.auth import Access
from service.protocols.grpc.exchange import is_local_peer
from tests.service.grpc_fleet import make, refusal, serving

AVAILABLE, END, UNKNOWN_ERROR = 30, 50, 2


@pytest.fixture
def folder(tmp_path, make_version):
    folder = tmp_path / "models"
    for number in (1, 2, 3):
        make_version(folder / "echo", number)
    make_version(folder / "mixed", 1)
    make_version(folder / "mixed", 2, broken=True)
    return folder


def status_request(name, version=None, label=""):
    request = make("get_model_status.GetModelStatusRequest")
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    return request


def states(client, *arguments, **options):
    response = client.models.GetModelStatus(status_request(*arguments, **options))
    return [(entry.version, entry.state) for entry in response.model_version_status]


def test_states_are_told_newest_first(folder):
    with serving(folder) as (_, engine, client):
        engine.set_label("mixed", "good", 1)
        assert states(client, "mixed") == [(2, END), (1, AVAILABLE)]
        assert states(client, "mixed", 1) == [(1, AVAILABLE)]
        assert states(client, "mixed", label="good") == [(1, AVAILABLE)]
        response = client.models.GetModelStatus(status_request("mixed", 2))
        status = response.model_version_status[0].status
        assert (status.error_code, status.error_message) == (UNKNOWN_ERROR, "OSError: variables are missing")
        for request, code, sentence in (
            (make("get_model_status.GetModelStatusRequest"), "INVALID_ARGUMENT", "Missing ModelSpec"),
            (status_request("no"), "NOT_FOUND", "Could not find any versions of model no"),
            (status_request("mixed", 9), "NOT_FOUND", "Could not find version 9 of model mixed"),
            (status_request("mixed", label="x"), "INVALID_ARGUMENT", "Unrecognized servable version label: x."),
        ):
            actual, details = refusal(client.models.GetModelStatus, request)
            assert actual == code
            assert details.startswith(sentence)


def reload_request(*entries):
    request = make("model_management.ReloadConfigRequest")
    request.config.model_config_list.SetInParent()
    for entry in entries:
        request.config.model_config_list.config.add(**{"model_platform": "tensorflow"} | entry)
    return request


def test_exactly_the_listed_models_are_served(folder):
    with serving(folder, latest=1) as (_, _, client):
        assert states(client, "echo") == [(3, AVAILABLE)]
        response = client.models.HandleReloadConfigRequest(
            reload_request(
                {
                    "name": "echo",
                    "base_path": str(folder / "echo"),
                    "model_version_policy": {"specific": {"versions": [1, 3]}},
                    "version_labels": {"stable": 1},
                }
            )
        )
        assert (response.status.error_code, response.status.error_message) == (0, "")
        assert states(client, "echo") == [(3, AVAILABLE), (1, AVAILABLE)]
        assert states(client, "echo", label="stable") == [(1, AVAILABLE)]
        assert refusal(client.models.GetModelStatus, status_request("mixed"))[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("policy", "versions"),
    [({}, [3]), ({"latest": {}}, [3]), ({"latest": {"num_versions": 2}}, [3, 2]), ({"all": {}}, [3, 2, 1])],
)
def test_a_policy_chooses_the_versions(folder, policy, versions):
    with serving(folder) as (_, _, client):
        entry = {"name": "echo", "base_path": "echo", "model_version_policy": policy}
        client.models.HandleReloadConfigRequest(reload_request(entry))
        assert [number for number, _ in states(client, "echo")] == versions


@pytest.mark.parametrize(
    ("entries", "code", "sentence"),
    [
        ([{"name": "echo", "base_path": "/elsewhere/echo"}], "INVALID_ARGUMENT", "The base_path of model 'echo' is '/"),
        ([{"name": "echo", "base_path": "mixed"}], "INVALID_ARGUMENT", "The base_path of model 'echo' is 'mixed'"),
        ([{"name": "../x", "base_path": "../x"}], "INVALID_ARGUMENT", "The base_path of model '../x' is '../x'"),
        ([{"name": "echo", "base_path": "echo"}] * 2, "INVALID_ARGUMENT", "Illegal to list model echo multiple times"),
        (
            [{"name": "echo", "base_path": "echo", "model_platform": ""}], "INVALID_ARGUMENT",
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor",
        ),
        (
            [{"name": "echo", "base_path": "echo", "model_platform": "tensorrt"}], "INVALID_ARGUMENT",
            "Model echo requests unsupported platform tensorrt. Supported: tensorflow",
        ),
        (
            [{"name": "echo", "base_path": "echo", "model_version_policy": {"specific": {}}}], "INVALID_ARGUMENT",
            "The specific version policy of model 'echo' names no version.",
        ),
        (
            [{"name": "echo", "base_path": "echo", "version_labels": {"x": 1}}], "FAILED_PRECONDITION",
            "Label 'x' of model 'echo' names version 1",
        ),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_served_are_refused(folder, entries, code, sentence):
    with serving(folder) as (_, _, client):
        actual, details = refusal(client.models.HandleReloadConfigRequest, reload_request(*entries))
        assert actual == code
        assert details.startswith(sentence)


def test_a_configuration_may_take_as_long_as_its_models_take_to_be_loaded(folder, monkeypatch):
    with serving(folder, timeout_seconds=1) as (_, engine, client):
        configure = engine.configure
        monkeypatch.setattr(engine, "configure", lambda *given: (time.sleep(2), configure(*given)))
        entry = reload_request({"name": "echo", "base_path": "echo"})
        assert client.models.HandleReloadConfigRequest(entry, timeout=30).status.error_code == 0


def test_a_configuration_is_a_list_of_models(folder):
    with serving(folder) as (_, _, client):
        code, details = refusal(client.models.HandleReloadConfigRequest, make("model_management.ReloadConfigRequest"))
        assert code == "INVALID_ARGUMENT"
        assert details.startswith("ServerModelConfig type not supported by HandleReloadConfigRequest.")


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


def test_tokens_have_scopes(folder, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("predict reader\nadmin chief\n")
    with serving(folder, access=Access(tokens)) as (_, _, client):
        status, configure = client.models.GetModelStatus, client.models.HandleReloadConfigRequest
        entry = reload_request({"name": "echo", "base_path": "echo"})
        assert refusal(status, status_request("echo"))[0] == "UNAUTHENTICATED"
        assert refusal(status, status_request("echo"), metadata=bearer("wrong"))[0] == "UNAUTHENTICATED"
        assert refusal(configure, entry, metadata=bearer("reader"))[0] == "PERMISSION_DENIED"
        assert status(status_request("echo"), metadata=bearer("reader")).model_version_status
        assert configure(entry, metadata=bearer("chief")).status.error_code == 0


def test_without_tokens_administration_is_for_this_machine_only(folder):
    with serving(folder) as (_, _, client):
        entry = reload_request({"name": "echo", "base_path": "echo"})
        configure = client.models.HandleReloadConfigRequest
        # What comes from a proxy on this machine may come from anywhere.
        code, details = refusal(configure, entry, metadata=(("x-forwarded-for", "1.2.3.4"),))
        assert code == "PERMISSION_DENIED"
        assert "administration is for this machine only" in details
        assert configure(entry).status.error_code == 0


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        ("ipv4:127.0.0.1:50000", True),
        ("ipv6:%5B::1%5D:50000", True),
        ("ipv6:[::ffff:127.0.0.1]:50000", True),
        ("unix:/run/x.sock", True),
        ("ipv4:10.0.0.1:50000", False),
        ("ipv6:%5B2001:db8::1%5D:50000", False),
        ("", False),
    ],
)
def test_local_peers_are_known_by_their_address(peer, is_local):
    assert is_local_peer(peer) is is_local
