"""Records of the versions that are loaded, being loaded, or were; the registry changes them under its lock."""

import math
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Description, ServedModel, Version
from service.engine.model import Model
from service.engine.sources.files import Fingerprint, Identity, VersionFolder

# A version that fails is tried again after this long, then after twice as long, and so on up to the second figure.
FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 300.0
# Versions that ended without failing are shown so many to a model, as TensorFlow Serving shows them, then forgotten.
ENDED_SHOWN = 3


@dataclass(eq=False)
class ManagedVersion:
    """One version and what has become of it.

    Attributes:
        name, number: which one.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        folder: the name of its folder when it was last loaded.
        identity: of what was loaded from there.
        model: what answers, while AVAILABLE or UNLOADING.
        description: what its `model.json` says.
        loaded_at: when it became AVAILABLE, in seconds since 1970.
        error: why the last load failed, or "".
        failures: loads of the same files that failed in a row.
        files: what the folder looked like when they did.
        retry_at: clock at which to try again.
        is_due: whether to try again now.
        drops: how often it was given up, by which an unloader knows whether it has been overtaken.
        is_retiring: whether `find` gives it no more.
        closed: set when its memory was given back.
    """

    name: str
    number: int
    state: str = START
    folder: str = ""
    identity: Identity | None = None
    model: Model | None = None
    description: Description = field(default_factory=dict)
    loaded_at: float = 0.0
    error: str = ""
    failures: int = 0
    files: Fingerprint = ()
    retry_at: float = 0.0
    is_due: bool = False
    drops: int = 0
    is_retiring: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def has_failed(self) -> bool:
        """Whether its last load failed."""
        return self.state == END and bool(self.error)

    def is_going(self) -> bool:
        """Whether it was given up and can still be kept."""
        return self.state == UNLOADING and not self.is_retiring

    def note_failure(self, failure: "Failure", now: float) -> bool:
        """Ends the version, to be tried again later; says whether there is any news in it."""
        error, files = failure.error, failure.files
        is_news = (self.error, self.files) != (error, files)
        self.failures = 1 if self.files != files else self.failures + 1
        # No exponent that a float cannot hold, however long it goes on.
        pause = min(FIRST_RETRY_SECONDS * 2 ** min(self.failures - 1, 10), LONGEST_RETRY_SECONDS)
        self.retry_at = now + (math.inf if failure.is_final else pause)
        self.state, self.error, self.files, self.is_due = END, error, files, False
        return is_news

    def note_success(self, model: Model, description: Description, loaded_at: float) -> None:
        """Makes the version available."""
        self.state, self.model, self.description, self.loaded_at = AVAILABLE, model, description, loaded_at
        self.error, self.failures, self.is_due = "", 0, False

    def view(self) -> Version:
        """The version as the catalogue shows it."""
        if self.state != AVAILABLE or self.model is None:
            error = self.error if self.state == END else ""
            return Version(self.name, self.number, self.state, error, description=self.description)
        model = self.model
        return Version(
            self.name,
            self.number,
            AVAILABLE,
            model.warning,
            model.signatures,
            self.description,
            self.loaded_at,
            model.batching,
        )


@dataclass(frozen=True)
class Failure:
    """A load that failed.

    Attributes:
        error: why, in a sentence.
        files: what the folder looked like.
        is_final: whether only a change of the files, or somebody's order, is a reason to try again.
    """

    error: str
    files: Fingerprint
    is_final: bool = False


@dataclass(frozen=True)
class Drop:
    """A version that was given up, to be closed unless it is wanted again before its grace is over.

    Attributes:
        version: the version.
        ticket: which of its drops this is.
    """

    version: ManagedVersion
    ticket: int


def give_up(version: ManagedVersion) -> Drop:
    """An available version is to go."""
    version.state = UNLOADING
    version.drops += 1
    version.closed.clear()
    return Drop(version, version.drops)


