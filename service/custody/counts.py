"""How many bytes have gone through a connection, as the kernel counts them."""

import array
import fcntl
import socket
import struct
import sys
import termios
from typing import NamedTuple

# Of `struct tcp_info` in linux/tcp.h: tcpi_bytes_received, tcpi_notsent_bytes, tcpi_bytes_sent and tcpi_bytes_retrans.
RECEIVED, NOT_SENT, SENT, SENT_AGAIN = 128, 144, 200, 208
TCP_INFO_BYTES = 216
LONG, INTEGER = struct.Struct("=Q"), struct.Struct("=I")


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
    waiting = array.array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, waiting)
    (received,), (not_sent,) = LONG.unpack_from(info, RECEIVED), INTEGER.unpack_from(info, NOT_SENT)
    (sent,), (again,) = LONG.unpack_from(info, SENT), LONG.unpack_from(info, SENT_AGAIN)
    return Counts(received - waiting[0], waiting[0], sent - again + not_sent)
