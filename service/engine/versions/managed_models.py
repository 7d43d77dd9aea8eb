"""The versions in memory. Each method is one step from one consistent state to the next; none waits for anything."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Description
from service.engine.model import Model
from service.engine.sources.files import Identity
from service.engine.versions.aspired import AspiredVersions
from service.engine.versions.managed import Drop, Failure, ManagedModel, ManagedVersion
from service.engine.versions.policy import Plan, plan
from service.errors import ModelUnavailable


@dataclass(frozen=True)
class Loaded:
    """What a load gave.

    Attributes:
        model: the version.
        description: what its `model.json` says.
        identity: of its folder, taken before it was read.
        at: when it was loaded, in seconds since 1970.
    """

    model: Model
    description: Description
    identity: Identity | None
    at: float


class ManagedModels:
    """The versions in memory, and how they come and go.

    A model that was available once keeps an available version until it is unloaded by hand or `configure` leaves it
    out: a version is dropped in the same step in which its successor becomes available.

    Args:
        aspired: what should be served.

    Attributes:
        lock: held for each step, also by those that change `aspired.overrides`.
        revision: another one after each step that may have changed the catalogue.
    """

    def __init__(self, aspired: AspiredVersions) -> None:
        self.lock = threading.Lock()
        self.revision = 0
        self._aspired = aspired
        self._models: dict[str, ManagedModel] = {}
        self._callable: dict[tuple[str, int], Model] = {}
        # Models that have changed since there was nothing to load of them.
        self._changed: set[str] = set()
        self._is_holding = False
        self._is_closed = False

    def check_open(self) -> None:
        """Refuses everything once it is closed.

        Raises:
            ModelUnavailable: it is closed.
        """
        if self._is_closed:
            raise ModelUnavailable("The service is stopping.")

    def find(self, name: str, number: int) -> Model | None:
        """The version if it can be called; takes no lock."""
        return self._callable.get((name, number))

    def names(self) -> list[str]:
        """The models that are served, or should be."""
        with self.lock:
            return sorted(self._models)

    def failed(self) -> list[ManagedVersion]:
        """Versions that could not be loaded."""
        with self.lock:
            return [version for model in self._models.values() for version in model.failed()]

    def loadable(self) -> list[str]:
        """Models of which something should be loaded, or kept that was given up."""
        with self.lock:
            models = [self._models[name] for name in self._changed if name in self._models]
            self._changed = {
                model.name
                for model in models
                if next(self._loadable(model), None) or any(version.is_going() for version in self._missing(model))
            }
            return sorted(self._changed)

    def take_next(self, name: str) -> tuple[ManagedVersion | None, list[Drop]]:
        """The version of a model that should be loaded next, which is then LOADING, and what is given up before."""
        with self.lock:
            model = self._models.get(name)
            if model is None:
                return None, []
            self._restart(model)
            drops = self._adjust(model)
            version = next(self._loadable(model), None)
            if version is not None:
                version.state, version.folder = LOADING, model.on_disk[version.number].name
                self._note_change(model)
            return version, drops

    def retiring(self, name: str) -> list[ManagedVersion]:
        """Versions that should be loaded, but whose memory is being given back at this moment."""
        with self.lock:
            model = self._models.get(name)
            return [version for version in self._missing(model) if version.is_retiring] if model else []

    def _loadable(self, model: ManagedModel) -> Iterator[ManagedVersion]:
        yield from (version for version in self._missing(model) if version.state in (START, END))
        yield from (version for version in model.incoming.values() if version.state == START or version.is_due)

    def _missing(self, model: ManagedModel) -> list[ManagedVersion]:
        return [
            model.versions.setdefault(number, ManagedVersion(model.name, number)) for number in self._plan(model).load
        ]

    def _restart(self, model: ManagedModel) -> None:
        for version in self._missing(model):
            if version.is_going():
                version.state = AVAILABLE

    def succeed(self, version: ManagedVersion, loaded: Loaded) -> list[Drop]:
        """A version was loaded; says what is given up for it."""
        with self.lock:
            version.note_success(loaded.model, loaded.description, loaded.at)
            version.identity = loaded.identity
            model = self._models[version.name]
            drops = model.take_place(version)
            self._callable[version.name, version.number] = loaded.model
            return [*drops, *self._adjust(model)]

    def fail(self, version: ManagedVersion, failure: Failure, now: float) -> tuple[bool, list[Drop]]:
        """A version could not be loaded; says whether there is any news in it, and what is given up."""
        with self.lock:
            is_news = version.note_failure(failure, now)
            return is_news, self._adjust(self._models[version.name])

    def claim(self, drop: Drop) -> Model | None:
        """The model of a dropped version, which `find` gives no more and the caller must `end`; None if it stays."""
        with self.lock:
            version = drop.version
            model = version.model
            if model is None or version.state != UNLOADING or version.is_retiring or version.drops != drop.ticket:
                return None
            version.is_retiring = True
            if self._callable.get((version.name, version.number)) is model:
                del self._callable[version.name, version.number]
            return model

    def end(self, version: ManagedVersion) -> list[Drop]:
        """A version's memory was given back; says what else is given up."""
        with self.lock:
            version.model = None
            version.state = END
            version.is_retiring = False
            version.closed.set()
            model = self._models[version.name]
            if version in model.replaced:
                model.replaced.remove(version)
            return self._adjust(model)

    def close(self) -> list[Drop]:
        """Gives up everything, for good, and names everything that is not closed yet."""
        with self.lock:
            self._is_closed, self._is_holding = True, False
            for model in list(self._models.values()):
                self._adjust(model)
            going = [
                version for model in self._models.values() for version in (*model.within(UNLOADING), *model.replaced)
            ]
            return [Drop(version, version.drops) for version in going]

    def _plan(self, model: ManagedModel) -> Plan:
        if self._is_closed or self._aspired.is_unloaded(model.name) or not self._aspired.serves(model.name):
            return Plan()
        return self._plan_served(model)

    def _plan_served(self, model: ManagedModel) -> Plan:
        failed = {version.number for version in model.within(END) if version.has_failed and not version.is_due}
        labelled = self._aspired.labels(model.name).values()
        on_disk = list(model.on_disk)
        return plan(on_disk, self._aspired.choice(model.name), labelled, model.numbers(AVAILABLE), failed)

    def _note_change(self, model: ManagedModel) -> None:
        self.revision += 1
        self._changed.add(model.name)
        model.shown = None

    def _adjust(self, model: ManagedModel) -> list[Drop]:
        self._note_change(model)
        if self._is_holding:
            return []
        planned = self._plan(model)
        drops = model.drop(planned.keep)
        model.note_changes(planned.keep)
        model.show_waiting(planned.load)
        is_unloaded = self._aspired.is_unloaded(model.name)
        if is_unloaded and not model.versions:
            model.show_waiting(self._plan_served(model).load, END)
        model.forget_ended()
        available = model.numbers(AVAILABLE)
        wanted = self._aspired.labels(model.name)
        model.labels = {label: number for label, number in wanted.items() if number in available}
        model.pending_labels = {} if is_unloaded else {key: wanted[key] for key in wanted if key not in model.labels}
        if is_unloaded or (not planned.load and (available or model.is_broken())):
            model.is_awaited = False
        if model.is_idle() and not self._aspired.serves(model.name):
            del self._models[model.name]
        return drops
