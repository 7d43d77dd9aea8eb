"""How the text of an environment variable becomes a value; each parser's ValueError says what it expected."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MODEL_NAME = re.compile(r"[^/:,.\s][^/:,\s]*")


@dataclass(frozen=True)
class Versions:
    """How many versions of a model to serve.

    Attributes:
        latest: the so many newest; 0 for all.
    """

    latest: int = 1

    def __str__(self) -> str:
        return {0: "all", 1: "latest"}.get(self.latest, f"latest:{self.latest}")


@dataclass(frozen=True)
class Ready:
    """What must be served before the service is ready.

    Attributes:
        kind: `any`, `all` or `names`.
        names: the models that must be served, with kind `names`.
    """

    kind: str = "any"
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ",".join(self.names) or self.kind


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


def parse_file(text: str) -> Path:
    """A file, which need not exist yet."""
    if not text or text.endswith("/"):
        raise ValueError("expected the path of a file")
    return Path(text)


def parse_files(text: str) -> tuple[Path, ...]:
    """Paths of files, separated by commas."""
    return tuple(parse_file(path.strip()) for path in text.split(","))


def parse_ready(text: str) -> Ready:
    """`any`, `all` or names of models, separated by commas."""
    if text.lower() in ("any", "all"):
        return Ready(text.lower())
    return Ready("names", parse_names(text))


def switch(text: str) -> bool:
    """`on` or `off`."""
    return choice("on", "off")(text) == "on"


def parse_versions(text: str) -> Versions:
    """`latest`, `latest:N` or `all`."""
    match = re.fullmatch(r"(latest)(?::([1-9][0-9]{0,5}))?|all", text.lower())
    if not match:
        raise ValueError("expected latest, latest:N (the N newest) or all")
    return Versions(int(match[2] or 1) if match[1] else 0)


def parse_targets(text: str) -> tuple[str, ...]:
    """Addresses `host:port`, separated by commas."""
    targets = tuple(target.strip() for target in text.split(","))
    if not all(re.fullmatch(r"[^\s/]+:[0-9]{1,5}", target) for target in targets):
        raise ValueError("expected host:port, or several of them separated by commas")
    return targets


def parse_names(text: str) -> tuple[str, ...]:
    """Names of models, separated by commas."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(MODEL_NAME.fullmatch(name) for name in names):
        raise ValueError("expected names of models separated by commas")
    return names
