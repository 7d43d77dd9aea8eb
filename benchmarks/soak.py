"""`make soak`: a thousand requests a second while everything happens that may happen to a service.

New versions are published all the time. One phase after another, versions appear that cannot be loaded, HTTP workers
are told to end and are killed, the workers are restarted one by one, and the engine is killed. Every answer is checked:
it must be right for the version that was current when it was asked or answered.
"""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.disturbances import plan_phases, run_phases
from benchmarks.load import BARE
from benchmarks.processes import BenchmarkFailed, start, stop_on_signals, tail
from benchmarks.servers import start_kiln
from benchmarks.soak_report import PhaseResult, judge_phases, phases_table
from benchmarks.tiny_models import MODEL
from benchmarks.versions import Publisher

CLIENTS = 2


def main() -> int:
    """Runs the soak.

    Returns:
        0 where the service stood it, 1 where not, 2 where it could not run.
    """
    arguments = parse_arguments()
    stop_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="kiln-soak-") as name:
            results, late = soak(Path(name), arguments)
            quotes = read_quotes(Path(name))
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; every process that was started has been ended.", file=sys.stderr)
        return 2
    print(f"\n{phases_table(results)}\n")
    for quote in quotes:
        print(f"Among the answers: {quote}")
    complaints = [sentence for result in results for sentence in result.complaints()]
    complaints += [f"version {number} was not served within half a minute" for number in late]
    resets = sum(sum(result.causes.values()) for result in results if result.passed.phase.may_reset)
    print(f"Requests that died with a killed worker: {resets}")
    print("\n".join(f"FAILED: {sentence}" for sentence in complaints) or "Passed.")
    return 1 if complaints else 0


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120, help="how long (default 120)")
    parser.add_argument("--rate", type=float, default=1000, help="requests per second (default 1000)")
    parser.add_argument("--address", help="a running service, e.g. http://127.0.0.1:8080; default: one of our own")
    parser.add_argument("--repository", type=Path, help=f"its model repository; the model '{MODEL}' is published there")
    parser.add_argument("--pid", type=int, help="its main process; without it nothing is killed")
    arguments = parser.parse_args()
    if bool(arguments.address) != bool(arguments.repository):
        parser.error("--address and --repository go together")
    return arguments


def soak(folder: Path, arguments: argparse.Namespace) -> tuple[list[PhaseResult], list[int]]:
    """Prepares versions, runs service and load, and checks the records.

    Returns:
        A result per phase, and the versions that were not served in time.
    """
    repository = arguments.repository or folder / "models"
    first = max((int(path.name) for path in repository.glob(f"{MODEL}/*") if path.name.isdecimal()), default=0)
    build_versions(folder, first + 1, first + 12 + int(arguments.seconds / 2))
    publisher = Publisher(folder / "built", repository, "", newest=first)
    repository.mkdir(exist_ok=True)
    publisher.publish()
    with serve(folder, arguments) as (address, pid):
        publisher.address = address
        if not publisher.wait_until_served(publisher.newest, threading.Event()):
            raise BenchmarkFailed(f"{address} does not serve version {publisher.newest} of model '{MODEL}'")
        phases = plan_phases(publisher, pid)
        with run_load(folder, address, arguments.rate):
            print(f"{arguments.rate:.0f} requests a second for {arguments.seconds:.0f} s", flush=True)
            passed = run_phases(phases, arguments.seconds, publisher)
    records = np.concatenate([np.load(path) for path in sorted(folder.glob("load-*.npy"))])
    return judge_phases(records, passed, publisher), publisher.late


def read_quotes(folder: Path) -> list[str]:
    """Some of the answers that were not good."""
    found = {}
    for path in folder.glob("load-*.json"):
        found |= json.loads(path.read_text(encoding="ascii"))
    return [f"{-int(outcome) % BARE or 200}: {body}" for outcome, body in sorted(found.items())]


def build_versions(folder: Path, first: int, last: int) -> None:
    """Builds SavedModels with TensorFlow, in another process.

    Raises:
        BenchmarkFailed: that failed.
    """
    print(f"Building {last - first + 1} versions", flush=True)
    log = folder / "build.log"
    with start(["-m", "benchmarks.tiny_models", str(folder / "built"), str(first), str(last)], {}, log) as process:
        if process.wait(300):
            raise BenchmarkFailed(f"The versions could not be built:\n{tail(log)}")


@contextlib.contextmanager
def serve(folder: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, int | None]]:
    """The service: the one that runs already, or one of our own; gives `host:port` and its main process."""
    if arguments.address:
        yield urlsplit(arguments.address).netloc, arguments.pid
        return
    log = folder / "kiln.log"
    with start_kiln(folder / "models", log, 2, KILN_POLL_SECONDS="1", KILN_LOG_LEVEL="warning") as server:
        yield urlsplit(server.address).netloc, server.process.pid
        if server.process.poll() is not None:
            raise BenchmarkFailed(f"The service ended with status {server.process.returncode}:\n{tail(log)}")


@contextlib.contextmanager
def run_load(folder: Path, address: str, rate: float) -> Iterator[None]:
    """Sends requests until the block ends; then the records lie in `load-*.npy`.

    Raises:
        BenchmarkFailed: a process that sends them failed.
    """
    log = folder / "load.log"
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                start(
                    ["-m", "benchmarks.load", address, str(rate / CLIENTS), str(seed), str(folder / f"load-{seed}")],
                    {},
                    log,
                )
            )
            for seed in range(CLIENTS)
        ]
        time.sleep(1)
        yield
        for process in processes:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            codes = [process.wait(30) for process in processes]
            if not any(codes):
                return
        raise BenchmarkFailed(f"The load failed:\n{tail(log)}")


if __name__ == "__main__":
    sys.exit(main())
