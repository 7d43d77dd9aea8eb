"""The catalogue in a file that all processes of a service share: one writes, everybody reads it for next to nothing.

A number in shared memory tells whether the file has changed, so every front end sees a change at the same moment, and a
request that finds none pays for reading eight bytes.
"""

import dataclasses
import fcntl
import threading
from pathlib import Path
from typing import Any

import orjson

from service.engine.interface import BatchingState, Catalog, ServedModel, Version
from service.engine.ipc.shared_memory import share_memory
from service.engine.signature import Signature, TensorSpec

STARTING = "The engine is starting."


class CatalogFile:
    """The catalogue's place.

    Args:
        folder: the service's own, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "catalog.json"
        self._lock = threading.Lock()
        self._serial = -1
        self._catalog = Catalog(obstacle=STARTING, starting=True)
        self._encoded: dict[str, tuple[ServedModel, bytes]] = {}
        self._serial_file = folder / "catalog.serial"
        self._memory = share_memory(self._serial_file, 8)

    def read(self) -> Catalog:
        """The catalogue as it is now."""
        serial = int.from_bytes(self._memory[:8], "little")
        if serial != self._serial:
            with self._lock:
                if serial != self._serial:
                    self._catalog = self._load()
                    self._serial = serial
        return self._catalog

    def publish(self, catalog: Catalog) -> None:
        """Puts a new catalogue in the old one's place; one at a time, also where several processes do."""
        with self._lock, self._serial_file.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            part = self._file.with_suffix(".part")
            part.write_bytes(self._encode(catalog))
            part.replace(self._file)
            serial = int.from_bytes(self._memory[:8], "little") + 1
            self._memory[:8] = serial.to_bytes(8, "little")

    def _encode(self, catalog: Catalog) -> bytes:
        # Most models are the same as in the catalogue before.
        self._encoded = {
            name: kept if (kept := self._encoded.get(name)) and kept[0] is model else (model, encode(model))
            for name, model in catalog.models.items()
        }
        models = {name: orjson.Fragment(text) for name, (_, text) in self._encoded.items()}
        return encode(to_json(catalog) | {"models": models})

    def _load(self) -> Catalog:
        try:
            value = orjson.loads(self._file.read_bytes())
        except FileNotFoundError:
            return Catalog(obstacle=STARTING, starting=True)
        models = {name: parse_model(model) for name, model in value["models"].items()}
        return Catalog(models, value["obstacle"], value["starting"], value["problems"])


def encode(value: Any) -> bytes:
    """A catalogue or a part of it as JSON."""
    return orjson.dumps(value, default=to_json, option=orjson.OPT_PASSTHROUGH_DATACLASS)


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass without what it has cached, or a mapping of another make."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return dict(value)


def parse_model(value: dict[str, Any]) -> ServedModel:
    """A model of the catalogue."""
    versions = tuple(parse_version(version) for version in value["versions"])
    return ServedModel(value["name"], versions, value["labels"], value["obstacle"], value["pending_labels"])


def parse_version(value: dict[str, Any]) -> Version:
    """A version of the catalogue."""
    signatures = {name: parse_signature(signature) for name, signature in value["signatures"].items()}
    batching = {name: BatchingState(**state) for name, state in value["batching"].items()}
    return Version(**(value | {"signatures": signatures, "batching": batching}))


def parse_signature(value: dict[str, Any]) -> Signature:
    """A signature of the catalogue."""
    inputs, outputs = ({name: parse_spec(spec) for name, spec in value[side].items()} for side in ("inputs", "outputs"))
    return Signature(inputs, outputs, value["method_name"])


def parse_spec(value: dict[str, Any]) -> TensorSpec:
    """An input or output of the catalogue."""
    known = {field.name: value[field.name] for field in dataclasses.fields(TensorSpec)}
    return TensorSpec(**(known | {"shape": None if known["shape"] is None else tuple(known["shape"])}))
