"""Whether requests should be sent here, and whether the service is alive; if not, why."""

from collections.abc import Callable

from service.engine.repository import Repository

STOPPING = "The service is stopping."


class Readiness:
    """Readiness of the service, as any of its processes answers it.

    Args:
        repository: the models.

    Attributes:
        is_stopping: whether the process was told to end; set by what runs it.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.is_stopping: Callable[[], bool] = lambda: False

    def obstacles(self) -> dict[str, str]:
        """A sentence for each model, or "" for the service, that is not ready; empty when all is."""
        if self.is_stopping():
            return {"": STOPPING}
        return self._repository.pending()

    def trouble(self) -> str:
        """Why the service should be started again, in a sentence; "" where it should not."""
        return self._repository.describe_silence()
