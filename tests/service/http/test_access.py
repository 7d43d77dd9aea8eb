"""Tokens, scopes and this machine's own requests."""

import functools
import logging
import os
import re
import timeit

import pytest
from openapi_spec_validator import validate
from werkzeug.test import EnvironBuilder

from service import auth
from service.app import create_app
from service.auth import Access, is_loopback, parse_tokens
from service.errors import Forbidden, Unauthorized
from service.http.access import OPEN, SCOPES, Authorizer
from service.openapi.document import build_document
from service.openapi.security import scope_of
from service.settings import Settings

TOKENS = """\
# who: what they use
predict           alpha-1
predict,metrics   beta-2

metrics\t  gamma-3
  admin delta-4==
"""
ALLOWED = {
    "alpha-1": {"predict"},
    "beta-2": {"predict", "metrics"},
    "gamma-3": {"metrics"},
    "delta-4==": {"predict", "metrics", "admin"},
}
PREDICT = {"path": "/v1/models/echo:predict", "method": "POST", "json": {"instances": [[1.0, 2.0, 3.0]]}}
ELSEWHERE = {"REMOTE_ADDR": "10.1.2.3"}


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "tokens"
    file.write_text(TOKENS)
    return file


@pytest.fixture
def guarded(repository, token_file):
    """A client of a service with a token file."""
    return create_app(Settings(token_file=token_file), repository).test_client()


@pytest.fixture
def look_always(monkeypatch):
    """The file is looked at for every request, so that no test waits."""
    monkeypatch.setattr(auth, "RELOAD_SECONDS", 0.0)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def passes(access, scope, token):
    try:
        access.check(scope, f"Bearer {token}", from_loopback=False)
    except (Unauthorized, Forbidden):
        return False
    return True


@pytest.mark.parametrize("scope", sorted(auth.SCOPES))
@pytest.mark.parametrize("token", ALLOWED)
def test_a_token_allows_its_scopes_and_admin_allows_all(token_file, token, scope):
    assert passes(Access(token_file), scope, token) is (scope in ALLOWED[token])


@pytest.mark.parametrize(
    "header",
    [None, "", "alpha-1", "Basic YTpi", "Bearer", "Bearer ", "Bearer alpha-1 beta-2", "Bearer alpha-1, Bearer beta-2"],
)
def test_a_request_without_a_token_is_told_how_to_send_one(token_file, header):
    with pytest.raises(Unauthorized) as caught:
        Access(token_file).check("predict", header, from_loopback=True)
    assert str(caught.value) == "A token is needed. Send it as the header 'Authorization: Bearer TOKEN'."


@pytest.mark.parametrize("token", ["alpha", "alpha-11", "ALPHA-1", "predict", "#", "é", "\udc80", "0" * 10_000])
def test_an_unknown_token_is_refused(token_file, token):
    with pytest.raises(Unauthorized) as caught:
        Access(token_file).check("predict", f"Bearer {token}", from_loopback=True)
    assert str(caught.value) == "The token is not known. Send one that is valid as 'Authorization: Bearer TOKEN'."


@pytest.mark.parametrize("header", ["bearer alpha-1", "BEARER  alpha-1 "])
def test_the_scheme_has_no_case(token_file, header):
    Access(token_file).check("predict", header, from_loopback=False)


def test_a_token_of_another_scope_is_forbidden(token_file):
    with pytest.raises(Forbidden) as caught:
        Access(token_file).check("admin", "Bearer beta-2", from_loopback=True)
    assert str(caught.value) == "The token does not allow this. It needs scope admin and has: metrics, predict."


def test_a_token_on_several_lines_has_the_scopes_of_all():
    [(_, scopes)] = parse_tokens("predict one\nmetrics one")
    assert scopes == {"predict", "metrics"}


WRONG_FILES = {
    "unknown scope": (b"predict one\nread two\n", "line 2: expected scopes and a token"),
    "scope and token exchanged": (b"s3cret predict", "line 1: expected scopes and a token"),
    "token alone": (b"s3cret\n", "line 1: expected scopes and a token"),
    "three words": (b"predict s3cret three\n", "line 1: expected scopes and a token"),
    "what no header carries": ("predict s3crét\n".encode(), "line 1: expected scopes and a token"),
    "nothing": (b"", "there is no token in it"),
    "comments only": (b"# predict s3cret\n\n", "there is no token in it"),
    "not text": (b"predict s3cret\xff\n", "it is not UTF-8 text"),
}


@pytest.mark.parametrize(("content", "reason"), list(WRONG_FILES.values()), ids=list(WRONG_FILES))
def test_a_wrong_file_refuses_everything_and_is_reported_without_its_tokens(token_file, caplog, content, reason):
    token_file.write_bytes(content)
    access = Access(token_file)
    for scope in auth.SCOPES:
        for token in ("s3cret", "predict", ""):
            with pytest.raises(Unauthorized):
                access.check(scope, f"Bearer {token}", from_loopback=True)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message == "The token file cannot be used; EVERY REQUEST IS REFUSED until it can"
    assert reason in record.fields["reason"]
    assert "s3cr" not in str(record.__dict__)


