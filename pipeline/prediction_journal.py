"""How far a batch prediction has come: the output so far, and a small file that says how much of it is whole.

`.OUT.part` holds whole chunks and, after a kill, perhaps a piece of one. `.OUT.progress.json` holds the length of the
whole ones, where the input goes on, and what the run was begun with. Resumed, the piece is cut off.
"""

import dataclasses
import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO

from pipeline.errors import DataError
from pipeline.prediction_rows import Position


@dataclass
class Progress:
    """What is whole.

    Attributes:
        begun_with: all that decides over the output, by what it is called in a message.
        position: where the input goes on.
        part_bytes: length of the output.
        rejected_bytes: length of the list of rejected rows.
        scored: rows in the output.
        rejected: rows in that list.
    """

    begun_with: dict[str, Any]
    position: Position = field(default_factory=Position)
    part_bytes: int = 0
    rejected_bytes: int = 0
    scored: int = 0
    rejected: int = 0


class Journal:
    """The output of one run while it is being written.

    Attributes:
        progress: see `Progress`.
        part: the file with the chunks.
        rejected: the list of rejected rows; it exists once there is one.
    """

    def __init__(self, output: Path, begun_with: dict[str, Any], *, overwrite: bool) -> None:
        """Begins an output, or takes up one that was interrupted.

        Args:
            output: the file that is to appear.
            begun_with: see `Progress`; a run is taken up only where all of it is as it was.
            overwrite: begin anew, whatever is there.

        Raises:
            DataError: the output exists, or was begun with something else, or is being written.
        """
        self.part = output.with_name(f".{output.name}.part")
        self.rejected = output.with_name(f"{output.name}.rejected.csv")
        self._state = output.with_name(f".{output.name}.progress.json")
        before = None if overwrite else _load(self._state)
        if before:
            _check_same(output, before.begun_with, begun_with)
            if not self.part.exists() and output.exists():
                # Killed between the last two steps: the output has its name and was not yet known to be finished.
                os.replace(output, self.part)
        elif output.exists() and not overwrite:
            raise DataError(f"{output} exists already. Name another output, or replace it with --overwrite.")
        self.progress = before or Progress(begun_with)
        output.parent.mkdir(parents=True, exist_ok=True)
        self._stream = _open_alone(self.part, output)
        if not before:
            for path in (output, self.rejected, self._state):
                path.unlink(missing_ok=True)
        _cut(self.part, self.progress.part_bytes)
        if self.rejected.exists():
            _cut(self.rejected, self.progress.rejected_bytes)

    def append(self, chunk: bytes, rejected: bytes = b"") -> None:
        """Adds a chunk; it counts once `commit` was called."""
        self._stream.write(chunk)
        self.progress.part_bytes += len(chunk)
        if rejected:
            with self.rejected.open("ab") as stream:
                stream.write(rejected)
                _sync(stream)
            self.progress.rejected_bytes += len(rejected)

    def commit(self) -> None:
        """Makes what was added so far survive a kill or a power cut."""
        _sync(self._stream)
        building = self._state.with_name(f"{self._state.name}.building")
        with building.open("w", encoding="utf-8") as stream:
            json.dump(dataclasses.asdict(self.progress), stream)
            _sync(stream)
        os.replace(building, self._state)

    def close(self) -> None:
        """Lets another run take up what is there."""
        self._stream.close()

    def clear(self) -> None:
        """Removes what only an unfinished run needs."""
        self._state.unlink()
        self.part.unlink(missing_ok=True)


def _check_same(output: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise DataError(
                f"{output} is unfinished: its {name} was {before.get(name)!r} and is now {value!r}. Finish it as "
                "it was begun, or begin anew with --overwrite."
            )


def _load(path: Path) -> Progress | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Progress(**fields | {"position": Position(**fields["position"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{path} does not say how far a run has come. Begin anew with --overwrite.") from None


def _open_alone(path: Path, output: Path) -> BinaryIO:
    stream = path.open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise DataError(f"{output} is being written by another run.") from None
    return stream


def _cut(path: Path, length: int) -> None:
    """Removes what stands behind the first `length` bytes of a file."""
    if path.stat().st_size < length:
        raise DataError(f"{path} is shorter than it was. Begin anew with --overwrite.")
    os.truncate(path, length)


def _sync(stream: IO[Any]) -> None:
    stream.flush()
    os.fsync(stream.fileno())
