"""`python -m service.engine.isolation.examiner`: loads, warms up and examines new versions, in a process of its own.

What a version does to its process at the first load (a crash, an endless loop, all the memory), it does here, and the
engine goes on. A line of standard input is a version as JSON. The answer is one or two lines of standard output: what
is known before the version's rows are probed, which may end the process, and what is known then. The process ends with
its standard input.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import orjson

from service.engine.attempt import Attempt
from service.engine.resources import be_killed_first, count_operation_threads
from service.engine.saved_model.loader import Examination, SavedModelLoader
from service.process_setup import prefer_throughput, set_up_logging
from service.settings import Settings

FIRST_TO_BE_KILLED = 1000


def main() -> int:
    """Examines versions until there is no more input.

    Returns:
        0, always.
    """
    # What a model prints must not be taken for an answer.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    be_killed_first(FIRST_TO_BE_KILLED)
    prefer_throughput()
    settings = Settings.from_env(os.environ)
    set_up_logging(settings)
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=read_requests, args=(requests,), daemon=True).start()
    loader = SavedModelLoader(
        count_operation_threads(settings.tensorflow_threads), settings.max_answer_bytes, settings.op_libraries
    )

    def answer(document: dict[str, Any]) -> None:
        os.write(answers, orjson.dumps(document) + b"\n")

    threads = threading.active_count()
    while line := requests.get():
        examine(loader, orjson.loads(line), answer)
        if threading.active_count() > threads:
            # A call of the probe does not end, and would take its time from the next version.
            return 0
    return 0


def read_requests(requests: "SimpleQueue[bytes]") -> None:
    """Takes requests, and ends the process when the engine that sends them is gone, whatever the process is doing."""
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


def examine(loader: SavedModelLoader, request: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    """Answers what was found out about a version, or why it cannot be loaded."""

    def report(examination: Examination) -> None:
        answer({"before_probe": examination.to_json()})

    with Attempt() as attempt:
        found = loader.examine(Path(request["path"]), request["name"], request["number"], report)
        answer({"examination": found.to_json()})
    if attempt.error is not None:
        answer({"error": attempt.describe()})


if __name__ == "__main__":
    sys.exit(main())
