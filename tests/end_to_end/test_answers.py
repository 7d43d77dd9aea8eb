"""Every model of the zoo answers as TensorFlow itself does, in every way to ask, alone and among other clients."""

import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.end_to_end.clients import WAYS, Client, Refused, assert_answer, ways
from tests.end_to_end.service import service, wait_for
from tests.end_to_end.zoo import read_answers

CLIENTS = 8
SETTLED = {"AVAILABLE", "END"}
# Found by name when tests are collected, before anything is built.
NAMES = (
    "any_large", "any_rank", "batch_normalized", "centred", "collatz", "complex_numbers", "convolution", "counter",
    "cross_attention", "defaults", "doubles", "embedding", "examples", "four_rows", "half_plus_two", "halves",
    "joined_texts", "keras_attention", "keras_bidirectional", "keras_convolutional", "keras_dense", "keras_gru",
    "keras_normalized", "keras_stateful_lstm", "keras_text_fixed_length", "keras_text_lstm", "keras_two_ways",
    "large_answer", "linear", "logic", "mapped", "matrices", "memory", "neighbours", "nothing", "odd_names", "one_row",
    "padded_to_longest", "pairwise", "picture", "pixels", "position", "positive", "random_noise", "raw_bytes",
    "reversed_rows", "row_count", "running_sum", "running_total", "scalar_input", "series_mean", "several_inputs",
    "several_outputs", "shapes", "small_numbers", "softmax", "sorted_rows", "spectrum", "tables", "tensorflow_1",
    "time_sum", "total", "transposed", "twice", "types", "unique", "upper_case", "whole_numbers", "word_counts",
)  # fmt: skip


@pytest.fixture(scope="module")
def animals(built):
    return read_answers(built)


@pytest.fixture(scope="module")
def running(built):
    """A service on the whole zoo, as soon as every model is served or could not be."""
    with service(built / "zoo", grpc=True, ready=False) as running:
        wait_for(lambda: is_settled(running), "every model", 180)
        yield running


def is_settled(running):
    """Whether each model that the service knows is served or could not be loaded."""
    if not running.answers_200("/v1/models"):
        return False
    states = {version["state"] for model in running.get("/v1/models").json()["models"] for version in model["versions"]}
    return bool(states) and states <= SETTLED


@pytest.fixture
def client(running):
    with Client(running.address, running.grpc_address) as client:
        yield client


def test_every_model_of_the_zoo_is_asked(animals):
    assert sorted(animals) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_answers_as_tensorflow_does(client, animals, name):
    animal = animals[name]
    for number, case in enumerate(animal.cases):
        carried = ways(case)
        # One that remembers is asked once for each case, in their order.
        for way in [carried[number % len(carried)]] if animal.kind == "stateful" else carried:
            try:
                assert_answer(WAYS[way](client, name, case.signature, case.inputs, case.outputs), case, animal.kind)
            except (AssertionError, Refused) as error:
                raise AssertionError(f"case {number} by {way}: {error}") from error


def ask_again_and_again(running, animals, names, seed, times, faults):
    """Asks random cases of models in random ways, and keeps what was not right."""
    numbers = random.Random(seed)
    with Client(running.address, running.grpc_address) as client:
        for _ in range(times):
            animal = animals[numbers.choice(names)]
            case = numbers.choice(animal.cases)
            way = numbers.choice(ways(case))
            try:
                assert_answer(
                    WAYS[way](client, animal.name, case.signature, case.inputs, case.outputs), case, animal.kind
                )
            except (AssertionError, Refused) as error:
                faults[animal.name].append(f"{way}: {error}")


def ask_together(running, animals, names, times):
    """Has several clients ask at once; gives what was not right by model."""
    faults = defaultdict(list)
    with ThreadPoolExecutor(CLIENTS) as pool:
        tasks = [
            pool.submit(ask_again_and_again, running, animals, names, seed, times, faults) for seed in range(CLIENTS)
        ]
        for task in tasks:
            task.result()
    return {name: (len(found), found[0]) for name, found in faults.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_answers_so_among_its_other_clients(running, animals, name):
    if animals[name].kind == "stateful":
        return  # What it answers depends on who asked before.
    assert ask_together(running, animals, [name], 6) == {}


def test_models_answer_so_among_the_clients_of_all_others(running, animals):
    names = [name for name, animal in animals.items() if animal.kind != "stateful"]
    assert ask_together(running, animals, names, 100) == {}


def test_one_text_alone_has_its_own_number_while_longer_texts_are_asked(running, animals):
    """Padding to the longest text of a batch goes into an LSTM that does not mask it."""
    model, stop, faults = "keras_text_lstm", threading.Event(), defaultdict(list)
    alone, longer = [
        [case for case in animals[model].cases if (len(case.inputs["x"]) == 1) is one] for one in (True, False)
    ]
    assert alone[0].inputs["x"].tolist() == [b"good film"]

    def ask_longer(seed):
        while not stop.is_set():
            ask_again_and_again(running, {model: type(animals[model])(model, "pure", longer)}, [model], seed, 5, faults)

    threads = [threading.Thread(target=ask_longer, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            ask_again_and_again(running, {model: type(animals[model])(model, "pure", alone)}, [model], 7, 10, faults)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not faults


def test_listwise_softmax_is_that_of_the_five_rows(running):
    answered = running.predict("softmax", {"instances": [1, 2, 3, 4, 5]})
    np.testing.assert_allclose(answered, [0.0117, 0.0317, 0.0861, 0.2341, 0.6364], atol=1e-4)


def test_the_example_of_tensorflow_servings_documentation(running):
    assert running.predict("half_plus_two", {"instances": [1.0, 2.0, 5.0]}) == [2.5, 3.0, 4.5]


def test_state_is_that_of_a_model_that_nobody_has_asked_before(built):
    """Warming up sends nothing to a model that would remember it."""
    with service(built / "zoo", models=["keras_stateful_lstm", "counter"], workers=1) as fresh:
        case = read_answers(built)["keras_stateful_lstm"].cases[0]
        with Client(fresh.address) as client:
            answered = client.rest_columns("keras_stateful_lstm", case.signature, case.inputs, case.outputs)
        assert_answer(answered, case)
        assert fresh.predict("counter", {"instances": [0.0]}) == [1.0]
