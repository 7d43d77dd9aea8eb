"""When each model was last asked for, so that an engine that is started again loads those in demand first."""

import struct
import time
import zlib
from pathlib import Path

from service.engine.heartbeat import share_memory

SECONDS = struct.Struct("<d")
# Two models in the same place share their time, which only changes the order of loading.
PLACES = 4096


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
