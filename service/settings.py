"""What the environment says: `KILN_*` variables as one frozen object.

`python -m service --help` prints the table of variables from this module.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.errors import InvalidSettings

PREFIX = "KILN_"
# Set in the same shell or container, read by the pipeline or the build; nothing for the service to read.
NOT_OURS = ("KILN_DATA_MIRROR", "KILN_BASE_IMAGE")
MODEL_NAME = re.compile(r"[^/:,.\s][^/:,\s]*")


def integer(least: int, most: int) -> Callable[[str], int]:
    """A parser for whole numbers between `least` and `most`."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """A parser for one of a few words."""

    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"expected one of: {', '.join(allowed)}")
        return text.lower()

    return parse


def parse_host(text: str) -> str:
    """An address or host name to listen on; `::1` and `[::1]` are the same."""
    host = text.strip("[]")
    if not host or any(character.isspace() or character == "/" for character in host):
        raise ValueError("expected an address such as 127.0.0.1, 0.0.0.0 or ::")
    return host


def parse_folder(text: str) -> Path:
    """A folder, which need not exist yet."""
    if not text:
        raise ValueError("expected the path of a folder")
    return Path(text)


def parse_names(text: str) -> tuple[str, ...]:
    """Names of models, separated by commas."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(MODEL_NAME.fullmatch(name) for name in names):
        raise ValueError("expected names of models separated by commas")
    return names


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
    workers: int = field(
        default=1,
        metadata=read_by(
            integer(1, 64), "Worker processes. Each imports TensorFlow (640 MB) and loads every model for itself."
        ),
    )
    threads: int = field(
        default=16, metadata=read_by(integer(1, 1024), "Threads per worker: requests that it answers at a time.")
    )
    model_repository: Path = field(
        default=Path("models"),
        metadata=read_by(parse_folder, "Folder with <model>/<version>/saved_model.pb for every model."),
    )
    models: tuple[str, ...] = field(
        default=(), metadata=read_by(parse_names, "Serve only these models, separated by commas.")
    )
    versions: str = field(
        default="latest",
        metadata=read_by(
            choice("latest", "all"), "latest: serve the newest version of each model; all: serve every version."
        ),
    )
    max_body_bytes: int = field(
        default=32 * 2**20, metadata=read_by(integer(1, 2**31), "Larger request bodies are refused with 413.")
    )
    graceful_timeout_seconds: int = field(
        default=30, metadata=read_by(integer(1, 3600), "After SIGTERM, requests in hand have this long to finish.")
    )
    tensorflow_threads: int = field(
        default=0,
        metadata=read_by(
            integer(0, 1024), "TensorFlow's threads per worker; 0: the CPUs that the container may use, shared out."
        ),
    )
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
            InvalidSettings: a variable is unknown or has an impossible value.
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
        return cls(**values)

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


def variable_name(name: str) -> str:
    """The environment variable of a field of `Settings`."""
    return PREFIX + name.upper()


def bracketed(host: str) -> str:
    """The host as an address shows it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def describe_variables() -> str:
    """The table of variables: name, default and description, a line each."""
    rows = []
    for entry in dataclasses.fields(Settings):
        default = ",".join(entry.default) if isinstance(entry.default, tuple) else str(entry.default)
        rows.append(f"  {variable_name(entry.name):32} {default or '(all)':10} {entry.metadata['description']}")
    return "\n".join(rows)
