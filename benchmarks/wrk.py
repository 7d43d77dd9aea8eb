"""wrk, the load generator: its scripts, its runs and what they measured."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkFailed

# wrk counts an answer that took longer as a timeout.
TIMEOUT_SECONDS = 5
MISSING = (
    "wrk is not installed; it sends the load. Install it with: apt-get install wrk (Debian, Ubuntu), brew install wrk"
)

# Without a `response` function wrk reads no more than the status of an answer, which keeps it cheap.
SCRIPT = """
local file = assert(io.open(%(body)s, "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
%(headers)s

function done(summary, latency, requests)
  io.write("RESULT ", string.format(
    '{"seconds": %%f, "answers": %%d, "not_good": %%d, "broken": %%d, "timeouts": %%d, "p50": %%f, "p99": %%f}',
    summary.duration / 1e6, summary.requests, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write, summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3), "\\n")
  %(count)s
end
"""

# Counts what is refused, and how; only for the run that asks for it, since wrk then parses every answer.
COUNTING = """
local threads = {}
statuses = {}
bare = 0

function setup(thread)
  table.insert(threads, thread)
end

function response(status, headers, body)
  statuses[tostring(status)] = (statuses[tostring(status)] or 0) + 1
  if status ~= 200 and not (headers["Retry-After"] and (status == 503 or status == 429)) then
    bare = bare + 1
  end
end
"""
PRINT_COUNTS = """
  for _, thread in ipairs(threads) do
    for status, number in pairs(thread:get("statuses")) do io.write("STATUS ", status, " ", number, "\\n") end
    io.write("BARE ", thread:get("bare"), "\\n")
  end
"""


@dataclass(frozen=True)
class Run:
    """What one run of wrk measured.

    Attributes:
        seconds: how long it took.
        answers: complete answers, of whatever status.
        not_good: those with a status of 400 or more.
        broken: connections that failed, or broke in a request.
        timeouts: answers that took too long.
        p50, p99: milliseconds from sending to the whole answer.
        cpu_seconds: CPU time that the server used meanwhile.
    """

    seconds: float
    answers: int
    not_good: int
    broken: int
    timeouts: int
    p50: float
    p99: float
    cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return (self.answers - self.not_good) / self.seconds


@dataclass(frozen=True)
class Refusals:
    """What the answers of one run were.

    Attributes:
        statuses: answers by status.
        bare: those that were neither good nor a 503 or 429 with Retry-After.
        run: the rest.
    """

    statuses: dict[str, int]
    bare: int
    run: Run


def find_wrk() -> str:
    """The program.

    Raises:
        BenchmarkFailed: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkFailed(MISSING)
    return found


def write_script(folder: Path, name: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Writes the two scripts of a scenario, `<name>.lua` and `<name>-counting.lua`, and the body that they send."""
    path = folder / f"{name}.request"
    path.write_bytes(body)
    lines = "\n".join(f"wrk.headers[{json.dumps(key)}] = {json.dumps(value)}" for key, value in headers.items())
    fill = {"body": json.dumps(str(path)), "headers": lines}
    (folder / f"{name}.lua").write_text(SCRIPT % (fill | {"count": ""}), encoding="utf-8")
    counting = COUNTING + SCRIPT % (fill | {"count": PRINT_COUNTS})
    (folder / f"{name}-counting.lua").write_text(counting, encoding="utf-8")


def run(script: Path, address: str, connections: int, seconds: int) -> Run:
    """Sends requests for a while, each connection the next one as soon as it has an answer.

    Args:
        script: see `write_script`.
        address: where to.
        connections: how many.
        seconds: how long.
    """
    return read_run(call(script, address, connections, seconds))


def count_refusals(script: Path, address: str, connections: int, seconds: int) -> Refusals:
    """As `run`, with the counting script: what the answers were."""
    output = call(script, address, connections, seconds)
    statuses: dict[str, int] = {}
    bare = 0
    for line in output.splitlines():
        kind, *values = line.split()[:3] or [""]
        if kind == "STATUS":
            statuses[values[0]] = statuses.get(values[0], 0) + int(float(values[1]))
        elif kind == "BARE":
            bare += int(float(values[0]))
    return Refusals(statuses, bare, read_run(output))


def call(script: Path, address: str, connections: int, seconds: int) -> str:
    """Runs wrk and gives what it printed."""
    # One thread of wrk is enough for what two cores answer, and leaves more of them to the server.
    threads = 1 if connections <= 32 else 2
    command = [
        find_wrk(), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s",
        f"--script={script}", address,
    ]  # fmt: skip
    finished = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    if finished.returncode:
        raise BenchmarkFailed(f"wrk ended with status {finished.returncode}: {finished.stderr or finished.stdout}")
    return finished.stdout


def read_run(output: str) -> Run:
    """The figures in what wrk printed.

    Raises:
        BenchmarkFailed: there are none.
    """
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return Run(**json.loads(line.removeprefix("RESULT ")))
    raise BenchmarkFailed(f"wrk gave no result: {output}")
