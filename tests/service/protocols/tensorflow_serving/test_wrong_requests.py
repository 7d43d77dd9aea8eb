"""What wrong requests answer: a status of the 4xx kind and a sentence that names the offender."""

import pytest

WRONG_BODIES = {
    "empty": (b"", 400, "JSON Parse error: The document is empty"),
    "blank": (b" \n", 400, "JSON Parse error: The document is empty"),
    "no JSON": (b"hello", 400, "JSON Parse error: Invalid value. at offset: 0"),
    "cut short": (b'{"instances": [[1, 2', 400, "JSON Parse error: Invalid value. at offset: 20"),
    "trailing data": (b'{"instances": [[1,2,3]]} x', 400, "at offset: 25 (unexpected content after document)"),
    "NaN": (b'{"instances": [[NaN,2,3]]}', 400, "NaN and Infinity are not JSON; numbers must be finite. at offset: 16"),
    "infinity": (b'{"instances": [[-Infinity,2,3]]}', 400, "NaN and Infinity are not JSON"),
    "huge number": (b'{"instances": [[1e999,2,3]]}', 400, "number is infinity when parsed as double"),
    "not UTF-8": (b'{"instances": ["\xff"]}', 400, "not valid UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf{}", 400, "byte order mark"),
    "too deep": (b'{"instances":' + b"[" * 3000, 400, "depth limit exceeded"),
    "deeper than tensors are": (b'{"inputs":' + b"[" * 500 + b"]" * 500 + b"}", 400, "nested deeper than 32 levels"),
    "deep row": (b'{"instances":[' + b"[" * 500 + b"]" * 500 + b"]}", 400, "nested deeper than 32 levels"),
    "deep elsewhere": (b'{"signature_name":' + b"[" * 900 + b"]" * 900 + b"}", 400, "JSON Value: {...} not formatted"),
    "too large": (b'{"instances": [' + b"1," * 6000 + b"1]}", 413, "larger than the 10000 bytes that are accepted"),
    "a list": (b"[1, 2]", 400, "JSON Value: [1,2] Is not object"),
    "a number": (b"1", 400, "JSON Value: 1 Is not object"),
    "null": (b"null", 400, "JSON Value: null Is not object"),
}
WRONG_VALUES = {
    "signature name no string": ({"signature_name": 3}, 400, "'signature_name' key must be a string value."),
    "signature name null": (
        {"signature_name": None, "inputs": []},
        400,
        "'signature_name' key must be a string value.",
    ),
    "unknown signature": (
        {"signature_name": "clasify", "inputs": 1},
        400,
        'Serving signature name: "clasify" not found in signature def. Signatures: any, breaks',
    ),
    "neither key": ({}, 400, "Missing 'inputs' or 'instances' key"),
    "both keys": ({"inputs": [], "instances": []}, 400, "expecting only one of 'inputs' or 'instances' keys to exist "),
    "instances no list": ({"instances": {"x": 1}}, 400, "Expecting 'instances' to be an list/array"),
    "no instances": ({"instances": []}, 400, "No values in 'instances' array"),
    "plain rows for two inputs": (
        {"signature_name": "two", "instances": [[1, 2]]},
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors required",
    ),
    "object after lists": ({"instances": [[1, 2, 3], {"x": [1, 2, 3]}]}, 400, "but got object at item 1 of input list"),
    "list after objects": ({"instances": [{"x": [1, 2, 3]}, [1]]}, 400, "Expecting object but got list at item 1"),
    "value after objects": ({"instances": [{"x": [1, 2, 3]}, 1]}, 400, "Expecting object but got value at item 1"),
    "missing key": (
        {"signature_name": "two", "instances": [{"a": [1, 2], "b": 1}, {"a": [1, 2]}]},
        400,
        "Failed to process element: 1 of 'instances' list. JSON object: {\"a\":[1,2]} keys must be equal to: a,b",
    ),
    "unknown key": (
        {"signature_name": "two", "instances": [{"a": [1, 2], "b": 1, "c": 1}]},
        400,
        "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: c",
    ),
    "string for a number": (
        {"instances": [[1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5, "6"]]},
        400,
        "Failed to process element: 3 of 'instances' list. Error: INVALID_ARGUMENT: "
        'JSON Value: "6" Type: String is not of expected type: float (at instances[3][2])',
    ),
    "null for a number": (
        {"instances": [[1, None, 3]]},
        400,
        "Type: Null is not of expected type: float (at instances",
    ),
    "bool for a number": (
        {"instances": [[1, True, 3]]},
        400,
        "Type: True is not of expected type: float (at instances",
    ),
    "number too large for float32": ({"instances": [[1, 1e39, 3]]}, 400, "1e+39 is out of range for type: float"),
    "object for a number": ({"instances": [[1, {}, 3]]}, 400, "Type: Object is not of expected type: float"),
    "point in an integer": (
        {"signature_name": "two", "instances": [{"a": [1, 2], "b": 1.0}]},
        400,
        "JSON Value: 1.0 Type: Number is not of expected type: int64 (at instances[0].b)",
    ),
    "integer beyond 64 bits": (
        {"signature_name": "two", "inputs": {"a": [[1, 2]], "b": [2**64]}},
        400,
        "expected type: int64",
    ),
    "integer beyond int64": ({"signature_name": "two", "inputs": {"a": [[1, 2]], "b": [2**63]}}, 400, "out of range"),
    "pixel above 255": (
        {"signature_name": "pixels", "instances": [[[0, 256], [0, 0]]]},
        400,
        "JSON Value: 256 is out of range for type: uint8, which holds 0 to 255 (at instances[0][0][1])",
    ),
    "pixel below 0": ({"signature_name": "pixels", "inputs": [[[0, -1], [0, 0]]]}, 400, "(at inputs[0][0][1])"),
    "1 for a bool": (
        {"signature_name": "flags", "inputs": [[1, True]]},
        400,
        "Type: Number is not of expected type: bool",
    ),
    "number for a string": ({"signature_name": "texts", "instances": [1]}, 400, "is not of expected type: string"),
    "wrong base64": (
        {"signature_name": "texts", "instances": [{"b64": "!"}]},
        400,
        "Unable to base64 decode (at instances",
    ),
    "base64 with half of its padding": (
        {"signature_name": "texts", "inputs": [{"b64": "YQ="}]},
        400,
        "Unable to base64 decode (at inputs[0])",
    ),
    "base64 with a blank that is not ASCII": (
        {"signature_name": "texts", "inputs": [{"b64": "YQ\u00a0=="}]},
        400,
        "Unable to base64 decode (at inputs[0])",
    ),
    "base64 no string": (
        {"signature_name": "texts", "instances": [{"b64": 1}]},
        400,
        "not formatted correctly for base64",
    ),
    "base64 with company": (
        {"signature_name": "texts", "inputs": [{"b64": "", "x": 1}]},
        400,
        "not formatted correctly for base64 data (at inputs[0])",
    ),
    "ragged inside a row": (
        {"signature_name": "pixels", "instances": [[[0, 0], [0]]]},
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2 (at instances[0][1])",
    ),
    "list for a value": ({"instances": [[1, [2], 3]]}, 400, "unexpected level: 1 expected < 1 (at instances[0][1])"),
    "value for a list": (
        {"signature_name": "pixels", "instances": [[[1, 1], 1]]},
        400,
        "found at incorrect level: 1 in the JSON",
    ),
    "rows of different sizes": (
        {"instances": [[1, 2, 3], [1, 2]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
        "Expecting tensor size: 3 but got: 2 (at instances[1])",
    ),
    "rows of different shapes": ({"instances": [[[1, 2]], [[1], [2]]]}, 400, "Expecting shape [1,2] but got: [2,1]"),
    "ragged columns": (
        {"inputs": [[1, 2, 3], [1, 2]]},
        400,
        "unexpected size: 2 at level: 1 expected size: 3 (at inputs[1])",
    ),
    "missing column": (
        {"signature_name": "two", "inputs": {"a": [[1, 2]]}},
        400,
        "Missing named input: b in 'inputs' object.",
    ),
    "bare value for two inputs": (
        {"signature_name": "two", "inputs": [1]},
        400,
        "inputs is a plain value/list, but expecting",
    ),
    "type without a JSON form, columns": (
        {"signature_name": "half", "inputs": [1]},
        501,
        "Conversion of JSON Value: [1] to type: half",
    ),
    "type without a JSON form, rows": (
        {"signature_name": "half", "instances": [1]},
        400,
        "UNIMPLEMENTED: Conversion of JSON Value: 1",
    ),
    "output without a batch": (
        {"signature_name": "scalar", "instances": [1]},
        400,
        "Tensor name: total has no shape information ",
    ),
    "outputs of unlike batches": (
        {"signature_name": "uneven", "instances": [1]},
        400,
        "Tensor name: twice has inconsistent batch size: 2 expecting: 1",
    ),
    "output that is infinite": (
        {"signature_name": "logarithm", "instances": [1, 0]},
        400,
        "not a finite number at y[1]",
    ),
    "refused by the graph": (
        {"signature_name": "refuses", "instances": [1]},
        400,
        "refused the inputs: Unknown image file format",
    ),
}
WRONG_PATHS = {
    "unknown model": ("POST", "/v1/models/mnits:predict", 404, "request: Latest(mnits). Models: echo, named."),
    "unknown version": (
        "POST",
        "/v1/models/echo/versions/99:predict",
        404,
        "request: Specific(echo, 99). Versions: 2.",
    ),
    "version beyond int64": (
        "POST",
        f"/v1/models/echo/versions/{2**63}:predict",
        400,
        "Failed to convert version: 9223",
    ),
    "version with many digits": (
        "GET",
        f"/v1/models/echo/versions/{'9' * 5000}",
        400,
        "Failed to convert version: 999",
    ),
    "version no number": (
        "POST",
        "/v1/models/echo/versions/x:predict",
        400,
        "Malformed request: POST /v1/models/echo/ver",
    ),
    "label": ("POST", "/v1/models/echo/labels/stable:predict", 400, "Unrecognized servable version label: stable"),
    "label's status": ("GET", "/v1/models/echo/labels/stable", 400, "Unrecognized servable version label: stable"),
    "unknown verb": ("POST", "/v1/models/echo:predikt", 400, "Malformed request: POST /v1/models/echo:predikt"),
    "no verb": ("POST", "/v1/models/echo", 400, "Malformed request: POST /v1/models/echo"),
    "no model": ("POST", "/v1/models", 400, "Malformed request: POST /v1/models"),
    "verb by GET": ("GET", "/v1/models/echo:predict", 400, "Malformed request: GET /v1/models/echo:predict"),
    "metadata by POST": ("POST", "/v1/models/echo/metadata", 400, "Malformed request: POST /v1/models/echo/metadata"),
    "deeper path": ("GET", "/v1/models/echo/versions/2/metadata/x", 400, "Malformed request: GET /v1/models/echo"),
    "elsewhere under v1": ("GET", "/v1/nothing", 400, "Malformed request: GET /v1/nothing"),
    "status of an unknown model": ("GET", "/v1/models/mnits", 404, "Could not find any versions of model mnits"),
    "status of an unknown version": (
        "GET",
        "/v1/models/echo/versions/9",
        404,
        "Could not find version 9 of model echo",
    ),
    "metadata of an unknown model": (
        "GET",
        "/v1/models/mnits/metadata",
        404,
        "Servable not found for request: Latest(mnits)",
    ),
    "outside": ("GET", "/nothing", 404, "There is nothing at /nothing."),
    "probe by POST": (
        "POST",
        "/v2/health/live",
        405,
        "/v2/health/live does not take POST. Allowed: GET, HEAD, OPTIONS.",
    ),
    "dot segments": ("GET", "/v1/models/../../etc/passwd", 400, "Malformed request"),
}


def check(response, status, sentence):
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    body = response.get_json()
    assert list(body) == ["error"]
    assert sentence in body["error"]


@pytest.mark.parametrize(("body", "status", "sentence"), WRONG_BODIES.values(), ids=WRONG_BODIES)
def test_a_wrong_body_is_refused(client, body, status, sentence):
    check(client.post("/v1/models/echo:predict", data=body), status, sentence)


@pytest.mark.parametrize(("body", "status", "sentence"), WRONG_VALUES.values(), ids=WRONG_VALUES)
def test_a_wrong_value_is_refused(client, body, status, sentence):
    check(client.post("/v1/models/echo:predict", json=body), status, sentence)


@pytest.mark.parametrize(("method", "path", "status", "sentence"), WRONG_PATHS.values(), ids=WRONG_PATHS)
def test_a_wrong_path_is_refused(client, method, path, status, sentence):
    check(
        client.open(path, method=method, json={"inputs": [[1, 2, 3]]} if method == "POST" else None), status, sentence
    )


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"no JSON", 400, "JSON Parse error"),
        (b'{"signature_name": 1}', 400, "must be a string value"),
        (b'{"signature_name": "nothing", "instances": 1, "inputs": 1}', 404, "Servable not found"),
    ],
)
def test_the_body_is_parsed_before_the_model_is_looked_up_and_its_keys_read_after(client, body, status, sentence):
    check(client.post("/v1/models/mnits:predict", data=body), status, sentence)


def test_a_failure_of_ours_tells_the_client_nothing_but_the_id_under_which_it_is_logged(client, caplog):
    body = {"signature_name": "breaks", "instances": [1]}
    response = client.post("/v1/models/echo:predict", json=body, headers={"X-Request-ID": "abc-1"})
    check(response, 500, "Internal error. The log has its cause under request id abc-1.")
    assert "secret" not in response.text
    [entry] = [entry for entry in caplog.records if entry.exc_info]
    assert "secret" in str(entry.exc_info[1])
    assert entry.fields == {"request_id": "abc-1"}


def test_quoted_values_are_cut(client):
    response = client.post("/v1/models/echo:predict", json={"instances": "x" * 5000})
    assert len(response.get_json()["error"]) < 400
