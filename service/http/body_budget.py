"""Memory for the bodies of requests and answers is bounded before it is used.

Each HTTP worker has a budget as large as the largest body that is accepted. A body takes its share as it comes, and a
large answer while it is sent. Where the budget is used up, bodies wait; clients that send or take theirs slowly give
way to them. A body that is larger than an eighth of the limit is decoded and answered alone in the whole service, for
decoding takes several times its memory. Small requests take part in none of this.
"""

import fcntl
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from service.errors import QUEUE_RETRY_AFTER_SECONDS, ModelUnavailable

# What every body may take without being counted.
FREE_BYTES = 64 * 1024
# A body is alone in the service where it is larger than this part of the limit.
LARGE_PART = 8
# Freed memory is given back to the system after a request that took more than this.
LARGE_BYTES = 2**20
POLL_SECONDS = 0.02
# While others wait, a client gives way that has been waited for so long, and was slower than that on the whole.
SLOW_SECONDS = 1.0
SLOW_BYTES_PER_SECOND = 500_000


class BodyBudget:
    """The memory that one process may use for bodies. May be used by several threads or greenlets.

    Args:
        most_bytes: how much.
        lock_file: where the processes of a service agree on who answers a large body; None for one process.
    """

    def __init__(self, most_bytes: int, lock_file: Path | None = None) -> None:
        self.most_bytes = most_bytes
        self.large_bytes = max(most_bytes // LARGE_PART, FREE_BYTES)
        self.lock_file = lock_file
        self._lock = threading.Lock()
        # In the order in which they came, and the bytes of all, and of those whose bodies are still coming.
        self._shares: dict[Share, None] = {}
        self._held = self._coming = 0
        self._looked_at = 0.0

    def take(self, share: "Share", count: int) -> bool:
        """Gives bytes to a share if there are so many; else has a slow client give way."""
        with self._lock:
            has_room = self._held + count <= self.most_bytes or self._may_go_on(share, count)
            if has_room:
                self._add(share, count)
            else:
                self._give_way()
            return has_room

    def add(self, share: "Share", count: int) -> None:
        """Counts bytes that are there already, and has a slow client give way where they are too many."""
        with self._lock:
            self._add(share, count)
            if self._held > self.most_bytes:
                self._give_way()

    def finish_reading(self, share: "Share") -> None:
        """A body has come."""
        with self._lock:
            share.is_reading = False
            self._coming -= share.held

    def release(self, share: "Share") -> None:
        """Takes back what a share holds."""
        with self._lock:
            del self._shares[share]
            self._held -= share.held
            share.held = 0

    def _add(self, share: "Share", count: int) -> None:
        self._shares[share] = None
        share.held += count
        self._held += count
        if share.is_reading:
            self._coming += count

    def _may_go_on(self, share: "Share", count: int) -> bool:
        """Whether it is the first of the bodies that come, which would all wait for one another for ever."""
        if not share.is_reading or self._held - self._coming + share.held + count > self.most_bytes:
            return False
        return next((each for each in self._shares if each.is_reading), share) is share

    def _give_way(self) -> None:
        now = time.monotonic()
        if now < self._looked_at + POLL_SECONDS:
            return
        self._looked_at = now
        slow = next((each for each in self._shares if each.is_slow()), None)
        if slow is not None:
            slow.cut()


class Share:
    """What one request has of the budget.

    Args:
        budget: the process's.
        deadline: until when it waits, by `time.monotonic`.
        client: the client's socket, or None.

    Attributes:
        held: bytes.
        is_reading: whether its body is still coming.
        was_cut: whether its client had to give way.
        was_large: whether it was alone in the service.
    """

    __slots__ = (
        "_began", "_budget", "_client", "_deadline", "_gate", "_moved", "_spent", "held", "is_reading", "was_cut",
        "was_large",
    )  # fmt: skip

    def __init__(self, budget: BodyBudget, deadline: float, client: Any) -> None:
        self._budget, self._deadline, self._client = budget, deadline, client
        self._gate: BinaryIO | None = None
        # Since when the client is waited for, or None; for how long it was before; how many bytes came or went by then.
        self._began: float | None = None
        self._spent = 0.0
        self._moved = 0
        self.held = 0
        self.is_reading = self.was_cut = self.was_large = False

    def reserve(self, count: int) -> None:
        """Takes bytes, and waits for them until the request's deadline.

        Raises:
            ModelUnavailable: there were not enough of them in time.
        """
        while not self._budget.take(self, count):
            self._pause("The memory for requests is used up. Try again shortly.")

    @property
    def large_bytes(self) -> int:
        """Bodies that are larger are answered one at a time."""
        return self._budget.large_bytes

    def begin_reading(self) -> None:
        """Its body comes from now on."""
        self.is_reading = True

    def finish_reading(self) -> None:
        """Its body has come, or never will."""
        if self.is_reading:
            self._budget.finish_reading(self)

    def hold_answer(self, count: int) -> None:
        """Counts an answer that is about to be sent."""
        self._budget.add(self, count)

    def enter(self) -> None:
        """Waits until no other large body is decoded or answered in the service.

        Raises:
            ModelUnavailable: one still was at the request's deadline.
        """
        if self.was_large or self._budget.lock_file is None:
            return
        try:
            gate = self._budget.lock_file.open("ab")
        except OSError:  # a full disk is no reason to refuse requests
            return
        try:
            while not lock(gate):
                self._pause("Other large requests are being answered. Try again shortly.")
        except ModelUnavailable:
            gate.close()
            raise
        self._gate, self.was_large = gate, True

    def leave(self) -> None:
        """Lets the next large body in."""
        if self._gate is not None:
            self._gate.close()
            self._gate = None

    def release(self) -> bool:
        """Gives everything back.

        Returns:
            Whether it was much.
        """
        self.leave()
        was_much = self.was_large or self.held > LARGE_BYTES
        if self.held:
            self._budget.release(self)
        return was_much

    def wait_for_client(self) -> None:
        """The client is waited for from now on, for a piece of its body or until it takes one of its answer."""
        if not self.is_reading:
            # Each piece counts for itself: the first ones go into the system's buffers, whatever the client does.
            self._spent, self._moved = 0.0, 0
        self._began = time.monotonic()

    def note_moved(self, count: int) -> None:
        """The client has sent or taken bytes."""
        if self._began is not None:
            self._spent += time.monotonic() - self._began
        self._began = None
        self._moved += count

    def is_slow(self) -> bool:
        """Whether its client keeps memory from others."""
        spent = self._spent if self._began is None else self._spent + time.monotonic() - self._began
        is_waited_for = self._began is not None and not self.was_cut and self._client is not None
        return is_waited_for and spent > SLOW_SECONDS and self._moved < spent * SLOW_BYTES_PER_SECOND

    def cut(self) -> None:
        """Ends the wait for its client."""
        self.was_cut = True
        end_reading(self._client, socket.SHUT_RD if self.is_reading else socket.SHUT_RDWR)

    def _pause(self, sentence: str) -> None:
        if time.monotonic() >= self._deadline:
            raise ModelUnavailable(sentence, QUEUE_RETRY_AFTER_SECONDS)
        time.sleep(POLL_SECONDS)


def lock(file: BinaryIO) -> bool:
    """Locks a file, unless somebody else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def end_reading(client: socket.socket, how: int = socket.SHUT_RD) -> None:
    """Ends a wait for a client: what has come is still read, and then its end.

    Through a copy, as gevent would raise an error in the greenlet that waits.
    """
    with suppress(OSError), client.dup() as copy:
        copy.shutdown(how)
