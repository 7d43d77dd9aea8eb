"""The engine's process where the models run elsewhere: requests go on to a fleet of TensorFlow Serving's."""

import dataclasses
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from service.engine.fleet.engine import RemoteEngine
from service.engine.interface import Arrays, Call, Catalog
from service.engine.ipc.server import Reply, Work
from service.engine.model import InvalidInput
from service.errors import DeadlineExceeded, ServiceError
from service.settings import Settings

logger = logging.getLogger(__name__)

# Calls wait for the network, not for this machine's CPUs.
MOST_CALLS = 256


class ForwardingEngine:
    """Hands requests on to the fleet; see `Host`.

    Args:
        settings: see `Settings`.
        publish: told the catalogue at each change.
    """

    def __init__(self, settings: Settings, publish: Callable[[Catalog], None]) -> None:
        self._remote = RemoteEngine(
            settings.tensorflow_serving,
            settings.models,
            poll_seconds=settings.poll_seconds or 1,
            timeout_seconds=settings.timeout_seconds,
            publish=publish,
        )
        self._executor = ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="remote-call")

    def start(self) -> None:
        """Begins to ask the fleet what it serves."""
        self._remote.start()

    def close(self) -> None:
        """Waits for the calls in flight and closes the connections."""
        self._executor.shutdown()
        self._remote.close()

    def submit(self, call: Call, reply: Reply, is_abandoned: Callable[[], bool]) -> None:
        """Hands a request on; see `Host.submit`."""

        def run() -> Arrays:
            if is_abandoned():
                raise DeadlineExceeded("Nobody waits for the answer any more.")
            return self._remote.call(call)

        def answer(future: "Future[Arrays]") -> None:
            error = future.exception()
            if error is not None and not isinstance(error, ServiceError | InvalidInput):
                logger.error("Model %s could not be called: %s", call.model, error)
            reply(error or future.result())

        self._executor.submit(run).add_done_callback(answer)

    def work(self) -> Work | None:
        """Nothing: the fleet works."""
        return None

    def has_work(self) -> bool:
        """Never; see `work`."""
        return False

    def watch(self) -> tuple[bool, int]:
        """Nothing runs here."""
        return False, 0

    def administer(self, operation: str, arguments: list[Any]) -> Any:
        """Gives the statistics; everything else is refused, since the fleet is administered where it runs.

        Raises:
            ServiceError: the refusal.
        """
        if operation == "statistics":
            return [dataclasses.asdict(entry) for entry in self._remote.statistics()]
        refusals: dict[str, Callable[..., Any]] = {
            "load": self._remote.load,
            "unload": self._remote.unload,
            "set_label": self._remote.set_label,
            "configure": self._remote.configure,
        }
        return refusals[operation](*arguments)
