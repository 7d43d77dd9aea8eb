"""Handlers of gRPC methods: they wait for requests in the event loop, and answer them in a pool of threads.

On the wire, a method that takes one message and one that takes a stream are the same. Here all are registered as the
latter: their handlers then run before a message has come, so a call that sends nothing costs a coroutine and no thread,
and ends with its deadline.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
from google.protobuf.message import DecodeError

from service.engine.attempt import Attempt
from service.engine.tensorflow.tensor_sizes import most_input_bytes
from service.errors import DeadlineExceeded, InvalidPayload, ServiceError
from service.protocols.grpc.exchange import Exchange, Method, Reception, abort
from service.protocols.grpc.message_sizes import check_message

logger = logging.getLogger(__name__)

# Calls in flight for each thread, and messages of the largest size in flight; more are refused at once.
CALLS_PER_THREAD = 16
LARGEST_MESSAGES = 16
# Of smaller messages than this part of the largest, none takes more memory than the largest may.
LARGE_SHARE = 16


class TooManyCalls(ServiceError):
    """As many calls are in flight as may be."""

    status = 429
    retry_after_seconds = 1


class Pool:
    """The threads that answer calls, and the calls that have sent their message and are not over.

    Its methods are called in the thread of the event loop.

    Args:
        threads: how many calls are answered at a time.
        max_body_bytes: the largest message.
    """

    def __init__(self, threads: int, max_body_bytes: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="grpc")
        self._max_body_bytes = max_body_bytes
        self._most_calls = threads * CALLS_PER_THREAD
        self._most_bytes = LARGEST_MESSAGES * max_body_bytes
        self._calls = self._bytes = 0

    def enter(self, message: bytes, context: grpc.aio.ServicerContext) -> None:
        """Counts a call until its answer has been sent.

        Raises:
            TooManyCalls: there is no room for it.
        """
        size = len(message)
        if self._calls >= self._most_calls or self._bytes + size > self._most_bytes:
            raise TooManyCalls(
                f"{self._calls} calls of {self._bytes} bytes are in flight; at most {self._most_calls} calls of "
                f"{self._most_bytes} bytes may be. Try again shortly."
            )
        self._calls += 1
        self._bytes += size
        context.add_done_callback(lambda _context: self._leave(size))

    def _leave(self, size: int) -> None:
        self._calls -= 1
        self._bytes -= size

    def submit(self, method: Method, message: list[bytes], exchange: Exchange) -> "Future[bytes]":
        """Answers a message in a thread; see `answer_message`."""
        return self._executor.submit(answer_message, method, message, exchange, self._max_body_bytes)

    def close(self) -> None:
        """Takes no more calls."""
        self._executor.shutdown(wait=False)


def answer_message(method: Method, message: list[bytes], exchange: Exchange, max_body_bytes: int) -> bytes:
    """The answer's bytes to a request's bytes.

    Args:
        method: what is called.
        message: the request's bytes, which are taken out of the list: nobody else needs them any more.
        exchange: the call.
        max_body_bytes: the largest message.

    Raises:
        InvalidPayload: the bytes are not such a request, or one that would take too much memory.
        ServiceError: as the method says.
    """
    if len(message[0]) * LARGE_SHARE > max_body_bytes:
        check_message(message[0], method.request.DESCRIPTOR, most_input_bytes(max_body_bytes))
    try:
        request = method.request.FromString(message.pop())
    except DecodeError:
        raise InvalidPayload(f"The request is not a {method.request.DESCRIPTOR.full_name}.") from None
    content: bytes = method.answer(request, exchange).SerializeToString()
    return content


async def read_message(context: grpc.aio.ServicerContext, exchange: Exchange) -> bytes:
    """The one message of a call.

    Raises:
        InvalidPayload: there is none, or there are two.
        DeadlineExceeded: the client has not sent it, or not ended its side of the call, in time.
    """
    try:
        async with asyncio.timeout(exchange.message_deadline - time.monotonic()):
            message = await context.read()
            if message is grpc.aio.EOF:
                raise InvalidPayload(
                    "The call has no message, or one that is larger than KILN_MAX_BODY_BYTES; expected one."
                )
            if await context.read() is not grpc.aio.EOF:
                raise InvalidPayload("The call has more than one message; expected one.")
    except TimeoutError:
        raise DeadlineExceeded("The client did not send a whole message before the call's deadline.") from None
    return bytes(message)


async def answer_call(method: Method, context: grpc.aio.ServicerContext, exchange: Exchange, pool: Pool) -> bytes:
    """The answer's bytes to a call.

    Raises:
        ServiceError: it is refused, or there is no answer in time.
    """
    exchange.check_access()
    # In a list, so that the bytes are free as soon as they are read.
    message = [await read_message(context, exchange)]
    pool.enter(message[0], context)
    answer = asyncio.wrap_future(pool.submit(method, message, exchange))
    try:
        # One that still waits for a thread then is taken out of the queue.
        return await asyncio.wait_for(answer, exchange.deadline - time.monotonic())
    except TimeoutError:
        raise DeadlineExceeded("There was no answer before the call's deadline.") from None
    finally:
        message.clear()


def create_method_handler(method: Method, reception: Reception, pool: Pool) -> grpc.RpcMethodHandler:
    """Makes the handler of one method."""

    async def answer(_messages: object, context: grpc.aio.ServicerContext) -> bytes:
        content = b""
        with Attempt() as attempt, Exchange(method, context, reception) as exchange:
            content = await answer_call(method, context, exchange, pool)
        if attempt.error is not None:
            await abort(context, attempt.error)
        return content

    return grpc.stream_unary_rpc_method_handler(answer)


class Handlers(grpc.GenericRpcHandler):
    """Finds the handlers of all methods of some services.

    Args:
        methods: by the service's full name, e.g. `tensorflow.serving.PredictionService`.
        reception: what calls are checked against and measured with.
        pool: what answers them.
    """

    def __init__(self, methods: Mapping[str, Sequence[Method]], reception: Reception, pool: Pool) -> None:
        self._handlers = {
            f"/{service}/{method.name}": create_method_handler(method, reception, pool)
            for service, entries in methods.items()
            for method in entries
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a method, or None, which gRPC answers with UNIMPLEMENTED."""
        handler = self._handlers.get(details.method)
        if handler is None:
            fields = {"method": details.method[:256], "code": "UNIMPLEMENTED", "reason": "There is no such method."}
            logger.info("gRPC call refused", extra={"fields": fields})
        return handler
