"""What the worker processes of one service tell each other, as empty files in a folder that the starter made.

A worker is `<pid>.loading`, or `<pid>.spare` where others can answer in the meantime; then it is `<pid>.ready`, and its
file goes away with it. The folder is prometheus_client's, whose files end in `.db`.
"""

from pathlib import Path

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
STATES = ("loading", "spare", "ready")


class Fleet:
    """The workers that share one port.

    Args:
        folder: where the files lie; None for a process on its own, which waits for nobody.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def join(self, pid: int) -> None:
        """A worker was started."""
        if self._folder is not None:
            (self._folder / f"{pid}.{'spare' if self._any('ready') else 'loading'}").touch()

    def mark_ready(self, pid: int) -> None:
        """A worker's models answer."""
        if self._folder is not None:
            self.leave(pid)
            (self._folder / f"{pid}.ready").touch()

    def leave(self, pid: int) -> None:
        """A worker is gone."""
        if self._folder is not None:
            for state in STATES:
                (self._folder / f"{pid}.{state}").unlink(missing_ok=True)

    def is_ready(self) -> bool:
        """Whether every worker that takes requests can answer them: a probe asks one, the requests go to any."""
        return self._folder is None or (self._any("ready") and not self._any("loading"))

    def is_spare(self, pid: int) -> bool:
        """Whether this worker should take no requests yet, because others can answer them and it cannot."""
        return self._folder is not None and (self._folder / f"{pid}.spare").exists() and self._any("ready")

    def claim(self, task: str) -> bool:
        """Whether this process is the first to claim a task that one of them shall do."""
        if self._folder is None:
            return True
        try:
            (self._folder / task).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _any(self, state: str) -> bool:
        return self._folder is not None and any(self._folder.glob(f"*.{state}"))
