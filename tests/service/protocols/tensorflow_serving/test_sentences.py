"""The sentences of TensorFlow Serving's REST API in full: its own words, then what Kiln adds to them."""

import json

import pytest

PREDICT = "/v1/models/echo:predict"
# Method, path, body, status; TensorFlow Serving's sentence, and the addition.
SENTENCES = [
    ("POST", "/v1/models/echo/metadata", None, 400, "Malformed request: POST /v1/models/echo/metadata", ""),
    ("GET", PREDICT, None, 400, "Malformed request: GET /v1/models/echo:predict", ""),
    (
        "POST",
        "/v1/models/echo/versions/9223372036854775808:predict",
        {},
        400,
        "Failed to convert version: 9223372036854775808 to numeric.",
        "",
    ),
    (
        "POST",
        "/v1/models/foo:predict",
        {},
        404,
        "Servable not found for request: Latest(foo)",
        ". Models: echo, named.",
    ),
    (
        "POST",
        "/v1/models/echo/versions/99:predict",
        {},
        404,
        "Servable not found for request: Specific(echo, 99)",
        ". Versions: 2.",
    ),
    ("POST", "/v1/models/echo/labels/x:predict", {}, 400, "Unrecognized servable version label: x", ". Labels: none"),
    ("GET", "/v1/models/foo", None, 404, "Could not find any versions of model foo", ""),
    ("GET", "/v1/models/echo/versions/99", None, 404, "Could not find version 99 of model echo", ""),
    ("POST", PREDICT, b"", 400, "JSON Parse error: The document is empty", ""),
    (
        "POST",
        PREDICT,
        b"x",
        400,
        "JSON Parse error: Invalid value. at offset: 0",
        " (unexpected character, expected a JSON value)",
    ),
    ("POST", PREDICT, [1], 400, "JSON Value: [1] Is not object", ""),
    (
        "POST",
        PREDICT,
        {"signature_name": 3},
        400,
        "JSON Value: {\"signature_name\":3} not formatted correctly. 'signature_name' key must be a string value.",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "x"},
        400,
        'Serving signature name: "x" not found in signature def',
        ". Signatures: any, breaks, flags, half, logarithm, pair, pixels, refuses, scalar, "
        "serving_default, texts, two, uneven",
    ),
    (
        "POST",
        PREDICT,
        {"inputs": [], "instances": []},
        400,
        'JSON Value: {"inputs":[],"instances":[]} Not formatted correctly expecting only one of '
        "'inputs' or 'instances' keys to exist ",
        "",
    ),
    ("POST", PREDICT, {}, 400, "Missing 'inputs' or 'instances' key", ""),
    (
        "POST",
        PREDICT,
        {"instances": 1},
        400,
        "JSON Value: {\"instances\":1} Expecting 'instances' to be an list/array",
        "",
    ),
    ("POST", PREDICT, {"instances": []}, 400, "JSON Value: {\"instances\":[]} No values in 'instances' array", ""),
    (
        "POST",
        PREDICT,
        {"signature_name": "two", "instances": [[1, 2]]},
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as "
        "per tensorinfo_map",
        ". Inputs: a, b",
    ),
    (
        "POST",
        PREDICT,
        {"instances": [{"x": [1, 2, 3]}, [1, 2, 3]]},
        400,
        "Expecting object but got list at item 1 of input list",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"instances": [[1, 2, 3], {"x": [1, 2, 3]}]},
        400,
        "Expecting value/list but got object at item 1 of input list",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "two", "instances": [{"a": [1, 2]}]},
        400,
        "Failed to process element: 0 of 'instances' list. JSON object: {\"a\":[1,2]} keys must be equal to: a,b",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "two", "instances": [{"a": [1, 2], "b": 1, "c": 1}]},
        400,
        "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: JSON object: "
        "does not have named input: c",
        ". Inputs: a,b",
    ),
    (
        "POST",
        PREDICT,
        {"instances": [["x", 2, 3]]},
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" "
        "Type: String is not of expected type: float",
        " (at instances[0][0])",
    ),
    (
        "POST",
        PREDICT,
        {"inputs": [[None, 2, 3]]},
        400,
        "JSON Value: null Type: Null is not of expected type: float",
        " (at inputs[0][0])",
    ),
    (
        "POST",
        PREDICT,
        {"instances": [{"x": ["x", 2, 3]}]},
        400,
        "Failed to process element: 0 key: x of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: "
        '"x" Type: String is not of expected type: float',
        " (at instances[0].x[0])",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "half", "inputs": [1]},
        501,
        "Conversion of JSON Value: [1] to type: half",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "half", "instances": [1]},
        400,
        "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: Conversion of JSON "
        "Value: 1 to type: half",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "texts", "inputs": [{"b64": 1}]},
        400,
        'JSON Value: {"b64":1} not formatted correctly for base64 data',
        " (at inputs[0])",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "texts", "inputs": [{"b64": "!"}]},
        400,
        "Unable to base64 decode",
        " (at inputs[0])",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "two", "inputs": {"a": [[1, 2]], "b": [1.0]}},
        400,
        "JSON Value: 1.0 Type: Number is not of expected type: int64",
        " (at inputs.b[0])",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "flags", "inputs": [[1, True]]},
        400,
        "JSON Value: 1 Type: Number is not of expected type: bool",
        " (at inputs[0][0])",
    ),
    (
        "POST",
        PREDICT,
        {"inputs": [[1, 2, 3], [1, 2]]},
        400,
        "Encountered list at unexpected size: 2 at level: 1 expected size: 3",
        " (at inputs[1])",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "pixels", "instances": [[[1, 2], [1]]]},
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at "
        "unexpected size: 1 at level: 1 expected size: 2",
        " (at instances[0][1])",
    ),
    (
        "POST",
        PREDICT,
        {"inputs": [[1, [2], 3]]},
        400,
        "Encountered list at unexpected level: 2 expected < 2",
        " (at inputs[0][1])",
    ),
    (
        "POST",
        PREDICT,
        {"inputs": [[1, 2, 3], 4]},
        400,
        "JSON Value: 4 found at incorrect level: 1 in the JSON DOM. Expected at level: 2",
        " (at inputs[1])",
    ),
    (
        "POST",
        PREDICT,
        {"instances": [[1, 2, 3], [1, 2]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor "
        "size: 3 but got: 2",
        " (at instances[1])",
    ),
    (
        "POST",
        PREDICT,
        {"instances": [[[1, 2]], [[1], [2]]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape "
        "[1,2] but got: [2,1]",
        " (at instances[1])",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "two", "inputs": {"a": [[1, 2]]}},
        400,
        "Missing named input: b in 'inputs' object.",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "two", "inputs": [1]},
        400,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required as "
        "per tensorinfo_map",
        ". Inputs: a, b",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "pixels", "inputs": [[[300, 0], [0, 0]]]},
        400,
        "JSON Value: 300 is out of range for type: uint8, which holds 0 to 255",
        " (at inputs[0][0][0])",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "uneven", "instances": [1]},
        400,
        "Tensor name: twice has inconsistent batch size: 2 expecting: 1",
        "",
    ),
    (
        "POST",
        PREDICT,
        {"signature_name": "scalar", "instances": [1]},
        400,
        "Tensor name: total has no shape information ",
        "",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "sentence", "addition"), SENTENCES)
def test_a_mistake_is_named_in_full(client, method, path, body, status, sentence, addition):
    data = json.dumps(body) if isinstance(body, dict | list) else body
    response = client.open(path, method=method, data=data)
    assert (response.status_code, response.content_type) == (status, "application/json")
    assert response.get_json() == {"error": sentence + addition}
