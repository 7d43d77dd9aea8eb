"""Versions that are published while a service runs, and when each of them was served."""

import http.client
import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import BenchmarkFailed
from benchmarks.tiny_models import MODEL

POLL_SECONDS = 0.1
# Older versions are taken away, so that the repository does not grow for hours.
KEPT = 20
SERVED_SECONDS = 30.0


@dataclass
class Publisher:
    """Publishes versions that were built beforehand.

    Attributes:
        built: folder with a folder per version.
        repository: the model repository.
        address: `host:port` of the service.
        published: by version, clock of `time.monotonic` just before it appeared.
        served: by version, clock when the service had said that it is available.
        late: versions that were not served in time.
        newest: the last number that was used.
    """

    built: Path
    repository: Path
    address: str
    published: dict[int, float] = field(default_factory=dict)
    served: dict[int, float] = field(default_factory=dict)
    late: list[int] = field(default_factory=list)
    newest: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self) -> int:
        """Makes the next version appear at once, whole.

        Returns:
            Its number.

        Raises:
            BenchmarkFailed: there are no more.
        """
        with self._lock:
            number = self.newest = self.newest + 1
            source = self.built / str(number)
            if not source.is_dir():
                raise BenchmarkFailed(f"More than {number - 1} versions were needed")
            aside = self._copy(source)
            self.published[number] = time.monotonic()
            aside.rename(self.repository / MODEL / str(number))
            shutil.rmtree(self.repository / MODEL / str(number - KEPT), ignore_errors=True)
        return number

    def publish_broken(self) -> int:
        """Makes a version appear that cannot be loaded: cut short, without its variables, or empty."""
        with self._lock:
            number = self.newest = self.newest + 1
            aside = self._copy(self.built / str(number))
            definition, weights = aside / "saved_model.pb", aside / "variables" / "variables.data-00000-of-00001"
            if number % 4 == 0:
                os.truncate(definition, definition.stat().st_size // 2)
            elif number % 4 == 1:
                os.truncate(weights, 1)
            elif number % 4 == 2:
                shutil.rmtree(aside / "variables")
            else:
                os.truncate(definition, 0)
            aside.rename(self.repository / MODEL / str(number))
        return number

    def _copy(self, source: Path) -> Path:
        aside = self.repository / f".publishing-{source.name}"
        shutil.rmtree(aside, ignore_errors=True)
        (self.repository / MODEL).mkdir(exist_ok=True)
        return Path(shutil.copytree(source, aside))

    def wait_until_served(self, number: int, stop: threading.Event) -> bool:
        """Waits until the service says that a version is available.

        Args:
            number: the version.
            stop: ends the waiting.

        Returns:
            Whether it did within half a minute.
        """
        deadline = time.monotonic() + SERVED_SECONDS
        while not stop.is_set() and time.monotonic() < deadline:
            if read_states(self.address).get(number) == "AVAILABLE":
                self.served[number] = time.monotonic()
                return True
            stop.wait(POLL_SECONDS)
        if not stop.is_set():
            self.late.append(number)
        return False


def read_states(address: str, model: str = MODEL) -> dict[int, str]:
    """The states of a model's versions; empty where the service does not say."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", f"/v1/models/{model}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return {}
        return {int(item["version"]): item["state"] for item in json.loads(body)["model_version_status"]}
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