@pytest.mark.usefixtures("look_always")
def test_a_file_that_is_missing_at_the_start_opens_nothing_and_is_taken_when_it_comes(tmp_path, caplog):
    file = tmp_path / "tokens"
    access = Access(file)
    assert not any(passes(access, scope, token) for scope in auth.SCOPES for token in ("one", ""))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "No such file" in caplog.records[0].fields["reason"]
    file.write_text("predict one")
    assert passes(access, "predict", "one")


@pytest.mark.usefixtures("look_always")
def test_tokens_are_replaced_when_the_file_changes(token_file):
    access = Access(token_file)
    stat = token_file.stat()
    changed = TOKENS.replace("alpha-1", "alpha-9")
    token_file.write_text(changed)
    os.utime(token_file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert passes(access, "predict", "alpha-9")
    assert not passes(access, "predict", "alpha-1")


@pytest.mark.usefixtures("look_always")
def test_a_secret_mount_that_swaps_its_link_is_followed(tmp_path):
    """As the kubelet does: `tokens` -> `..data/tokens`, and `..data` is renamed over."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "tokens").write_text(f"predict token-{number}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "tokens").symlink_to("..data/tokens")
    access = Access(tmp_path / "tokens")
    assert passes(access, "predict", "token-1")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert passes(access, "predict", "token-2")
    assert not passes(access, "predict", "token-1")


@pytest.mark.usefixtures("look_always")
def test_a_file_that_becomes_unusable_keeps_the_last_tokens_with_one_warning(token_file, caplog):
    access = Access(token_file)
    token_file.write_text("predict\n")
    assert all(passes(access, "predict", "alpha-1") for _ in range(3))
    token_file.unlink()
    assert all(passes(access, "predict", "alpha-1") for _ in range(3))
    assert not passes(access, "predict", "other")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert caplog.records[0].message == ("The token file cannot be used; the tokens that were read before stay valid")
    token_file.write_text("predict other")
    assert passes(access, "predict", "other")
    assert not passes(access, "predict", "alpha-1")


def test_the_file_is_looked_at_once_a_second_at_most(token_file, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(auth.time, "monotonic", lambda: clock[0])
    access = Access(token_file)
    token_file.write_text("predict other")
    clock[0] += 0.9
    assert not passes(access, "predict", "other")
    clock[0] += 0.2
    assert passes(access, "predict", "other")


@pytest.mark.parametrize("scope", ["predict", "metrics"])
def test_without_a_file_predictions_and_metrics_are_open(scope):
    Access(None).check(scope, None, from_loopback=False)


def test_without_a_file_administration_is_for_this_machine():
    Access(None).check("admin", None, from_loopback=True)
    with pytest.raises(Forbidden, match="Without tokens, administration is for this machine only"):
        Access(None).check("admin", "Bearer any", from_loopback=False)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_loopback_addresses(address, expected):
    assert is_loopback(address) is expected


# Every route and what it needs. A new one must be entered here, on purpose.
ROUTES = {
    "admin": {
        "open_inference.load_model",
        "open_inference.unload_model",
        "tensorflow_serving.set_label",
        "tensorflow_serving.remove_label",
    },
    "metrics": {"health.metrics"},
    OPEN: {"health.live", "health.ready", "pages.index", "pages.docs", "pages.swagger_file", "pages.openapi"}
    | {"pages.static"},
}


def test_only_known_routes_are_open_or_have_a_scope_of_their_own(app):
    assert {scope: {name for name, own in SCOPES.items() if own == scope} for scope in ROUTES} == ROUTES
    assert set(SCOPES) <= set(app.view_functions)


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/pages/page.js", "/v2/health/live", "/v2/health/ready"],
)
def test_pages_and_probes_need_no_token(guarded, path):
    with guarded.get(path) as response:
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/echo"),
        ("GET", "/v1/models/echo/metadata"),
        ("POST", "/v1/models/echo:predict"),
        ("POST", "/V1/Models/echo:Predict"),
        ("GET", "/v1/models/none"),
        ("GET", "/v1/nothing"),
        ("GET", "/nothing"),
        ("PUT", "/metrics"),
        ("GET", "/metrics"),
    ],
)
def test_everything_else_needs_one(guarded, method, path):
    response = guarded.open(path, method=method)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="kiln"'
    assert response.json == {"error": "A token is needed. Send it as the header 'Authorization: Bearer TOKEN'."}


def test_a_prediction_is_answered_with_its_token(guarded):
    assert guarded.open(**PREDICT, headers=bearer("alpha-1")).status_code == 200
    response = guarded.open(**PREDICT, headers=bearer("gamma-3"))
    assert (response.status_code, response.json) == (
        403,
        {"error": "The token does not allow this. It needs scope predict and has: metrics."},
    )
    assert "WWW-Authenticate" not in response.headers


def test_metrics_have_a_scope_of_their_own(guarded):
    assert guarded.get("/metrics", headers=bearer("gamma-3")).status_code == 200
    assert guarded.get("/metrics", headers=bearer("alpha-1")).status_code == 403


def test_refusals_are_counted_and_no_token_is_logged(guarded, caplog):
    caplog.set_level(logging.DEBUG)
    guarded.open(**PREDICT, headers=bearer("s3cret-unknown"))
    guarded.open(**PREDICT, headers=bearer("alpha-1"))
    answered = [record.fields for record in caplog.records if record.message == "Request answered"]
    assert [fields["status"] for fields in answered] == [401, 200]
    assert not any(token in str(record.__dict__) for record in caplog.records for token in ("s3cret", "alpha-1"))
    text = guarded.get("/metrics", headers=bearer("gamma-3")).text
    assert re.search(r'kiln_requests_total{[^}]*code="401"[^}]*endpoint="tensorflow_serving.predict"[^}]*} 1.0', text)


def test_a_preflight_carries_no_token_and_needs_none(guarded):
    assert guarded.options("/v1/models/echo:predict").status_code == 200


def test_the_front_page_names_no_models_to_strangers(guarded, client):
    assert "echo" not in guarded.get("/").text
    assert "echo" in client.get("/").text


LOAD = "/v2/repository/models/echo/load"
DIRECT = [
    ({}, {}),
    ({}, {"Host": "127.0.0.1:8080"}),
    ({}, {"Host": "[::1]:8080"}),
    ({"REMOTE_ADDR": "::1"}, {}),
    ({"REMOTE_ADDR": "::ffff:127.0.0.1"}, {}),
    ({}, {"Host": "localhost:8080", "Origin": "http://localhost:8080"}),
]
INDIRECT = [
    (ELSEWHERE, {}),
    (ELSEWHERE, {"X-Forwarded-For": "127.0.0.1"}),
    ({}, {"X-Forwarded-For": "127.0.0.1"}),
    ({}, {"Forwarded": "for=127.0.0.1"}),
    ({}, {"Via": "1.1 proxy"}),
    ({}, {"X-Real-IP": "127.0.0.1"}),
    ({}, {"Host": "kiln.example"}),
    ({}, {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}),
    ({}, {"Origin": "http://evil.example"}),
    ({}, {"Origin": "null"}),
    ({"REMOTE_ADDR": ""}, {}),
]


@pytest.mark.parametrize(("environ", "headers"), DIRECT)
def test_a_program_on_this_machine_administers_without_tokens(client, environ, headers):
    assert client.post(LOAD, environ_base=environ, headers=headers).status_code == 200


@pytest.mark.parametrize(("environ", "headers"), INDIRECT)
def test_nobody_else_does(client, environ, headers):
    response = client.post(LOAD, environ_base=environ, headers=headers)
    assert response.status_code == 403
    assert response.json["error"].startswith("Without tokens, administration is for this machine only")
    assert client.open(**PREDICT, environ_base=environ, headers=headers).status_code == 200


def test_with_tokens_this_machine_needs_one_too(guarded):
    assert guarded.post(LOAD).status_code == 401
    assert guarded.post(LOAD, headers=bearer("alpha-1")).status_code == 403
    assert guarded.post(LOAD, headers=bearer("delta-4=="), environ_base=ELSEWHERE).status_code == 200


def test_the_check_costs_next_to_nothing_where_no_tokens_are_configured():
    environ = EnvironBuilder("/v1/models/echo:predict", method="POST").get_environ()
    check = functools.partial(Authorizer(Access(None)).authorize, "tensorflow_serving.predict", environ)
    seconds = min(timeit.repeat(check, number=1000, repeat=20)) / 1000
    assert seconds < 3e-6  # 0.3 us where nothing else runs


def test_the_document_states_the_scope_of_every_route(app):
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            expected = SCOPES.get(rule.endpoint, "predict")
            if not rule.endpoint.startswith("pages.") or path == "/openapi.json":
                assert scope_of(path, method.lower()) == ("" if expected == OPEN else expected), path


@pytest.mark.parametrize("has_tokens", [False, True])
def test_the_document_with_its_refusals_is_valid(has_tokens, tmp_path):
    document = build_document(Settings(token_file=tmp_path / "tokens" if has_tokens else None))
    validate(document)
    codes = document["paths"]["/metrics"]["get"]["responses"]
    assert ({"401", "403"} <= set(codes)) is has_tokens
    assert ("securitySchemes" in document["components"]) is has_tokens
