"""MLServer's codecs, by what its client puts on the wire: the parameter `content_type` is honoured or refused."""

import base64

import orjson
import pytest

INFER = "/v2/models/echo/infer"
TEXTS = ["aGVsbG8=", "/w=="]
RAW = [b"hello", b"\xff"]


def infer(client, tensor, signature="texts", outputs=None, **parameters):
    body = {"inputs": [tensor], "parameters": {"signature_name": signature} | parameters}
    if outputs is not None:
        body["outputs"] = outputs
    response = client.post(INFER, json=body)
    return response.status_code, response.get_json()


def texts(data, content_type, shape=None):
    """As `Base64Codec` and `StringCodec` make it: a column of strings."""
    shape = [len(data), 1] if shape is None else shape
    return {
        "name": "text", "shape": shape, "datatype": "BYTES", "parameters": {"content_type": content_type}, "data": data
    }  # fmt: skip


def numbers(content_type):
    tensor = {"name": "v", "shape": [1], "datatype": "FP64", "data": [1.5]}
    return tensor | {"parameters": {"content_type": content_type}}


def test_strings_in_base64_are_decoded(client, repository):
    wanted = [{"name": "text", "parameters": {"content_type": "base64"}}]
    status, answer = infer(client, texts(TEXTS, "base64"), outputs=wanted)
    [call] = repository.engine.calls
    assert call.inputs["text"].tolist() == [[RAW[0]], [RAW[1]]]
    assert (status, answer["outputs"]) == (200, [texts(TEXTS, "base64") | {"parameters": {"content_type": "base64"}}])


def test_strings_in_base64_may_be_binary_data(client, repository):
    blob = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in TEXTS)
    tensor = texts(TEXTS, "base64", [2]) | {"parameters": {"content_type": "base64", "binary_data_size": len(blob)}}
    del tensor["data"]
    output = {"name": "text", "parameters": {"content_type": "base64", "binary_data": True}}
    document = {"inputs": [tensor], "outputs": [output], "parameters": {"signature_name": "texts"}}
    text = orjson.dumps(document)
    headers = {"Inference-Header-Content-Length": str(len(text))}
    response = client.post(INFER, data=text + blob, headers=headers)
    [call] = repository.engine.calls
    assert call.inputs["text"].tolist() == RAW
    assert response.status_code == 200
    assert response.data.endswith(blob)


@pytest.mark.parametrize("content_type", ["str", "np", "pd", None])
def test_plain_contents_are_what_they_are(client, content_type):
    status, answer = infer(client, texts(TEXTS, content_type), outputs=[{"name": "text"}], content_type=content_type)
    assert (status, answer["outputs"][0]["data"]) == (200, TEXTS)


@pytest.mark.parametrize("content_type", ["np", "pd"])
def test_numbers_are_what_they_are(client, content_type):
    wanted = [{"name": "v", "parameters": {"content_type": content_type}}]
    status, answer = infer(client, numbers(content_type), "any", wanted)
    assert (status, answer["outputs"][0]["data"]) == (200, [1.5])


@pytest.mark.parametrize("content_type", ["pd_json", "datetime", "hg_json", "pickle", "hg_jpeg", "", 3, ["np"]])
def test_other_contents_are_refused_with_those_that_are_honoured(client, content_type):
    shown = orjson.dumps(content_type).decode()
    status, answer = infer(client, texts(TEXTS, content_type))
    assert (status, answer["error"]) == (
        400,
        f"Input 'text' has {shown} as parameter 'content_type', but only these are honoured there: np, pd, str, base64",
    )
    status, answer = infer(client, texts(TEXTS, "str"), content_type=content_type)
    assert (status, answer["error"]) == (
        400,
        f"The request has {shown} as parameter 'content_type', but only these are honoured there: np, pd, str",
    )
    wanted = [{"name": "text", "parameters": {"content_type": content_type}}]
    status, answer = infer(client, texts(TEXTS, "str"), outputs=wanted)
    assert (status, answer["error"]) == (
        400,
        f"Output 'text' has {shown} as parameter 'content_type', but only these are honoured there: "
        "np, pd, str, base64",
    )


@pytest.mark.parametrize("content_type", ["base64", "str"])
def test_codecs_of_strings_are_refused_for_numbers(client, content_type):
    honoured = "but only these are honoured there: np, pd"
    status, answer = infer(client, numbers(content_type), "any")
    assert (status, answer["error"].endswith(honoured)) == (400, True)
    wanted = [{"name": "v", "parameters": {"content_type": content_type}}]
    status, answer = infer(client, numbers("np"), "any", wanted)
    assert (status, answer["error"].endswith(honoured)) == (400, True)


@pytest.mark.parametrize("text", ["!", "YQ=", "YQ==YQ==", "é"])
def test_wrong_base64_is_refused(client, text):
    status, answer = infer(client, texts([base64.b64encode(b"a").decode(), text], "base64"))
    assert (status, answer["error"]) == (
        400,
        "Input 'text' has 'base64' as parameter 'content_type', but its string 1 is not base64",
    )
