"""The memory that one request takes, in all processes of a real service together, for the worst bodies of each kind."""

import gzip
from pathlib import Path

import pytest
import requests

from service.codecs.json.size import (
    LIST_BYTES,
    MOST_BYTES_PER_BYTE,
    OBJECT_BYTES,
    STRING_BYTES,
    TEXT_BYTES,
    VALUE_BYTES,
)
from tests.end_to_end.service import command_line, wait_for
from tests.end_to_end.service import service as run_service

MIB = 2**20
EXAMINER = "service.engine.isolation.examiner"
MOST_BODY_BYTES = 16 * MIB
# What a repeated piece is estimated to take beside its text.
COMMA, LIST, OBJECT, STRING = VALUE_BYTES, LIST_BYTES, OBJECT_BYTES, STRING_BYTES
PIECES = {
    "whole numbers": ("floats", b"1,", COMMA),
    "doubles": ("doubles", b"1.5,", COMMA),
    "long numbers": ("floats", b"0.30000000000000004,", COMMA),
    "lists in lists": ("floats", b"[[[[1]]]],", COMMA + 4 * LIST),
    "empty strings": ("texts", b'"",', COMMA + STRING),
    "short strings": ("texts", '"字",'.encode(), COMMA + STRING),
    "longer strings": ("texts", b'"' + b"x" * 100 + b'",', COMMA + STRING),
    "one long string": ("texts", b"x" * 100, 0),
    "objects of lists": ("floats", b'{"x":[1]},', COMMA + OBJECT + STRING + LIST),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    import tensorflow as tf

    class Sizes(tf.Module):
        """Answers how many values came, so that only requests are large."""

        @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
        def floats(self, x):
            return {"size": tf.reshape(tf.size(x), [1])}

        @tf.function(input_signature=[tf.TensorSpec(None, tf.float64, name="x")])
        def doubles(self, x):
            return {"size": tf.reshape(tf.size(x), [1])}

        @tf.function(input_signature=[tf.TensorSpec(None, tf.string, name="x")])
        def texts(self, x):
            return {"size": tf.reshape(tf.size(x), [1])}

    folder = tmp_path_factory.mktemp("models")
    module = Sizes()
    signatures = {name: getattr(module, name) for name in ("floats", "doubles", "texts")}
    tf.saved_model.save(module, str(folder / "sizes" / "1"), signatures=signatures)
    return folder


@pytest.fixture(scope="module")
def service(models):
    """The address of a service, and the number of the process that started all others."""
    limits = {"max_body_bytes": MOST_BODY_BYTES, "timeout_seconds": 300, "queue_rows": 2**31}
    with run_service(models, workers=1, **limits) as running:
        # The process that has examined the model ends by itself, and must not do so while memory is counted.
        wait_for(lambda: not any(EXAMINER in line for line in map(command_line, running.pids())), "its end")
        yield running.address, running.pid


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def memory(process: int, key: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(key)).split()[1])


def post(service, body, coding="identity"):
    """A request's answer, and the bytes by which it raised the largest resident size of all processes."""
    address, root = service
    processes = family(root)
    for process in processes:
        Path(f"/proc/{process}/clear_refs").write_text("5")  # the largest size is the present one
    before = sum(memory(process, "VmRSS") for process in processes)
    response = requests.post(
        f"{address}/v1/models/sizes:predict", data=body, timeout=300, headers={"Content-Encoding": coding}
    )
    return response, sum(memory(process, "VmHWM") for process in processes) - before


def make_body(signature: str, piece: bytes, count: int) -> bytes:
    text = piece * count
    content = text.rstrip(b",") if piece.endswith(b",") else b'"' + text + b'"'
    return b'{"signature_name": "' + signature.encode() + b'", "instances": [' + content + b"]}"


@pytest.mark.parametrize(("signature", "piece", "cost"), PIECES.values(), ids=PIECES)
def test_the_largest_body_that_is_taken_needs_eight_times_its_limit_at_most(service, signature, piece, cost):
    weight = TEXT_BYTES * len(piece) + cost
    count = min(MOST_BODY_BYTES * MOST_BYTES_PER_BYTE // weight, MOST_BODY_BYTES // len(piece)) - 50
    response, taken = post(service, make_body(signature, piece, count))
    assert response.json() == {"predictions": [count if piece.endswith(b",") else 1]}
    assert taken < 8 * MOST_BODY_BYTES


def test_a_small_body_that_unpacks_to_countless_lists_is_refused(service):
    body = make_body("floats", b"[],", MOST_BODY_BYTES // 3 - 50)
    response, taken = post(service, gzip.compress(body), "gzip")
    assert response.status_code == 400
    assert "lists" in response.json()["error"]
    assert "Send fewer rows at a time" in response.json()["error"]
    assert taken < 4 * MOST_BODY_BYTES
