"""`make bench-reloads`: a hundred versions, one after the other, under a light load; does the engine's memory grow?"""

import argparse
import contextlib
import http.client
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.disturbances import find_engines
from benchmarks.plain_handler import newest
from benchmarks.processes import BenchmarkFailed, measure_memory, stop_on_signals, wait_until
from benchmarks.report import table
from benchmarks.scenarios import MLP_ONE, encode_request
from benchmarks.servers import Server, ask, start_kiln
from benchmarks.serving import REPOSITORY, check_models

MODEL = "mnist_mlp"
BASE_RELOAD, MOST_GROWTH = 5, 1.10
RELOAD_SECONDS = 30.0
REQUESTS_PER_SECOND = 50
MEGABYTE = 1e6


@dataclass
class LightLoad:
    """Asks for the same prediction again and again, in a thread.

    Attributes:
        address: `host:port`.
        answers: how many came, and `failures` those that were not the first one again.
    """

    address: str
    answers: int = 0
    failures: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        """Asks until told to stop."""
        body, headers = encode_request(REPOSITORY, MLP_ONE)
        connection = http.client.HTTPConnection(self.address, timeout=30)
        expected = b""
        while not stop.wait(1 / REQUESTS_PER_SECOND):
            try:
                connection.request("POST", f"/v1/models/{MODEL}:predict", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            self.answers += 1
            expected = expected or content
            if answer.status != 200 or content != expected:
                self.failures.append(f"{answer.status}: {content[:200]!r}")
        connection.close()


def main() -> int:
    """Runs the check.

    Returns:
        0 where memory stayed, 1 where it grew or an answer was wrong, 2 where the check could not run.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reloads", description=__doc__)
    parser.add_argument("--reloads", type=int, default=100, help="how many versions (default 100, at least 6)")
    arguments = parser.parse_args()
    if arguments.reloads <= BASE_RELOAD:
        parser.error(f"--reloads must be more than {BASE_RELOAD}: later ones are compared with that")
    stop_on_signals()
    try:
        check_models()
        with tempfile.TemporaryDirectory(prefix="kiln-reloads-") as folder:
            sizes, failures = reload(Path(folder), arguments.reloads)
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; every process that was started has been ended.", file=sys.stderr)
        return 2
    base, end = sizes[BASE_RELOAD], sizes[arguments.reloads]
    rows = [[str(number), f"{size / MEGABYTE:.0f}", f"{size / base:.3f}"] for number, size in sizes.items()]
    print(table(["reloads", "RSS of the engine, MB", f"/ after {BASE_RELOAD}"], rows, text_columns=0))
    grew = end > MOST_GROWTH * base
    print(f"Memory at the end / after the fifth: {end / base:.3f}, target at most {MOST_GROWTH:.2f}: ", end="")
    print("MISSED" if grew else "met")
    for failure in failures[:10]:
        print(f"FAILED: {failure}")
    return 1 if grew or failures else 0


def reload(folder: Path, reloads: int) -> tuple[dict[int, int], list[str]]:
    """Publishes versions and waits for each to be served.

    Returns:
        Resident bytes of the engine by number of reloads, and what went wrong with the load.
    """
    repository = folder / "models"
    publish(repository, 1)
    settings = {"KILN_POLL_SECONDS": "1", "KILN_LOG_LEVEL": "warning"}
    sizes = {}
    with start_kiln(repository, folder / "kiln.log", 2, **settings) as server, run_light_load(server) as load:
        for number in range(1, reloads + 1):
            publish(repository, number + 1)
            wait_for_version(server, number + 1)
            shutil.rmtree(repository / MODEL / str(number - 1), ignore_errors=True)
            if number in (BASE_RELOAD, reloads) or number % 10 == 0:
                # The version before is unloaded a moment after the switch.
                time.sleep(2)
                sizes[number] = measure_memory(find_engines(server.process.pid)).rss_bytes
                print(f"{number} reloads: {sizes[number] / MEGABYTE:.0f} MB", flush=True)
    print(f"{load.answers} answers meanwhile, {len(load.failures)} of them wrong or missing")
    return sizes, load.failures


@contextlib.contextmanager
def run_light_load(server: Server) -> Iterator[LightLoad]:
    """Asks a service until the block ends."""
    load, stop = LightLoad(urlsplit(server.address).netloc), threading.Event()
    thread = threading.Thread(target=load.run, args=(stop,))
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join()


def publish(repository: Path, number: int) -> None:
    """Makes a version appear: a copy of the model's newest one."""
    source = newest(REPOSITORY / MODEL)
    (repository / MODEL).mkdir(parents=True, exist_ok=True)
    aside = Path(shutil.copytree(source, repository / f".publishing-{number}"))
    aside.rename(repository / MODEL / str(number))


def wait_for_version(server: Server, number: int) -> None:
    """Waits until the service says that a version is available.

    Raises:
        BenchmarkFailed: it does not.
    """

    def is_served() -> bool:
        answer = ask(f"{server.address}/v1/models/{MODEL}/versions/{number}")
        if answer.status != 200:
            return False
        return json.loads(answer.body)["model_version_status"][0]["state"] == "AVAILABLE"

    wait_until(f"version {number} was served", is_served, RELOAD_SECONDS, server.process)


if __name__ == "__main__":
    sys.exit(main())
