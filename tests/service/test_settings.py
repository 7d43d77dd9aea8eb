"""The environment as settings."""

import dataclasses
from pathlib import Path

import pytest

from service.errors import InvalidSettings
from service.processes.startup_banner import describe, shorten
from service.settings import Settings, describe_variables, variable_name
from tests.service.fake_engine import fake_repository

WRONG = {
    "KILN_PRT": ("80", "Unknown variable KILN_PRT. The service knows: KILN_HOST, KILN_PORT, "),
    "KILN_PORT": ("eighty", "KILN_PORT is 'eighty': expected a whole number from 1 to 65535."),
    "KILN_HOST": ("a b", "KILN_HOST is 'a b': expected an address such as 127.0.0.1"),
    "KILN_WORKERS": ("0", "KILN_WORKERS is '0': expected a whole number from 1 to 64."),
    "KILN_THREADS": ("1e3", "KILN_THREADS is '1e3': expected a whole number"),
    "KILN_MODELS": ("a,,b", "KILN_MODELS is 'a,,b': expected names of models separated by commas."),
    "KILN_VERSIONS": ("newest", "KILN_VERSIONS is 'newest': expected latest, latest:N (the N newest) or all."),
    "KILN_MAX_BODY_BYTES": ("32MB", "KILN_MAX_BODY_BYTES is '32MB'"),
    "KILN_LOG_LEVEL": ("loud", "expected one of: debug, info, warning, error."),
    "KILN_LOG_FORMAT": ("xml", "expected one of: auto, json, text."),
}


@pytest.mark.parametrize(("name", "text", "sentence"), [(name, *rest) for name, rest in WRONG.items()], ids=list(WRONG))
def test_a_wrong_variable_is_refused_with_a_sentence(name, text, sentence):
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({name: text})
    assert sentence in str(caught.value)


TOGETHER = {
    "certificate alone": (
        {"KILN_GRPC_TLS_CERTIFICATE": "/tls/tls.crt"},
        "KILN_GRPC_TLS_CERTIFICATE is set without KILN_GRPC_TLS_KEY. Set both for TLS, or neither for plain gRPC.",
    ),
    "key alone": (
        {"KILN_GRPC_TLS_KEY": "/tls/tls.key"},
        "KILN_GRPC_TLS_KEY is set without KILN_GRPC_TLS_CERTIFICATE. Set both for TLS, or neither for plain gRPC.",
    ),
    "fleet without models": (
        {"KILN_TENSORFLOW_SERVING": "serving:8500"},
        "KILN_TENSORFLOW_SERVING is set without KILN_MODELS. TensorFlow Serving does not say which models it has: "
        "name them, separated by commas.",
    ),
}


@pytest.mark.parametrize(("environment", "sentence"), list(TOGETHER.values()), ids=list(TOGETHER))
def test_variables_that_need_each_other_are_refused_alone(environment, sentence):
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env(environment)
    assert str(caught.value) == sentence


def test_variables_that_need_each_other_are_taken_together():
    settings = Settings.from_env(
        {
            "KILN_GRPC_TLS_CERTIFICATE": "/tls/tls.crt",
            "KILN_GRPC_TLS_KEY": "/tls/tls.key",
            "KILN_TENSORFLOW_SERVING": "serving:8500, other:8500",
            "KILN_MODELS": "digits",
        }
    )
    assert (settings.grpc_tls_certificate, settings.grpc_tls_key) == (Path("/tls/tls.crt"), Path("/tls/tls.key"))
    assert settings.tensorflow_serving == ("serving:8500", "other:8500")


def test_an_address_set_by_kubernetes_is_explained():
    with pytest.raises(InvalidSettings, match="enableServiceLinks: false"):
        Settings.from_env({"KILN_PORT": "tcp://10.0.0.1:8080"})


def test_variables_are_read_and_those_of_others_ignored():
    settings = Settings.from_env(
        {
            "KILN_PORT": "81",
            "KILN_MODELS": "digits, diabetes",
            "KILN_MODEL_REPOSITORY": "/models",
            "KILN_LOG_LEVEL": "",
            "KILN_DATA_MIRROR": "/data",
            "PATH": "/bin",
        }
    )
    expected = Settings(port=81, models=("digits", "diabetes"), model_repository=Path("/models"))
    assert settings == expected


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://127.0.0.1:8080"), ("::", "http://[::1]:8080"), ("kiln.local", "http://kiln.local:8080")],
)
def test_the_address_can_be_opened_on_this_machine(host, address):
    assert Settings.from_env({"KILN_HOST": host}).address == address


def test_every_variable_is_described():
    table = describe_variables()
    for field in dataclasses.fields(Settings):
        assert variable_name(field.name) in table
        assert field.metadata["description"].endswith(".")


def test_the_announcement_has_a_command_made_from_an_example(models, fake_model):
    repository = fake_repository(models, fake_model)
    lines = describe(Settings(), repository)
    assert lines[0] == "Kiln serves echo, named on http://127.0.0.1:8080"
    assert (
        "  curl http://127.0.0.1:8080/v1/models/named:predict "
        """-d '{"signature_name":"serving_default","instances":[[1,2.5,3]]}'"""
    ) in lines


def test_the_announcement_names_what_is_not_served(models, fake_model, make_version):
    make_version(models / "bad", 1, broken=True)
    repository = fake_repository(models, fake_model, ("bad",))
    assert describe(Settings(), repository) == [
        "Not served: bad: version 1 is in state END",
        "Not served: bad version 1: OSError: variables are missing",
        "Kiln listens on http://127.0.0.1:8080 without a model to serve.",
    ]


def test_the_announcement_names_entries_that_are_no_models_without_control_characters(models, fake_model):
    repository = fake_repository(models, fake_model)
    problems = {"flat": "needs a folder", "a": "is not\x1b[31m good"}
    catalog = dataclasses.replace(repository.engine.catalog(), problems=problems)
    repository.engine.catalog = lambda: catalog
    lines = describe(Settings(), repository)
    assert lines[:2] == ["Not served: flat: needs a folder", "Not served: a: is not\\x1b[31m good"]


def test_whole_numbers_lose_their_point():
    assert shorten([1.0, 2.5, {"a": 3.0}, "x", True]) == [1, 2.5, {"a": 3}, "x", True]
