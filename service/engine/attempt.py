"""What a loader raises, as a value: it may be anything, and must end neither the polling nor the serving."""

from types import TracebackType


class Attempt:
    """A `with` block whose failure is kept instead of raised.

    Attributes:
        error: what the block raised, or None.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self.error = error
        return self.error is not None

    def describe(self) -> str:
        """The error in a sentence, e.g. `OSError: no such file`; "" where there is none."""
        return "" if self.error is None else f"{type(self.error).__name__}: {self.error}"
