"""Whether requests should be sent here, and if not, why."""

import os
from collections.abc import Callable

from service.engine.repository import Repository
from service.fleet import Fleet

STOPPING = "The service is stopping."
OTHERS = "Another worker process is still loading."


class Readiness:
    """Readiness of the whole service, as any of its workers answers it.

    Args:
        repository: the models.
        fleet: the workers.

    Attributes:
        is_stopping: whether the process was told to end; set by whoever runs it.
    """

    def __init__(self, repository: Repository, fleet: Fleet) -> None:
        self._repository = repository
        self._fleet = fleet
        self.is_stopping: Callable[[], bool] = lambda: False

    def obstacles(self) -> dict[str, str]:
        """A sentence for each model, or "" for the service, that is not ready; empty when all is."""
        if self.is_stopping():
            return {"": STOPPING}
        waiting = self._repository.pending()
        if not waiting and not self._fleet.is_ready():
            return {"": OTHERS}
        return waiting

    def settle(self) -> bool:
        """Tells the fleet that this worker's loading has come to its end.

        Returns:
            True in one worker only: the first to see that every worker has come so far.
        """
        self._fleet.mark_ready(os.getpid())
        return self._fleet.is_ready() and self._fleet.claim("announced")
