"""What the environment says: `KILN_*` variables as one frozen object.

`python -m service --help` prints the table of variables from this module.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.errors import InvalidSettings
from service.settings_parsers import (
    Ready,
    Versions,
    choice,
    integer,
    parse_file,
    parse_files,
    parse_folder,
    parse_host,
    parse_names,
    parse_ready,
    parse_targets,
    parse_versions,
    switch,
)

PREFIX = "KILN_"
# Set in the same shell or container, read by the pipeline or the build; nothing for the service to read.
NOT_OURS = ("KILN_DATA_MIRROR", "KILN_BASE_IMAGE")


def read_by(parse: Callable[[str], Any], description: str) -> dict[str, Any]:
    """A field's metadata: the parser and the description of its variable."""
    return {"parse": parse, "description": description}


@dataclass(frozen=True)
class Settings:
    """The service's settings; each field is read from `KILN_<FIELD>`, and described where it is declared.

    An unset or empty variable means the default.
    """

    host: str = field(
        default="127.0.0.1", metadata=read_by(parse_host, "Address to listen on; 0.0.0.0 for every interface.")
    )
    port: int = field(default=8080, metadata=read_by(integer(1, 65535), "TCP port to listen on."))
    admin_port: int = field(
        default=0,
        metadata=read_by(integer(0, 65535), "TCP port of probes and metrics alone, in a process of its own; 0: off."),
    )
    workers: int = field(
        default=2, metadata=read_by(integer(1, 64), "HTTP worker processes, 50 MB each. The models run in another one.")
    )
    threads: int = field(
        default=16, metadata=read_by(integer(1, 1024), "Threads that answer gRPC; HTTP workers need none.")
    )
    model_repository: Path = field(
        default=Path("models"),
        metadata=read_by(parse_folder, "Folder with <model>/<version>/saved_model.pb for every model."),
    )
    models: tuple[str, ...] = field(
        default=(), metadata=read_by(parse_names, "Serve only these models, separated by commas; none named: all.")
    )
    versions: Versions = field(
        default=Versions(),
        metadata=read_by(
            parse_versions, "latest: the newest version of each model; latest:N: the N newest; all: every version."
        ),
    )
    model_config: Path | None = field(
        default=None,
        metadata=read_by(
            parse_file, "TOML file with versions, labels and batching of single models; read again when it changes."
        ),
    )
    poll_seconds: int = field(
        default=2,
        metadata=read_by(integer(0, 86400), "How often to look for new versions; 0: only when told to load."),
    )
    ready: Ready = field(
        default=Ready(),
        metadata=read_by(
            parse_ready,
            "What must be served for readiness. any: each model that was not broken from the start; all: every version "
            "that is there; or names of models, separated by commas.",
        ),
    )
    load_timeout_seconds: int = field(
        default=300,
        metadata=read_by(integer(1, 86400), "A version that takes longer to be loaded and warmed up is given up."),
    )
    op_libraries: tuple[Path, ...] = field(
        default=(),
        metadata=read_by(parse_files, "Libraries of custom operations, separated by commas, loaded before any model."),
    )
    engine_memory_bytes: int = field(
        default=0,
        metadata=read_by(
            integer(0, 2**39),
            "Memory of the process that runs the models; what would exceed it is stopped. 0: four fifths of the "
            "container's, or the machine's.",
        ),
    )
    batching: bool = field(
        default=True,
        metadata=read_by(
            switch,
            "on: rows of concurrent requests run as one call, where a model's rows are known to be independent; "
            "off: never.",
        ),
    )
    largest_batch: int = field(
        default=128,
        metadata=read_by(integer(1, 65536), "Most rows of several requests in one call; a larger request runs alone."),
    )
    queue_rows: int = field(
        default=65536,
        metadata=read_by(
            integer(1, 2**31),
            "Most rows that may wait for one signature, in one request too; more are refused with 503.",
        ),
    )
    timeout_seconds: int = field(
        default=30,
        metadata=read_by(integer(1, 86400), "Answer 504 after this long, unless the client gives less time itself."),
    )
    max_body_bytes: int = field(
        default=32 * 2**20, metadata=read_by(integer(1, 2**31), "Larger request bodies are refused with 413.")
    )
    max_answer_bytes: int = field(
        default=128 * 2**20,
        metadata=read_by(integer(1, 2**31), "Answers whose arrays are larger than this are refused."),
    )
    graceful_timeout_seconds: int = field(
        default=30, metadata=read_by(integer(1, 3600), "After SIGTERM, requests in flight have this long to finish.")
    )
    tensorflow_threads: int = field(
        default=0,
        metadata=read_by(
            integer(0, 1024), "TensorFlow's threads for one operation; 0: half of the CPUs that the container may use."
        ),
    )
    tensorflow_serving: tuple[str, ...] = field(
        default=(),
        metadata=read_by(
            parse_targets, "host:port of TensorFlow Serving's gRPC, several with commas: models run there, not here."
        ),
    )
    grpc_port: int = field(
        default=0, metadata=read_by(integer(0, 65535), "TCP port of TensorFlow Serving's gRPC API; 0: off.")
    )
    grpc_tls_certificate: Path | None = field(
        default=None, metadata=read_by(parse_file, "PEM file with the certificate chain for gRPC; needs the key too.")
    )
    grpc_tls_key: Path | None = field(
        default=None, metadata=read_by(parse_file, "PEM file with the private key of that certificate.")
    )
    grpc_typed_fields: bool = field(
        default=False,
        metadata=read_by(switch, "on: gRPC answers use float_val and its like; off: tensor_content, which is faster."),
    )
    token_file: Path | None = field(
        default=None,
        metadata=read_by(parse_file, "File with a scope and a token per line; read again when it changes."),
    )
    nan_tokens: bool = field(
        default=False,
        metadata=read_by(switch, "on: NaN and Infinity are taken and written as tokens, as TensorFlow Serving does."),
    )
    cors: bool = field(default=False, metadata=read_by(switch, "on: pages of other origins may ask for predictions."))
    log_level: str = field(
        default="info", metadata=read_by(choice("debug", "info", "warning", "error"), "Least level that is logged.")
    )
    log_format: str = field(
        default="auto",
        metadata=read_by(
            choice("auto", "json", "text"), "json: one object per line; text: for eyes; auto: text on a terminal."
        ),
    )

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> "Settings":
        """Reads the `KILN_*` variables.

        Args:
            environment: names and values; variables without the prefix are ignored.

        Raises:
            InvalidSettings: a variable is unknown, has an impossible value, or needs another one beside it.
        """
        fields = {variable_name(entry.name): entry for entry in dataclasses.fields(cls)}
        values = {}
        for name, text in environment.items():
            if not name.startswith(PREFIX) or name in NOT_OURS:
                continue
            if name not in fields:
                raise InvalidSettings(f"Unknown variable {name}. The service knows: {', '.join(fields)}.")
            if text:
                values[fields[name].name] = parse_variable(name, text, fields[name].metadata["parse"])
        settings = cls(**values)
        check_combinations(settings)
        return settings

    @property
    def address(self) -> str:
        """What a browser on this machine asks for, e.g. `http://127.0.0.1:8080`."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{bracketed(host)}:{self.port}"


def parse_variable(name: str, text: str, parse: Callable[[str], Any]) -> Any:
    """Parses one variable.

    Raises:
        InvalidSettings: naming the variable, its value and what was expected.
    """
    try:
        return parse(text)
    except ValueError as error:
        hint = ""
        if text.startswith("tcp://"):
            hint = " Kubernetes sets such values for a Service called 'kiln'; set enableServiceLinks: false on the pod."
        raise InvalidSettings(f"{name} is {text!r}: {error}.{hint}") from None


def check_combinations(settings: Settings) -> None:
    """Refuses what makes no sense together.

    Raises:
        InvalidSettings: naming the variable that is missing.
    """
    certificate, key = settings.grpc_tls_certificate, settings.grpc_tls_key
    if (certificate is None) != (key is None):
        present, missing = ("key", "certificate") if certificate is None else ("certificate", "key")
        raise InvalidSettings(
            f"KILN_GRPC_TLS_{present.upper()} is set without KILN_GRPC_TLS_{missing.upper()}. Set both for TLS, or "
            "neither for plain gRPC."
        )
    ports = [port for port in (settings.port, settings.admin_port, settings.grpc_port) if port]
    if len(ports) > len(set(ports)):
        raise InvalidSettings(
            f"KILN_PORT={settings.port}, KILN_ADMIN_PORT={settings.admin_port} and KILN_GRPC_PORT={settings.grpc_port} "
            "must differ. Set each to a port of its own."
        )
    if settings.tensorflow_serving and not settings.models:
        raise InvalidSettings(
            "KILN_TENSORFLOW_SERVING is set without KILN_MODELS. TensorFlow Serving does not say which models it has: "
            "name them, separated by commas."
        )


def variable_name(name: str) -> str:
    """The environment variable of a field of `Settings`."""
    return PREFIX + name.upper()


def bracketed(host: str) -> str:
    """The host as an address shows it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def describe_variables() -> str:
    """The table of variables: name, default and description, a line each."""
    rows = [
        (variable_name(entry.name), show_default(entry) or "(none)", entry.metadata["description"])
        for entry in dataclasses.fields(Settings)
    ]
    return "\n".join(f"  {name:32} {default:10} {description}" for name, default, description in rows)


def show_default(entry: dataclasses.Field[Any]) -> str:
    """A field's default as one would set it; "" where there is none."""
    if isinstance(entry.default, bool):
        return "on" if entry.default else "off"
    return str(entry.default) if entry.default not in ((), None) else ""
