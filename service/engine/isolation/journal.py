"""What the engine has in flight, in memory that outlives its process: who was at work when it died."""

import struct
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import orjson

from service.engine.ipc.shared_memory import share_memory

# Model, version and signature.
Key = tuple[str, int, str]
# Bytes of the text, and the thread; the text follows.
HEAD = struct.Struct("<HQ")
ENTRY_BYTES = 1024
ENTRIES = 128
# Names longer than this are cut; a folder's name has 255 bytes at most.
MOST_CHARACTERS = 200
NOTHING = b"\0\0"


@dataclass(frozen=True)
class InFlight:
    """A call or a load that had not ended.

    Attributes:
        model, version, signature: what ran; the signature is "" while the version was being loaded.
        thread: where, as `threading.get_ident` tells it.
    """

    model: str
    version: int
    signature: str
    thread: int


class Journal:
    """Notes what begins and what ends; may be used by several threads.

    Args:
        folder: the service's own, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._memory = share_memory(folder / "engine.calls", ENTRIES * ENTRY_BYTES)
        self._free = deque(range(ENTRIES))
        self._texts: dict[Key, bytes] = {}

    def clear(self) -> None:
        """Forgets what a process before this one had in flight."""
        for entry in range(ENTRIES):
            self.end(entry, is_free=False)

    def begin(self, key: Key) -> int:
        """Something begins in this thread; gives what `end` wants, which is -1 where there is no more place."""
        text = self._texts.get(key)
        if text is None:
            name, number, signature = key
            text = self._texts[key] = orjson.dumps([name, number, signature[:MOST_CHARACTERS]])
        try:
            entry = self._free.pop()
        except IndexError:
            return -1
        start = entry * ENTRY_BYTES
        record = HEAD.pack(len(text), threading.get_ident()) + text
        self._memory[start : start + len(record)] = record
        return entry

    def end(self, entry: int, *, is_free: bool = True) -> None:
        """It has ended."""
        if entry < 0:
            return
        start = entry * ENTRY_BYTES
        self._memory[start : start + len(NOTHING)] = NOTHING
        if is_free:
            self._free.append(entry)

    def forget(self, name: str, number: int) -> None:
        """A version was unloaded."""
        for key in [key for key in list(self._texts) if key[:2] == (name, number)]:
            self._texts.pop(key, None)

    def read(self) -> list[InFlight]:
        """What has begun and not ended."""
        found = []
        for start in range(0, ENTRIES * ENTRY_BYTES, ENTRY_BYTES):
            size, thread = HEAD.unpack_from(self._memory, start)
            if size:
                text = self._memory[start + HEAD.size : start + HEAD.size + size]
                name, number, signature = orjson.loads(text)
                found.append(InFlight(name, number, signature, thread))
        return found
