"""TensorFlow Serving's gRPC API on a port: both services, health, TLS, and limits on sizes, threads and time."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from service.engine.repository import Repository
from service.engine.resources import give_memory_back
from service.engine.tensorflow.tensor_sizes import most_input_bytes
from service.errors import InvalidSettings
from service.protocols.grpc import models as grpc_models
from service.protocols.grpc import prediction as grpc_prediction
from service.protocols.grpc.exchange import Access, Observer, Reception
from service.protocols.grpc.handlers import Handlers, Pool
from service.protocols.grpc.health import Health
from service.protocols.grpc.inference import Inference
from service.protocols.grpc.models import Models
from service.protocols.grpc.prediction import Prediction
from service.settings import Settings, bracketed

# Calls at a time of one connection; clients keep more of them back.
STREAMS_PER_CONNECTION = 128
# Connections end after this long, give or take a tenth, and clients open others: calls go on, and new ones spread over
# new replicas. What a client does not read by then, nobody keeps for it.
CONNECTION_SECONDS = 300
# How often memory is given back, of which much may be left after large messages.
TRIM_SECONDS = 10
CONNECTIONS = (
    ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
    # A client that vanished without a word, or reads nothing, is noticed after 50 seconds.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ping, with no call open too, as often as the usual load balancers want them to.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_age_ms", 1000 * CONNECTION_SECONDS),
)


class GrpcServer:
    """A server that is made, started and stopped once; its event loop has a thread of its own.

    Args:
        settings: address, limits and TLS; port 0 takes a free one.
        reception: what calls are checked against and measured with.
        repository: the models.

    Attributes:
        port: where it listens.

    Raises:
        InvalidSettings: the address is taken, or the certificate or its key cannot be used.
    """

    def __init__(self, settings: Settings, reception: Reception, repository: Repository) -> None:
        most_bytes = most_input_bytes(settings.max_body_bytes)
        prediction = Prediction(repository, most_bytes, typed=settings.grpc_typed_fields)
        inference = Inference(repository, most_bytes)
        models = Models(repository, settings.model_repository, settings.load_timeout_seconds)
        methods = {
            grpc_prediction.SERVICE: [*prediction.methods(), *inference.methods()],
            grpc_models.SERVICE: models.methods(),
        }
        self._health = Health(repository.pending, methods)
        self._pool = Pool(settings.threads, settings.max_body_bytes)
        self._loop = asyncio.new_event_loop()
        self._stopped = threading.Event()
        self._ending: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._run_loop, name="grpc-loop", daemon=True).start()
        try:
            self.port = self._wait_for(self._open(settings, Handlers(methods, reception, self._pool)))
        except InvalidSettings:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise

    def _run_loop(self) -> None:
        self._loop.run_forever()
        self._loop.close()
        self._stopped.set()

    def _wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _open(self, settings: Settings, handlers: Handlers) -> int:
        self._server = create_bare_server(settings)
        add_HealthServicer_to_server(self._health, self._server)
        self._server.add_generic_rpc_handlers((handlers,))
        return listen(self._server, settings)

    def start(self) -> None:
        """Begins to answer."""
        self._wait_for(self._server.start())
        self._loop.call_soon_threadsafe(self._give_memory_back)
        # Raises what ends the server before its time, which ends the process; see `end_when_a_thread_fails`.
        watch = self._server.wait_for_termination()
        threading.Thread(target=self._wait_for, args=(watch,), name="grpc-watch", daemon=True).start()

    def _give_memory_back(self) -> None:
        """Has the system take the memory of messages that are gone, now and every few seconds; in a thread."""
        self._loop.run_in_executor(None, give_memory_back)
        self._loop.call_later(TRIM_SECONDS, self._give_memory_back)

    def stop(self, grace_seconds: float) -> threading.Event:
        """Says NOT_SERVING and takes no new calls.

        Args:
            grace_seconds: how long the calls in flight may take.

        Returns:
            An event that is set when the last of them has ended.
        """
        with suppress(RuntimeError):  # It has stopped already.
            self._loop.call_soon_threadsafe(self._begin_stop, grace_seconds)
        return self._stopped

    def _begin_stop(self, grace_seconds: float) -> None:
        self._ending.add(self._loop.create_task(self._stop(grace_seconds)))

    async def _stop(self, grace_seconds: float) -> None:
        self._health.is_stopping = True
        await self._server.stop(grace_seconds)
        self._pool.close()
        # Calls that were cut off note that they were.
        others = asyncio.all_tasks() - self._ending
        if others:
            await asyncio.wait(others, timeout=1)
        self._loop.stop()


def create_bare_server(settings: Settings) -> grpc.aio.Server:
    """Makes a server without services."""
    return grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            # Limited where answers are made, KILN_MAX_ANSWER_BYTES, before they become messages.
            ("grpc.max_send_message_length", -1),
            # Otherwise a second server would get half of the calls instead of an error.
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_age_grace_ms", 2000 * max(settings.timeout_seconds, settings.load_timeout_seconds)),
            *CONNECTIONS,
        ),
    )


def listen(server: grpc.aio.Server, settings: Settings) -> int:
    """Takes the port; with TLS where a certificate is set.

    Raises:
        InvalidSettings: the address is taken, or the certificate or its key cannot be used.
    """
    address = f"{bracketed(settings.host)}:{settings.grpc_port}"
    credentials = read_credentials(settings)
    try:
        port: int = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError:
        raise InvalidSettings(
            f"Cannot listen on {address} for gRPC: the address is taken, or none of this machine's. "
            "Set KILN_GRPC_PORT (or KILN_HOST) to another one, e.g. KILN_GRPC_PORT=8501."
        ) from None
    return port


def read_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """The certificate and key for TLS, or None where none are set.

    Raises:
        InvalidSettings: they cannot be read, or do not belong together.
    """
    certificate, key = settings.grpc_tls_certificate, settings.grpc_tls_key
    if certificate is None or key is None:
        return None
    try:
        # gRPC would take any bytes, and say nothing when no client gets through.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        pair = (key.read_bytes(), certificate.read_bytes())
    except OSError as error:
        raise InvalidSettings(
            f"KILN_GRPC_TLS_CERTIFICATE={certificate} and KILN_GRPC_TLS_KEY={key} cannot be used: {error}. "
            "Expected PEM files: a certificate chain, and its private key without a password."
        ) from None
    return grpc.ssl_server_credentials([pair])


class Unobserved:
    """Measures nothing."""

    def began(self) -> None:
        """A call has come."""

    def ended(self, request: tuple[str, str, str, str], code: str, seconds: float) -> None:
        """It is over."""


def create_server(
    settings: Settings, repository: Repository, access: Access, observer: Observer | None = None
) -> GrpcServer:
    """Makes a server.

    Args:
        settings: see `Settings`.
        repository: the models.
        access: who may do what.
        observer: is told of every call.

    Raises:
        InvalidSettings: the address is taken, or the certificate or its key cannot be used.
    """
    return GrpcServer(settings, Reception(access, settings.timeout_seconds, observer or Unobserved()), repository)
