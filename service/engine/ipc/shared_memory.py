"""Memory that all processes of a service share: the engine's signs of life, and which models are asked for."""

import mmap
import os
import struct
import time
import zlib
from pathlib import Path

SECONDS = struct.Struct("<d")
# How often the engine gives a sign of life.
PERIOD_SECONDS = 0.5
# Models of which times of demand are kept. Two in the same place share their time, which only changes the order in
# which an engine that is started again loads them.
PLACES = 4096


class Heartbeat:
    """The time of the last sign of life, by `time.monotonic`, which is one clock for all processes of a machine.

    Args:
        folder: the service's own, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._memory = share_memory(folder / "engine.heartbeat", SECONDS.size)

    def beat(self) -> None:
        """The engine is alive."""
        self._memory[: SECONDS.size] = SECONDS.pack(time.monotonic())

    def last(self) -> float:
        """When it last was; 0 for never."""
        seconds: float = SECONDS.unpack(self._memory[: SECONDS.size])[0]
        return seconds

    def age(self) -> float:
        """Seconds since then; 0 if there was no sign yet, since it is being started."""
        last = self.last()
        return max(time.monotonic() - last, 0.0) if last else 0.0


class Demand:
    """Times of the last requests, in memory that all processes of a service share.

    Args:
        folder: the service's own, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._memory = share_memory(folder / "engine.demand", PLACES * SECONDS.size)

    def _offset(self, model: str) -> int:
        return zlib.crc32(model.encode("utf-8", "surrogatepass")) % PLACES * SECONDS.size

    def note(self, model: str) -> None:
        """A model is asked for now."""
        offset = self._offset(model)
        self._memory[offset : offset + SECONDS.size] = SECONDS.pack(time.monotonic())

    def of(self, model: str) -> float:
        """When a model was last asked for, by `time.monotonic`; 0 for never."""
        offset = self._offset(model)
        seconds: float = SECONDS.unpack(self._memory[offset : offset + SECONDS.size])[0]
        return seconds


def share_memory(path: Path, size: int) -> mmap.mmap:
    """Memory that processes share by a file.

    Its disk space is taken here: without that, writing to it when the disk is full would end the process (SIGBUS).

    Args:
        path: of the file, made where it is not there.
        size: in bytes.

    Raises:
        OSError: there is no space.
    """
    with path.open("a+b") as file:
        if file.seek(0, os.SEEK_END) < size:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.write(bytes(size - file.tell()))
                file.flush()
        return mmap.mmap(file.fileno(), size)
