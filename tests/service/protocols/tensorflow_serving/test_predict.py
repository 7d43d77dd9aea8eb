"""What right requests to `:predict` answer."""

import base64

import numpy as np
import pytest


def predict(client, body, path="/v1/models/echo:predict"):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    return response.get_json()


ANSWERS = {
    "rows": ({"instances": [[1, 2.5, -3]]}, {"predictions": [[1.0, 2.5, -3.0]]}),
    "rows as objects": ({"instances": [{"x": [1, 2, 3]}]}, {"predictions": [[1.0, 2.0, 3.0]]}),
    "columns": ({"inputs": [[1, 2, 3]]}, {"outputs": [[1.0, 2.0, 3.0]]}),
    "columns by name": ({"inputs": {"x": [[1, 2, 3]], "extra": 0}}, {"outputs": [[1.0, 2.0, 3.0]]}),
    "several inputs in rows": (
        {"signature_name": "two", "instances": [{"a": [1, 2], "b": 3}, {"b": 4, "a": [0.5, 0]}]},
        {"predictions": [{"sum": 3.0, "b": 3}, {"sum": 0.5, "b": 4}]},
    ),
    "several inputs in columns": (
        {"signature_name": "two", "inputs": {"a": [[1, 2]], "b": [3]}},
        {"outputs": {"sum": [3.0], "b": [3]}},
    ),
    "strings and bytes": (
        {"signature_name": "texts", "instances": ["é", {"b64": base64.b64encode(b"\xff").decode()}]},
        {
            "predictions": [
                {"text": "é", "text_bytes": {"b64": "w6k="}},
                {"text": {"b64": "/w=="}, "text_bytes": {"b64": "/w=="}},
            ]
        },
    ),
    "base64 without padding": (
        {"signature_name": "texts", "inputs": [{"b64": "w6k"}]},
        {"outputs": {"text": ["é"], "text_bytes": [{"b64": "w6k="}]}},
    ),
    "base64 with line breaks and blanks": (
        {"signature_name": "texts", "inputs": [{"b64": " w\r\n6\tk=\n"}]},
        {"outputs": {"text": ["é"], "text_bytes": [{"b64": "w6k="}]}},
    ),
    "bytes by name": (
        {"signature_name": "texts", "instances": [{"text": {"b64": "YQ=="}}]},
        {"predictions": [{"text": "a", "text_bytes": {"b64": "YQ=="}}]},
    ),
    "small integers": (
        {"signature_name": "pixels", "instances": [[[0, 255], [1, 2]]]},
        {"predictions": [[[0, 255], [1, 2]]]},
    ),
    "bools": ({"signature_name": "flags", "instances": [[True, False]]}, {"predictions": [[True, False]]}),
    "no signature name is the default": ({"signature_name": "", "inputs": [[1, 2, 3]]}, {"outputs": [[1.0, 2.0, 3.0]]}),
    "a scalar in columns": ({"signature_name": "any", "inputs": 1}, {"outputs": 1.0}),
    "any rank": ({"signature_name": "any", "inputs": [[[[1]]]]}, {"outputs": [[[[1.0]]]]}),
    "no rows in columns": ({"signature_name": "any", "inputs": []}, {"outputs": []}),
    "an output without batch": ({"signature_name": "scalar", "inputs": [1, 2]}, {"outputs": 3.0}),
    "true elsewhere in the body": ({"instances": [[1, 2, 3]], "note": True}, {"predictions": [[1.0, 2.0, 3.0]]}),
}


@pytest.mark.parametrize(("body", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_a_right_request_is_answered(client, body, answer):
    assert predict(client, body) == answer


def test_answers_are_the_models_float32_numbers(client):
    scales = 10.0 ** np.arange(-20, 30)[:, None]
    rows = (np.random.default_rng(1).normal(size=(50, 3)) * scales).astype(np.float32)
    answer = predict(client, {"instances": rows.astype(float).tolist()})
    np.testing.assert_array_equal(np.array(answer["predictions"], np.float32), rows)


def test_a_version_is_asked_by_number(client):
    assert predict(client, {"instances": [[1, 2, 3]]}, "/v1/models/echo/versions/2:predict")


def test_paths_are_matched_without_regard_to_case(client):
    assert predict(client, {"instances": [[1, 2, 3]]}, "/V1/Models/echo/VERSIONS/2:Predict")
    assert client.post("/v1/models/Echo:predict", json={}).status_code == 404


def test_any_content_type_is_read_as_json(client):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = client.post("/v1/models/echo:predict", data=b'{"inputs":[[1,2,3]]}', content_type=content_type)
        assert response.get_json() == {"outputs": [[1.0, 2.0, 3.0]]}
