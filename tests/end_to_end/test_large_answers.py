"""Large answers on kept connections: every number is the request's own, and no answer comes twice."""

import threading
import time

import numpy as np
import pytest
import requests

from tests.end_to_end.crowd import MODEL, ask_until, crowd
from tests.end_to_end.service import service


@pytest.fixture(scope="module")
def running(built):
    with service(built / "zoo", models=[MODEL], grpc=True) as running:
        yield running


@pytest.fixture(scope="module")
def ask_together():
    with crowd() as ask_together:
        yield ask_together


def check_together(ask_together, running, way, rows, seconds):
    answers, faults = ask_together((running.address, running.grpc_address), way, rows, seconds)
    assert not faults, f"{len(faults)} faults beside {answers} answers: {faults[:3]}"
    assert answers


@pytest.mark.parametrize("way", ["v2 binary", "gRPC"])
def test_every_number_of_a_megabyte_is_the_requests_own(running, ask_together, way):
    check_together(ask_together, running, way, [300], 8)


@pytest.mark.parametrize("way", ["REST rows", "REST columns", "v2 JSON", "v2 binary", "gRPC"])
def test_small_and_large_answers_on_one_connection_are_each_its_own(running, ask_together, way):
    check_together(ask_together, running, way, [1, 25, 250, 400] if way in ("v2 binary", "gRPC") else [1, 2, 25, 60], 4)


def test_clients_that_read_slowly_get_their_own_numbers_too(running):
    """Answers are sent in pieces when their reader is slow; others are asked meanwhile."""
    stop, faults = threading.Event(), []

    def read_slowly(number):
        with requests.Session() as session:
            body = np.full(500, number, "<f4").tobytes()
            head = (
                b'{"inputs":[{"name":"x","shape":[500],"datatype":"FP32","parameters":{"binary_data_size":2000}}],'
                b'"parameters":{"binary_data_output":true}}'
            )
            headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
            options = {"headers": headers, "stream": True, "timeout": 60}
            response = session.post(f"{running.address}/v2/models/{MODEL}/infer", head + body, **options)
            data = bytearray()
            while piece := response.raw.read(100_000):
                data += piece
                time.sleep(0.05)
            values = np.frombuffer(bytes(data)[int(response.headers["Inference-Header-Content-Length"]) :], "<f4")
            if len(values) != 500 * 1024 or not (values == number).all():
                faults.append(f"asked {number}, answered {len(values)} of {np.unique(values)[:5]}")

    def ask_meanwhile():
        while not stop.is_set():
            answers, found = ask_until((running.address, ""), "v2 binary", [1, 500], 0.5, 77)
            faults.extend(found)
            assert answers

    others = [threading.Thread(target=ask_meanwhile) for _ in range(2)]
    readers = [threading.Thread(target=read_slowly, args=(1000.0 + number,)) for number in range(12)]
    for thread in (*others, *readers):
        thread.start()
    for thread in readers:
        thread.join()
    stop.set()
    for thread in others:
        thread.join()
    assert faults == []
