"""How many bytes have gone through a connection, as the kernel counts them."""

import fcntl
import socket
import struct
import sys
import termios
from typing import NamedTuple

# Of `struct tcp_info` in linux/tcp.h: tcpi_bytes_received at 128, tcpi_notsent_bytes at 144, tcpi_bytes_sent at 200 and
# tcpi_bytes_retrans at 208.
FIELDS = struct.Struct("=128xQ8xI52xQQ")
TCP_INFO_BYTES = 216
INTEGER = struct.Struct("=I")


class Counts(NamedTuple):
    """Bytes of one connection.

    Attributes:
        read: bytes that came and were read by somebody.
        unread: bytes that came and were not.
        written: bytes that were given to the kernel to be sent.
    """

    read: int
    unread: int
    written: int


def is_supported() -> bool:
    """Whether the system counts what is needed here."""
    if sys.platform != "linux":
        return False
    with socket.socket() as probe:
        try:
            return len(probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)) == TCP_INFO_BYTES
        except OSError:
            return False


def count_bytes(connection: socket.socket) -> Counts:
    """Counts a connection's bytes.

    Raises:
        OSError: it is closed.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    while True:
        (unread,) = INTEGER.unpack(fcntl.ioctl(connection, termios.FIONREAD, bytes(INTEGER.size)))
        before, info = info, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        received, not_sent, sent, again = FIELDS.unpack_from(info)
        # Both numbers are of one moment only if nothing has come between.
        if received == FIELDS.unpack_from(before)[0]:
            return Counts(received - unread, unread, sent - again + not_sent)
