"""What every gRPC method shares: access, the deadline, errors with their codes, and the measurement of the call."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from service.auth import is_loopback
from service.engine.model import InvalidInput
from service.errors import FailedPrecondition, InvalidConfiguration, InvalidPayload, ServiceError

logger = logging.getLogger(__name__)

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
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
    """

    name: str
    scope: str
    request: Any
    answer: Callable[[Any, "Exchange"], Any]


class Exchange:
    """One call, from its arrival to its answer or error.

    Args:
        method: what is called.
        context: gRPC's side of it.
        reception: what it is checked against and measured with.

    Attributes:
        model, version, signature: what it is about, for the measurement; "" where unknown.
        deadline: clock of `time.monotonic` at which nobody waits any more.
    """

    def __init__(self, method: Method, context: grpc.ServicerContext, reception: Reception) -> None:
        self._method = method
        self._context = context
        self._reception = reception
        self._started = time.monotonic()
        remaining = context.time_remaining()
        timeout = reception.timeout_seconds
        self.deadline = self._started + (timeout if remaining is None else min(remaining, timeout))
        self.model = self.version = self.signature = ""

    def check_access(self) -> None:
        """Lets the call pass, or raises a `ServiceError`."""
        metadata = {key: value for key, value in self._context.invocation_metadata() or () if isinstance(value, str)}
        is_local = is_local_peer(self._context.peer()) and PROXY_KEYS.isdisjoint(metadata)
        self._reception.access.check(self._method.scope, metadata.get("authorization"), from_loopback=is_local)

    def __enter__(self) -> "Exchange":
        self._reception.observer.began()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Measures the call, and answers an error as gRPC does."""
        code = find_code(error)
        request = (self._method.name, self.model, self.version, self.signature)
        self._reception.observer.ended(request, code.name, time.monotonic() - self._started)
        if isinstance(error, Exception):
            self._refuse(error, code)

    def _refuse(self, error: Exception, code: grpc.StatusCode) -> None:
        if code is grpc.StatusCode.INTERNAL:
            logger.error("gRPC call of %s failed", self._method.name, exc_info=error)
            self._context.abort(code, "Internal error. The log has its cause.")
        retry_after_seconds = getattr(error, "retry_after_seconds", None)
        if retry_after_seconds is not None:
            self._context.set_trailing_metadata(((PUSHBACK, str(1000 * retry_after_seconds)),))
        sentence = f"The model refused the inputs: {error}" if isinstance(error, InvalidInput) else str(error)
        # Details travel as a header, of which clients take 8 KiB; each byte that is not ASCII needs three.
        self._context.abort(code, sentence.encode()[:MOST_DETAILS].decode("utf-8", "ignore"))


def find_code(error: BaseException | None) -> grpc.StatusCode:
    """The code for what went wrong, or OK."""
    if error is None:
        return grpc.StatusCode.OK
    if isinstance(error, InvalidInput):
        return grpc.StatusCode.INVALID_ARGUMENT
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


def create_handler(service: str, methods: list[Method], reception: Reception) -> grpc.GenericRpcHandler:
    """Makes what a gRPC server needs to answer the methods of a service.

    Args:
        service: its full name, e.g. `tensorflow.serving.PredictionService`.
        methods: all of them.
        reception: what calls are checked against and measured with.
    """
    handlers = {method.name: create_method_handler(method, reception) for method in methods}
    return grpc.method_handlers_generic_handler(service, handlers)


def create_method_handler(method: Method, reception: Reception) -> grpc.RpcMethodHandler:
    """Makes the handler of one method."""

    def read(content: bytes) -> Any:
        try:
            return method.request.FromString(content)
        except DecodeError:
            # Raised here, it would be an internal error with a stack in the log.
            return InvalidPayload(f"The request is no {method.request.DESCRIPTOR.full_name}.")

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        with Exchange(method, context, reception) as exchange:
            exchange.check_access()
            if isinstance(request, InvalidPayload):
                raise request
            return method.answer(request, exchange)

    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=read, response_serializer=serialize)


def serialize(message: Any) -> bytes:
    """A message's bytes."""
    return message.SerializeToString()
