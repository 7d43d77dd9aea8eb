"""The workers of one training, as the environment variable TF_CONFIG lists them.

TensorFlow reads the same variable; what it makes of a wrong one is a traceback, or a wait without end.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ParamsError

EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}, with another '
    "index for each worker"
)

LOOPBACK = "python -m pipeline.train_workers --model NAME --workers 2 starts workers on this machine and sets it."

_JOBS = ("chief", "worker")
_ADDRESS = re.compile(r"[^\s:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


@dataclass(frozen=True)
class Cluster:
    """The workers and this process's place among them.

    Attributes:
        addresses: `host:port` of each worker, the chief's first.
        index: of this process in `addresses`; 0 is the chief, which writes the results.
        jobs: how many workers TensorFlow's jobs have, by name.
    """

    addresses: tuple[str, ...]
    index: int
    jobs: dict[str, int]


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Reads TF_CONFIG.

    Args:
        environment: of the process.

    Returns:
        The workers; None where the variable is not set, is empty or lists nobody.

    Raises:
        ParamsError: the variable is not what TensorFlow defines.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _wrong("", "JSON", f"{text!r} ({error})") from None
    if not isinstance(document, dict):
        raise _wrong("", "an object with 'cluster' and 'task'", repr(document))
    if not document.get("cluster"):
        return None
    jobs = _read_jobs(document["cluster"])
    kind, index = _read_task(document.get("task"), jobs)
    addresses = tuple(address for job in _JOBS for address in jobs.get(job, ()))
    if len(set(addresses)) < len(addresses):
        raise _wrong("cluster", "another address for each worker", repr(list(addresses)))
    position = index + (len(jobs.get("chief", ())) if kind == "worker" else 0)
    return Cluster(addresses, position, {job: len(jobs[job]) for job in _JOBS if job in jobs})


def check_distribution(kind: str, cluster: Cluster | None) -> None:
    """Checks that `train.distribute` and TF_CONFIG fit each other, before anything slow begins.

    Args:
        kind: `train.distribute`.
        cluster: what TF_CONFIG says.

    Raises:
        ParamsError: they contradict each other.
    """
    if kind == "multi_worker" and cluster is None:
        raise ParamsError(
            "train.distribute: 'multi_worker' needs the environment variable TF_CONFIG, which lists the workers, and "
            f"it is not set. An example: {EXAMPLE}. Or: {LOOPBACK}"
        )
    if kind != "multi_worker" and cluster and len(cluster.addresses) > 1:
        raise ParamsError(
            f"TF_CONFIG lists {len(cluster.addresses)} workers, and train.distribute is {kind!r}: each of them would "
            "train alone and overwrite the others' results. Expected train.distribute: multi_worker, or no TF_CONFIG."
        )


def _read_jobs(cluster: Any) -> dict[str, list[str]]:
    if not isinstance(cluster, dict) or not set(cluster) <= set(_JOBS):
        raise _wrong("cluster", "lists of addresses under 'worker' and perhaps 'chief'", repr(cluster))
    for job, addresses in cluster.items():
        if not isinstance(addresses, list) or not all(_is_address(address) for address in addresses):
            raise _wrong(f"cluster.{job}", "a list of host:port", repr(addresses))
    if len(cluster.get("chief", ())) > 1:
        raise _wrong("cluster.chief", "one address", repr(cluster["chief"]))
    return {job: addresses for job, addresses in cluster.items() if addresses}


def _read_task(task: Any, jobs: dict[str, list[str]]) -> tuple[str, int]:
    allowed = " or ".join(repr(job) for job in jobs)
    if not isinstance(task, dict) or task.get("type") not in jobs:
        raise _wrong("task", f"the type {allowed} and an index", repr(task))
    kind, index = task["type"], task.get("index")
    # Some platforms write the index as a string, which TensorFlow takes as well.
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    count = len(jobs[kind])
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise _wrong("task.index", f"a number from 0 to {count - 1}, as {kind!r} lists {count}", repr(index))
    return kind, index


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and bool(_ADDRESS.fullmatch(value)) and 0 < int(value.rpartition(":")[2]) < 65536


def _wrong(place: str, expected: str, received: str) -> ParamsError:
    where = f"TF_CONFIG: {place}" if place else "TF_CONFIG"
    return ParamsError(f"{where}: expected {expected}, received {received}. An example: {EXAMPLE}.")
