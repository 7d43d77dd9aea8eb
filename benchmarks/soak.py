"""`make soak`: clients that ask without a pause while everything happens that may happen to a service.

Every request carries a number that no other has, from 100 bytes to 8 MB, as JSON, binary and gRPC, and its answer must
carry it back, and come from the version that was current. Meanwhile versions are published, some of which cannot be
loaded; models crash and hang; HTTP workers and the engine are killed; the workers are restarted.
"""

import argparse
import contextlib
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

from benchmarks.disturbances import Passed, run_phases
from benchmarks.processes import (
    BenchmarkFailed,
    descendants,
    free_port,
    measure_memory,
    start,
    stop_on_signals,
    tail,
)
from benchmarks.servers import Server, start_kiln
from benchmarks.soak_report import Result, counts_table, gaps_table, judge
from benchmarks.tiny_models import MODEL
from benchmarks.versions import Publisher

PROCESSES, THREADS = 2, 6
MEMORY_SECONDS = 0.5
WARM_UP_SECONDS = 3.0
SETTINGS = {"KILN_POLL_SECONDS": "1", "KILN_LOG_LEVEL": "warning", "KILN_TIMEOUT_SECONDS": "10"}


def main() -> int:
    """Runs the soak.

    Returns:
        0 where the service stood it, 1 where not, 2 where it could not run.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120, help="how long (default 120)")
    seconds = parser.parse_args().seconds
    stop_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="kiln-soak-") as name:
            result, late, quotes, memory = soak(Path(name), seconds)
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped; every process that was started has been ended.", file=sys.stderr)
        return 2
    print(f"\n{counts_table(result)}\n\n{gaps_table(result)}\n")
    print("Memory, MB: {:.0f} at the start, {:.0f} at most, {:.0f} at the end".format(*(size / 1e6 for size in memory)))
    for quote in quotes[:20]:
        print(f"Seen: {quote}")
    complaints = [*result.complaints(), *(f"version {number} was not served within half a minute" for number in late)]
    print("\n".join(f"FAILED: {sentence}" for sentence in complaints) or "Passed.")
    return 1 if complaints else 0


def soak(folder: Path, seconds: float) -> tuple[Result, list[int], list[str], tuple[int, int, int]]:
    """Prepares versions, runs service and clients, and checks the records.

    Returns:
        What became of the requests; the versions that were not served in time; some of the answers that were not good;
        and the service's memory in bytes: at the start, at most, and at the end.
    """
    repository = folder / "models"
    repository.mkdir()
    build_versions(folder, 12 + int(seconds / 4))
    publisher = Publisher(folder / "built", repository, "")
    publisher.publish()
    grpc_port, log = free_port(), folder / "kiln.log"
    with start_kiln(repository, log, 2, KILN_GRPC_PORT=str(grpc_port), **SETTINGS) as server:
        publisher.address = urlsplit(server.address).netloc
        if not publisher.wait_until_served(publisher.newest, threading.Event()):
            raise BenchmarkFailed(f"Version {publisher.newest} of model '{MODEL}' is not served:\n{tail(log)}")
        with watch_memory(server) as sizes, run_clients(folder, publisher.address, f"127.0.0.1:{grpc_port}"):
            print(f"{PROCESSES * THREADS + 1} clients for {seconds:.0f} s", flush=True)
            phases = run_phases(publisher, server.process.pid, seconds)
        time.sleep(WARM_UP_SECONDS)
        memory = (sizes[0], max(sizes), measure_memory(descendants(server.process.pid)).rss_bytes)
        if server.process.poll() is not None:
            raise BenchmarkFailed(f"The service ended with status {server.process.returncode}:\n{tail(log)}")
    return *read_records(folder, phases, publisher), memory


def read_records(folder: Path, phases: list[Passed], publisher: Publisher) -> tuple[Result, list[int], list[str]]:
    """What the clients wrote down."""
    loaded = {path.stem: np.load(path) for path in sorted(folder.glob("clients-*.npz"))}
    records = np.concatenate([saved["records"] for saved in loaded.values()])
    quotes = sorted(str(quote) for saved in loaded.values() for quote in saved["quotes"])
    result = judge(records, loaded["clients-innocent"]["records"], phases, publisher)
    return result, publisher.late, quotes


def build_versions(folder: Path, last: int) -> None:
    """Builds SavedModels with TensorFlow, in another process.

    Raises:
        BenchmarkFailed: that failed.
    """
    print(f"Building {last} versions", flush=True)
    log = folder / "build.log"
    with start(["-m", "benchmarks.tiny_models", str(folder / "built"), "1", str(last)], {}, log) as process:
        if process.wait(900):
            raise BenchmarkFailed(f"The versions could not be built:\n{tail(log)}")


@contextlib.contextmanager
def watch_memory(server: Server) -> Iterator[list[int]]:
    """Measures the service's resident memory until the block ends; gives the sizes in bytes."""
    sizes, stop = [measure_memory(descendants(server.process.pid)).rss_bytes], threading.Event()

    def watch() -> None:
        while not stop.wait(MEMORY_SECONDS):
            sizes.append(measure_memory(descendants(server.process.pid)).rss_bytes)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def run_clients(folder: Path, address: str, grpc_address: str) -> Iterator[None]:
    """Asks until the block ends; then the records lie in `clients-*.npz`.

    Raises:
        BenchmarkFailed: a process that asks failed.
    """
    log = folder / "clients.log"
    plans = {"innocent": ("1", "0")} | {
        str(number): (str(THREADS), str(1 + number * THREADS)) for number in range(PROCESSES)
    }
    with contextlib.ExitStack() as stack:
        processes = []
        for name, (threads, seed) in plans.items():
            command = ["-m", "benchmarks.hammer", address, grpc_address, threads, seed, f"{folder}/clients-{name}"]
            processes.append(stack.enter_context(start(command, {}, log)))
        time.sleep(WARM_UP_SECONDS)
        yield
        for process in processes:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            codes = [process.wait(60) for process in processes]
            if not any(codes):
                return
        raise BenchmarkFailed(f"The clients failed:\n{tail(log)}")


if __name__ == "__main__":
    sys.exit(main())
