"""What every gRPC method shares: access, the deadline, errors with their codes, and the measurement of the call."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import unquote

import grpc

from service.auth import is_loopback
from service.errors import FailedPrecondition, InvalidConfiguration, ServiceError

logger = logging.getLogger(__name__)

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# A proxy on this machine adds one of these to what it passes on from elsewhere.
PROXY_KEYS = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"})
# By this, gRPC clients that retry know when to.
PUSHBACK = "grpc-retry-pushback-ms"
MOST_DETAILS = 2000


class Access(Protocol):
    """Who may do what; see `service.auth`."""

    def check(self, scope: str, authorization: str | None, *, from_loopback: bool) -> None:
        """Lets a call pass, or raises a `ServiceError`."""


class Observer(Protocol):
    """What measures calls."""

    def began(self) -> None:
        """A call has come."""

    def ended(self, request: tuple[str, str, str, str], code: str, seconds: float) -> None:
        """It is over.

        Args:
            request: method, model, version and signature; "" where one does not apply.
            code: the name of gRPC's code, e.g. `OK`.
            seconds: how long it took.
        """


@dataclass(frozen=True)
class Reception:
    """What calls are checked against and measured with.

    Attributes:
        access: who may do what.
        timeout_seconds: the longest that a call may take, whatever its client says.
        observer: is told of every call.
    """

    access: Access
    timeout_seconds: float
    observer: Observer


@dataclass(frozen=True)
class Method:
    """One method of a service.

    Attributes:
        name: as the service calls it.
        scope: what its caller must be allowed.
        request: the class of its requests.
        answer: makes the answer to a request.
        timeout_seconds: the longest that it may take to make it; None as for all calls.
    """

    name: str
    scope: str
    request: Any
    answer: Callable[[Any, "Exchange"], Any]
    timeout_seconds: float | None = None


class Exchange:
    """One call, from its arrival to its answer or error; a context manager that measures it and logs errors.

    Args:
        method: what is called.
        context: gRPC's side of it.
        reception: what it is checked against and measured with.

    Attributes:
        model, version, signature: what it is about, for the measurement; "" where unknown.
        message_deadline: clock of `time.monotonic` at which the message must have come.
        deadline: the same for the answer, after which nobody waits any more.
    """

    def __init__(self, method: Method, context: grpc.aio.ServicerContext, reception: Reception) -> None:
        self._method = method
        self._context = context
        self._reception = reception
        self._started = time.monotonic()
        # Unknown once the client has gone.
        self._peer = unquote(context.peer())
        remaining = context.time_remaining()
        given = math.inf if remaining is None else remaining
        self.message_deadline = self._started + min(given, reception.timeout_seconds)
        self.deadline = self._started + min(given, method.timeout_seconds or reception.timeout_seconds)
        self.model = self.version = self.signature = ""

    def check_access(self) -> None:
        """Lets the call pass, or raises a `ServiceError`."""
        metadata = {key: value for key, value in self._context.invocation_metadata() or () if isinstance(value, str)}
        is_local = is_local_peer(self._peer) and PROXY_KEYS.isdisjoint(metadata)
        self._reception.access.check(self._method.scope, metadata.get("authorization"), from_loopback=is_local)

    def __enter__(self) -> "Exchange":
        self._reception.observer.began()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Measures the call, and logs what went wrong."""
        code, reason = find_code(error), describe(error)
        if isinstance(error, asyncio.CancelledError) and time.monotonic() >= self.deadline:
            code, reason = grpc.StatusCode.DEADLINE_EXCEEDED, "The client's deadline is over."
        seconds = time.monotonic() - self._started
        request = (self._method.name, self.model, self.version, self.signature)
        self._reception.observer.ended(request, code.name, seconds)
        if error is not None:
            names = zip(("method", "model", "version", "signature"), request, strict=True)
            fields = {name: value for name, value in names if value}
            fields |= {"code": code.name, "reason": reason, "client": self._peer}
            is_ours = code is grpc.StatusCode.INTERNAL
            logger.log(
                logging.ERROR if is_ours else logging.INFO,
                "gRPC call failed" if is_ours else "gRPC call refused",
                exc_info=error if is_ours else None,
                extra={"fields": fields | {"duration_seconds": round(seconds, 6)}},
            )


async def abort(context: grpc.aio.ServicerContext, error: Exception) -> None:
    """Answers an error as gRPC does; always raises what ends the call."""
    retry_after_seconds = getattr(error, "retry_after_seconds", None)
    pushback = () if retry_after_seconds is None else ((PUSHBACK, str(1000 * retry_after_seconds)),)
    await context.abort(find_code(error), describe(error), pushback)


def describe(error: BaseException | None) -> str:
    """What the client is told of an error."""
    if isinstance(error, asyncio.CancelledError):
        return "The client ended the call."
    if find_code(error) is grpc.StatusCode.INTERNAL:
        return "Internal error. The log has its cause."
    # Details travel as a header, of which clients take 8 KiB; each byte that is not ASCII needs three.
    return str(error).encode()[:MOST_DETAILS].decode("utf-8", "ignore")


def find_code(error: BaseException | None) -> grpc.StatusCode:
    """The code for what went wrong, or OK."""
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED
    if isinstance(error, FailedPrecondition | InvalidConfiguration):
        return grpc.StatusCode.FAILED_PRECONDITION
    if isinstance(error, ServiceError):
        return CODES.get(error.status, grpc.StatusCode.INTERNAL)
    return grpc.StatusCode.INTERNAL


def is_local_peer(peer: str) -> bool:
    """Whether a call comes from this machine; peers look like `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    family, _, address = unquote(peer).partition(":")
    host = address.rpartition(":")[0].strip("[]")
    return family == "unix" or is_loopback(host)
