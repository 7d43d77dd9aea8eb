"""The versions in memory. Each method is one step from one consistent state to the next; none waits for anything."""

import threading
from collections.abc import Iterable, Mapping, Sequence

from service.engine.desired import Desired
from service.engine.files import Fingerprint
from service.engine.held import Drop, HeldModel, HeldVersion
from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Description
from service.engine.model import Model
from service.engine.version_policy import Plan, plan
from service.errors import ModelUnavailable


class HeldModels:
    """The versions in memory, and how they come and go.

    A model that was available once keeps an available version until it is unloaded by hand or `configure` leaves it
    out: a version is dropped in the same step in which its successor becomes available.

    Args:
        desired: what should be served.

    Attributes:
        lock: held for each step; whoever changes `desired.decisions` holds it too.
    """

    def __init__(self, desired: Desired) -> None:
        self.lock = threading.Lock()
        self._desired = desired
        self._models: dict[str, HeldModel] = {}
        self._callable: dict[tuple[str, int], Model] = {}
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

    def failed(self, name: str) -> list[HeldVersion]:
        """Versions of a model that could not be loaded."""
        with self.lock:
            model = self._models.get(name)
            return [held for held in model.within(END) if held.has_failed] if model else []

    def note_disk(self, name: str, numbers: Sequence[int] | None, due: Iterable[HeldVersion]) -> list[Drop]:
        """Takes note of what a model's folder holds.

        Args:
            name: the model's.
            numbers: its versions, newest first; None if the folder cannot be read, which changes nothing.
            due: failed versions that should be tried again now.

        Returns:
            What was given up for it.
        """
        with self.lock:
            model = self._models.get(name)
            if model is None:
                return []
            if numbers is not None:
                model.on_disk = tuple(numbers)
            for held in due:
                held.is_due = True
            return self._adjust(model)

    def take_next(self, name: str) -> tuple[HeldVersion | None, list[Drop]]:
        """The version of a model that should be loaded next, which is then LOADING, and what is given up before."""
        with self.lock:
            model = self._models.get(name)
            if model is None:
                return None, []
            self._revive(model)
            drops = self._adjust(model)
            held = next((held for held in self._missing(model) if held.state in (START, END)), None)
            if held is not None:
                held.state = LOADING
            return held, drops

    def retiring(self, name: str) -> list[HeldVersion]:
        """Versions that should be loaded, but whose memory is being given back at this moment."""
        with self.lock:
            model = self._models.get(name)
            return [held for held in self._missing(model) if held.is_retiring] if model else []

    def _missing(self, model: HeldModel) -> list[HeldVersion]:
        return [model.versions.setdefault(number, HeldVersion(model.name, number)) for number in self._plan(model).load]

    def _revive(self, model: HeldModel) -> None:
        for held in self._missing(model):
            if held.state == UNLOADING and not held.is_retiring:
                held.state = AVAILABLE

    def succeed(self, held: HeldVersion, model: Model, description: Description, loaded_at: float) -> list[Drop]:
        """A version was loaded; says what is given up for it."""
        with self.lock:
            held.note_success(model, description, loaded_at)
            self._callable[held.name, held.number] = model
            return self._adjust(self._models[held.name])

    def fail(self, held: HeldVersion, error: str, files: Fingerprint, now: float) -> tuple[bool, list[Drop]]:
        """A version could not be loaded; says whether there is any news in it, and what is given up."""
        with self.lock:
            is_news = held.note_failure(error, files, now)
            return is_news, self._adjust(self._models[held.name])

    def claim(self, drop: Drop) -> bool:
        """Whether a dropped version is still to go; if so, `find` gives it no more, and the caller must `end` it."""
        with self.lock:
            held = drop.held
            if held.state != UNLOADING or held.is_retiring or held.drops != drop.ticket:
                return False
            held.is_retiring = True
            del self._callable[held.name, held.number]
            return True

    def end(self, held: HeldVersion) -> list[Drop]:
        """A version's memory was given back; says what else is given up."""
        with self.lock:
            held.model = None
            held.state = END
            held.is_retiring = False
            held.closed.set()
            return self._adjust(self._models[held.name])

    def close(self) -> list[Drop]:
        """Gives up everything, for good, and names everything that is not closed yet."""
        with self.lock:
            self._is_closed, self._is_holding = True, False
            for model in list(self._models.values()):
                self._adjust(model)
            return [Drop(held, held.drops) for model in self._models.values() for held in model.within(UNLOADING)]

    def _plan(self, model: HeldModel) -> Plan:
        if self._is_closed or self._desired.is_unloaded(model.name) or not self._desired.serves(model.name):
            return Plan()
        return self._plan_served(model)

    def _plan_served(self, model: HeldModel) -> Plan:
        failed = {held.number for held in model.within(END) if held.has_failed and not held.is_due}
        labelled = self._desired.labels(model.name).values()
        return plan(model.on_disk, self._desired.choice(model.name), labelled, model.numbers(AVAILABLE), failed)

    def _adjust(self, model: HeldModel) -> list[Drop]:
        if self._is_holding:
            return []
        planned = self._plan(model)
        drops = model.drop(planned.keep)
        model.show_waiting(planned.load)
        if self._desired.is_unloaded(model.name) and not model.versions:
            model.show_waiting(self._plan_served(model).load, END)
        model.forget_ended()
        available = model.numbers(AVAILABLE)
        wanted: Mapping[str, int] = self._desired.labels(model.name)
        model.labels = {label: number for label, number in wanted.items() if number in available}
        if available or self._desired.is_unloaded(model.name):
            model.is_awaited = False
        if model.is_idle() and not self._desired.serves(model.name):
            del self._models[model.name]
        return drops
