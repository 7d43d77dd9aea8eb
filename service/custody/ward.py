"""A worker's side: hands copies of its connections to the keeper, and notes in shared memory how far each has come."""

import array
import mmap
import os
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from service.custody.counts import count_bytes

# A message is one of these and the number by which the worker knows the connection.
GREET, TAKE, FORGET, GIVE = b"G", b"T", b"F", b"A"
NUMBER = struct.Struct("=I")
# By the connection's number: bytes read when the last request had been; bytes written before its answer, and after it.
NOTE = struct.Struct("=QQQ")
# Stands for the bytes before an answer whose beginning has been sent already.
BEGUN = 2**64 - 1
MOST_CONNECTIONS = 65536
SOCKET = "keeper.sock"


class Ward:
    """Speaks with the keeper.

    Args:
        folder: the service's own, with the keeper's socket.

    Raises:
        OSError: there is no keeper.
    """

    def __init__(self, folder: Path) -> None:
        self._keeper = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._keeper.connect(str(folder / SOCKET))
        memory = os.memfd_create("kiln-connections")
        os.ftruncate(memory, MOST_CONNECTIONS * NOTE.size)
        self._notes = mmap.mmap(memory, MOST_CONNECTIONS * NOTE.size)
        self._lock = threading.Lock()
        self._tell(GREET, os.getpid(), memory)
        os.close(memory)

    def fileno(self) -> int:
        """The descriptor that becomes readable when the keeper gives a connection."""
        return self._keeper.fileno()

    def take(self, connection: socket.socket) -> bool:
        """A connection is this worker's from now on.

        Returns:
            Whether the keeper has a copy: not of more connections than it has notes for.
        """
        if connection.fileno() >= MOST_CONNECTIONS:
            return False
        self.note(connection)
        self._tell(TAKE, connection.fileno(), connection.fileno())
        return True

    def note(self, connection: socket.socket, ahead: int = 0, length: int = 0, *, has_begun: bool = False) -> None:
        """The end of an answer is about to be sent.

        Noted before, so that whoever looks can tell from the bytes written whether it has been; with one call of the
        system it has either been or not.

        Args:
            connection: the client's.
            ahead: bytes that were read already and belong to the next request.
            length: bytes that are about to be sent.
            has_begun: whether some of the answer has been sent before.
        """
        counts = count_bytes(connection)
        before = BEGUN if has_begun else counts.written
        place = connection.fileno() * NOTE.size
        NOTE.pack_into(self._notes, place, counts.read - ahead, before, counts.written + length)

    def read_since_note(self, connection: socket.socket) -> int:
        """How many bytes of a request have been read."""
        before, _, _ = NOTE.unpack_from(self._notes, connection.fileno() * NOTE.size)
        return count_bytes(connection).read - int(before)

    def forget(self, connection: socket.socket) -> None:
        """A connection is about to be closed; its number may become another's."""
        self._tell(FORGET, connection.fileno())

    def receive(self) -> socket.socket | None:
        """A connection that another worker left, or None where the keeper gives none."""
        message, descriptors, _, _ = socket.recv_fds(self._keeper, 16, 1, socket.MSG_DONTWAIT)
        return socket.socket(fileno=descriptors[0]) if message[:1] == GIVE and descriptors else None

    def _tell(self, kind: bytes, number: int, descriptor: int | None = None) -> None:
        message = kind + NUMBER.pack(number)
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        # Without a keeper this worker is about to be ended too.
        with self._lock, suppress(OSError):
            self._keeper.sendmsg([message], rights)
