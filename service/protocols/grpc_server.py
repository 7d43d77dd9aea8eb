"""TensorFlow Serving's gRPC API on a port: both services, health, TLS, and limits on sizes, threads and time."""

import ssl
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from service.engine.repository import Repository
from service.errors import InvalidSettings
from service.protocols import grpc_models, grpc_prediction
from service.protocols.grpc_exchange import Access, Observer, Reception, create_handler
from service.protocols.grpc_health import Health
from service.protocols.grpc_inference import Inference
from service.protocols.grpc_models import Models
from service.protocols.grpc_prediction import Prediction
from service.settings import Settings, bracketed

# Calls that may wait for each thread; more are refused at once with RESOURCE_EXHAUSTED.
CALLS_PER_THREAD = 16
KEEPALIVE = (
    # A client that vanished without a word is noticed after two and a half minutes.
    ("grpc.keepalive_time_ms", 120_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may ping, with no call open too, as often as the usual load balancers want them to.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class GrpcServer:
    """A server that is made, started and stopped once.

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
        prediction = Prediction(repository, settings.max_body_bytes, typed=settings.grpc_typed_fields)
        methods = {
            grpc_prediction.SERVICE: [*prediction.methods(), *Inference(repository).methods()],
            grpc_models.SERVICE: Models(repository, settings.model_repository).methods(),
        }
        self._health = Health(repository.pending, tuple(methods))
        self._server = create_bare_server(settings)
        handlers = tuple(create_handler(service, entries, reception) for service, entries in methods.items())
        self._server.add_generic_rpc_handlers(handlers)
        add_HealthServicer_to_server(self._health.servicer, self._server)
        self.port = listen(self._server, settings)

    def start(self) -> None:
        """Begins to answer."""
        self._health.start()
        self._server.start()

    def stop(self, grace_seconds: float) -> Event:
        """Says NOT_SERVING and takes no new calls.

        Args:
            grace_seconds: how long the calls in hand may take.

        Returns:
            An event that is set when the last of them has ended.
        """
        self._health.stop()
        return self._server.stop(grace_seconds)


def create_bare_server(settings: Settings) -> grpc.Server:
    """Makes a server without services."""
    return grpc.server(
        ThreadPoolExecutor(settings.threads, thread_name_prefix="grpc"),
        maximum_concurrent_rpcs=settings.threads * CALLS_PER_THREAD,
        options=(
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.max_send_message_length", settings.max_body_bytes),
            # Otherwise a second server would get half of the calls instead of an error.
            ("grpc.so_reuseport", 0),
            *KEEPALIVE,
        ),
    )


def listen(server: grpc.Server, settings: Settings) -> int:
    """Takes the port; with TLS where a certificate is set.

    Raises:
        InvalidSettings: the address is taken, or the certificate or its key cannot be used.
    """
    address = f"{bracketed(settings.host)}:{settings.grpc_port}"
    credentials = read_credentials(settings)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise InvalidSettings(
            f"Cannot listen on {address} for gRPC: the address is taken, or none of this machine's. "
            "Set KILN_GRPC_PORT (or KILN_HOST) to another one, e.g. KILN_GRPC_PORT=8501."
        ) from None


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
