"""Many clients at once, in processes of their own: one Python alone asks too slowly to bring two requests together."""

import contextlib
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np

from tests.end_to_end.clients import WAYS, Client

MODEL = "large_answer"
COLUMNS = 1024
# Together more than a worker has threads, so that connections wait while others are answered.
PROCESSES, THREADS = 2, 10
PATIENCE_SECONDS = 15

Outcome = tuple[int, list[str]]


def ask_until(addresses: tuple[str, str], way: str, rows: list[int], seconds: float, seed: int) -> Outcome:
    """Asks for rows of one random number each time; gives how many answers came and what was wrong with others."""
    numbers, answers, faults = random.Random(seed), 0, []
    deadline = time.monotonic() + seconds
    with Client(*addresses, seconds=PATIENCE_SECONDS) as client:
        while time.monotonic() < deadline:
            # A whole number below 2^24 is exact as float32.
            number, count = numbers.randrange(2**24), numbers.choice(rows)
            inputs = {"x": np.full(count, number, np.float32)}
            expected = {"e": np.empty((count, COLUMNS), np.float32)}
            try:
                answered = WAYS[way](client, MODEL, "serving_default", inputs, expected)["e"]
            except Exception as error:  # noqa: BLE001 - whatever a client can meet is a fault here
                faults.append(repr(error)[:300])
                client.connection.close()
                continue
            answers += 1
            if answered.shape != (count, COLUMNS) or not (answered == number).all():
                faults.append(f"asked {number}, answered {np.unique(answered)[:5]} of shape {answered.shape}")
    return answers, faults


def ask_in_threads(addresses: tuple[str, str], way: str, rows: list[int], seconds: float, seed: int) -> list[Outcome]:
    """One process's clients."""
    with ThreadPoolExecutor(THREADS) as pool:
        tasks = [pool.submit(ask_until, addresses, way, rows, seconds, seed + number) for number in range(THREADS)]
        return [task.result() for task in tasks]


@contextlib.contextmanager
def crowd() -> Iterator[Callable[..., tuple[int, list[str]]]]:
    """Starts the processes; gives what has all clients ask, and tells how many answers came and what was wrong."""
    # Threads and a channel of gRPC's do not outlive a fork.
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:

        def ask_together(*arguments: Any) -> tuple[int, list[str]]:
            tasks = [pool.submit(ask_in_threads, *arguments, number * THREADS) for number in range(PROCESSES)]
            outcomes = [outcome for task in tasks for outcome in task.result()]
            return sum(answers for answers, _ in outcomes), [fault for _, faults in outcomes for fault in faults]

        yield ask_together