@dataclass(eq=False)
class ManagedModel:
    """A model's versions.

    Attributes:
        name: the model's.
        versions: by number.
        incoming: what is to take the place of an available version whose folder was replaced, by number.
        replaced: versions whose place was taken, until their memory is given back.
        on_disk: versions in its folder when it could last be read, newest first.
        labels: those whose version is available.
        pending_labels: those whose version is not.
        is_awaited: whether the service is not ready without it.
        shown: how the catalogue shows it, until something changes.
    """

    name: str
    is_awaited: bool = False
    versions: dict[int, ManagedVersion] = field(default_factory=dict)
    incoming: dict[int, ManagedVersion] = field(default_factory=dict)
    replaced: list[ManagedVersion] = field(default_factory=list)
    on_disk: Mapping[int, VersionFolder] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    pending_labels: dict[str, int] = field(default_factory=dict)
    shown: ServedModel | None = None

    def within(self, *states: str) -> Iterator[ManagedVersion]:
        """The versions in one of these states."""
        return (version for version in self.versions.values() if version.state in states)

    def numbers(self, *states: str) -> set[int]:
        """Their numbers."""
        return {version.number for version in self.within(*states)}

    def list_available(self) -> str:
        """The versions that can be called, newest first, for a message."""
        return ", ".join(map(str, sorted(self.numbers(AVAILABLE), reverse=True))) or "none"

    def newest_first(self) -> list[ManagedVersion]:
        """All versions."""
        return sorted(self.versions.values(), key=lambda version: -version.number)

    def is_idle(self) -> bool:
        """Whether nothing of it is, or is going to be, in memory."""
        return not self.numbers(START, LOADING, AVAILABLE, UNLOADING) and not self.incoming and not self.replaced

    def is_broken(self) -> bool:
        """Whether all that was tried has failed, and nothing is left to try."""
        return not self.numbers(START, LOADING, AVAILABLE, UNLOADING) and any(
            version.error for version in self.within(END)
        )

    def failed(self) -> list[ManagedVersion]:
        """Versions whose last load failed."""
        return [version for version in (*self.within(END), *self.incoming.values()) if version.has_failed]

    def drop(self, kept: Collection[int]) -> list[Drop]:
        """Gives up the available versions that are not kept."""
        return [give_up(version) for version in self.within(AVAILABLE) if version.number not in kept]

    def note_changes(self, kept: Collection[int]) -> None:
        """Takes note of which of the kept versions were replaced on disk under their number."""
        changed = {
            version.number
            for version in self.within(AVAILABLE)
            if version.number in kept
            and (folder := self.on_disk.get(version.number)) is not None
            and folder.identity not in (None, version.identity)
        }
        for number, version in list(self.incoming.items()):
            if number not in changed and version.state != LOADING:
                del self.incoming[number]
        for number in changed:
            self.incoming.setdefault(number, ManagedVersion(self.name, number))

    def take_place(self, version: ManagedVersion) -> list[Drop]:
        """A version was loaded; the one whose place it takes, if any, is given up."""
        old = self.versions.get(version.number)
        self.incoming.pop(version.number, None)
        self.versions[version.number] = version
        if old is None or old is version or old.state not in (AVAILABLE, UNLOADING):
            return []
        self.replaced.append(old)
        return [give_up(old)] if old.state == AVAILABLE else []

    def show_waiting(self, numbers: Collection[int], state: str = START) -> None:
        """Shows the versions that wait for their turn, and no others."""
        for number in self.numbers(START).difference(numbers):
            del self.versions[number]
        for number in numbers:
            self.versions.setdefault(number, ManagedVersion(self.name, number, state))

    def forget_ended(self) -> None:
        """Forgets all but the newest of the versions that ended, and those that are to be tried again."""
        ended = [version.number for version in self.newest_first() if version.state == END]
        failed = {version.number for version in self.within(END) if version.error and version.number in self.on_disk}
        for number in [number for number in ended if number not in failed][ENDED_SHOWN:]:
            del self.versions[number]

    def view(self, obstacle: str) -> ServedModel:
        """The model as the catalogue shows it; the same object as long as nothing changes."""
        if self.shown is None or self.shown.obstacle != obstacle:
            versions = tuple(self._view(version) for version in self.newest_first())
            self.shown = ServedModel(self.name, versions, dict(self.labels), obstacle, dict(self.pending_labels))
        return self.shown

    def _view(self, version: ManagedVersion) -> Version:
        shown, incoming = version.view(), self.incoming.get(version.number)
        return shown if incoming is None or not incoming.error else replace(shown, error=incoming.error)

    def describe_obstacle(self, folder: Path, specific: Collection[int]) -> str:
        """Why no version can be called, in a sentence.

        Args:
            folder: the model's.
            specific: the only versions that are asked for, or none.
        """
        for state in (LOADING, START):
            if numbers := self.numbers(state):
                return f"version {max(numbers)} is in state {state}"
        if self.versions and self.on_disk:
            newest = self.newest_first()[0]
            return f"version {newest.number} is in state {newest.state}"
        if specific and self.on_disk:
            return f"no version {' or '.join(map(str, sorted(specific)))} in {folder}"
        return f"no version in {folder}"
