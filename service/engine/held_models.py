"""The versions in memory. Each method is one step from one consistent state to the next; none waits for anything."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from service.engine.desired import Desired
from service.engine.files import Identity
from service.engine.held import Drop, Failure, HeldModel, HeldVersion
from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Description
from service.engine.model import Model
from service.engine.version_policy import Plan, plan
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


class HeldModels:
    """The versions in memory, and how they come and go.

    A model that was available once keeps an available version until it is unloaded by hand or `configure` leaves it
    out: a version is dropped in the same step in which its successor becomes available.

    Args:
        desired: what should be served.

    Attributes:
        lock: held for each step; whoever changes `desired.decisions` holds it too.
        revision: another one after each step that may have changed the catalogue.
    """

    def __init__(self, desired: Desired) -> None:
        self.lock = threading.Lock()
        self.revision = 0
        self._desired = desired
        self._models: dict[str, HeldModel] = {}
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

    def failed(self) -> list[HeldVersion]:
        """Versions that could not be loaded."""
        with self.lock:
            return [held for model in self._models.values() for held in model.failed()]

    def loadable(self) -> list[str]:
        """Models of which something should be loaded, or kept that was given up."""
        with self.lock:
            models = [self._models[name] for name in self._changed if name in self._models]
            self._changed = {
                model.name
                for model in models
                if next(self._loadable(model), None) or any(held.is_going() for held in self._missing(model))
            }
            return sorted(self._changed)

    def take_next(self, name: str) -> tuple[HeldVersion | None, list[Drop]]:
        """The version of a model that should be loaded next, which is then LOADING, and what is given up before."""
        with self.lock:
            model = self._models.get(name)
            if model is None:
                return None, []
            self._revive(model)
            drops = self._adjust(model)
            held = next(self._loadable(model), None)
            if held is not None:
                held.state, held.folder = LOADING, model.on_disk[held.number].name
                self._note_change(model)
            return held, drops

    def retiring(self, name: str) -> list[HeldVersion]:
        """Versions that should be loaded, but whose memory is being given back at this moment."""
        with self.lock:
            model = self._models.get(name)
            return [held for held in self._missing(model) if held.is_retiring] if model else []

    def _loadable(self, model: HeldModel) -> Iterator[HeldVersion]:
        yield from (held for held in self._missing(model) if held.state in (START, END))
        yield from (held for held in model.incoming.values() if held.state == START or held.is_due)

    def _missing(self, model: HeldModel) -> list[HeldVersion]:
        return [model.versions.setdefault(number, HeldVersion(model.name, number)) for number in self._plan(model).load]

    def _revive(self, model: HeldModel) -> None:
        for held in self._missing(model):
            if held.is_going():
                held.state = AVAILABLE

    def succeed(self, held: HeldVersion, loaded: Loaded) -> list[Drop]:
        """A version was loaded; says what is given up for it."""
        with self.lock:
            held.note_success(loaded.model, loaded.description, loaded.at)
            held.identity = loaded.identity
            model = self._models[held.name]
            drops = model.take_place(held)
            self._callable[held.name, held.number] = loaded.model
            return [*drops, *self._adjust(model)]

    def fail(self, held: HeldVersion, failure: Failure, now: float) -> tuple[bool, list[Drop]]:
        """A version could not be loaded; says whether there is any news in it, and what is given up."""
        with self.lock:
            is_news = held.note_failure(failure, now)
            return is_news, self._adjust(self._models[held.name])

    def claim(self, drop: Drop) -> bool:
        """Whether a dropped version is still to go; if so, `find` gives it no more, and the caller must `end` it."""
        with self.lock:
            held = drop.held
            if held.state != UNLOADING or held.is_retiring or held.drops != drop.ticket:
                return False
            held.is_retiring = True
            if self._callable.get((held.name, held.number)) is held.model:
                del self._callable[held.name, held.number]
            return True

    def end(self, held: HeldVersion) -> list[Drop]:
        """A version's memory was given back; says what else is given up."""
        with self.lock:
            held.model = None
            held.state = END
            held.is_retiring = False
            held.closed.set()
            model = self._models[held.name]
            if held in model.replaced:
                model.replaced.remove(held)
            return self._adjust(model)

    def close(self) -> list[Drop]:
        """Gives up everything, for good, and names everything that is not closed yet."""
        with self.lock:
            self._is_closed, self._is_holding = True, False
            for model in list(self._models.values()):
                self._adjust(model)
            going = [held for model in self._models.values() for held in (*model.within(UNLOADING), *model.replaced)]
            return [Drop(held, held.drops) for held in going]

    def _plan(self, model: HeldModel) -> Plan:
        if self._is_closed or self._desired.is_unloaded(model.name) or not self._desired.serves(model.name):
            return Plan()
        return self._plan_served(model)

    def _plan_served(self, model: HeldModel) -> Plan:
        failed = {held.number for held in model.within(END) if held.has_failed and not held.is_due}
        labelled = self._desired.labels(model.name).values()
        on_disk = list(model.on_disk)
        return plan(on_disk, self._desired.choice(model.name), labelled, model.numbers(AVAILABLE), failed)

    def _note_change(self, model: HeldModel) -> None:
        self.revision += 1
        self._changed.add(model.name)
        model.shown = None

    def _adjust(self, model: HeldModel) -> list[Drop]:
        self._note_change(model)
        if self._is_holding:
            return []
        planned = self._plan(model)
        drops = model.drop(planned.keep)
        model.note_changes(planned.keep)
        model.show_waiting(planned.load)
        is_unloaded = self._desired.is_unloaded(model.name)
        if is_unloaded and not model.versions:
            model.show_waiting(self._plan_served(model).load, END)
        model.forget_ended()
        available = model.numbers(AVAILABLE)
        wanted = self._desired.labels(model.name)
        model.labels = {label: number for label, number in wanted.items() if number in available}
        model.pending_labels = {} if is_unloaded else {key: wanted[key] for key in wanted if key not in model.labels}
        if is_unloaded or (not planned.load and (available or model.is_broken())):
            model.is_awaited = False
        if model.is_idle() and not self._desired.serves(model.name):
            del self._models[model.name]
        return drops
