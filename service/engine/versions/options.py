"""What the version manager is told and whom it tells."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from service.engine.interface import Catalog, Choice
from service.engine.model import Model
from service.settings_parsers import Ready

# Loads and warms up a version from its folder, given the model's name and the version's number; may raise anything.
Load = Callable[[Path, str, int], Model]


def no_demand(_name: str) -> float:
    """No model is asked for more than another."""
    return 0.0


@dataclass(frozen=True)
class VersionSettings:
    """What to serve, and from where.

    Attributes:
        folder: the model repository.
        names: serve only these models; none named: all.
        default: which versions, for models of which nothing else is said.
        poll_seconds: how often to look for changes; 0: only at the start and when told to load.
        grace_seconds: how long a version that was replaced answers requests that are on their way to it.
        config_path: the TOML file with versions, labels and batching of single models, or None.
        state_path: the file that remembers what was decided at run time, or None.
        ready: what must be served for the service to be ready.
        loads: how many versions are loaded at a time.
        demand: how much a model is asked for; the larger, the sooner it is loaded.
        drain_seconds: how long to wait for the last calls of a version; one that still has some is never closed.
    """

    folder: Path
    names: tuple[str, ...] = ()
    default: Choice = field(default_factory=Choice)
    poll_seconds: float = 2.0
    grace_seconds: float = 2.0
    config_path: Path | None = None
    state_path: Path | None = None
    ready: Ready = field(default_factory=Ready)
    loads: int = 1
    demand: Callable[[str], float] = no_demand
    drain_seconds: float = 60.0


def ignore(*_: object) -> None:
    """Takes note of nothing."""


@dataclass(frozen=True)
class Hooks:
    """Who is told what; none is called under a lock that `find` needs.

    Attributes:
        publish: called with the catalogue after each change of it.
        retire: called with a model once `find` gives it no more, and with the seconds to wait; returns whether no call
            of it is running or can start any more, after which it is closed.
        reinstate: called with name and number before `find` gives a version, which may have been retired before.
        on_load: name, number and seconds of a load that succeeded.
        on_load_failure: name and number of one that did not.
        on_unload: name and number of a version whose memory was given back.
        forgive: name and number of a failed version that is tried again by hand, or because its files changed.
    """

    publish: Callable[[Catalog], None]
    retire: Callable[[Model, float], bool]
    reinstate: Callable[[str, int], None] = ignore
    on_load: Callable[[str, int, float], None] = ignore
    on_load_failure: Callable[[str, int], None] = ignore
    on_unload: Callable[[str, int], None] = ignore
    forgive: Callable[[str, int], None] = ignore


def run_in_thread(work: Callable[[], None]) -> None:
    """Runs work in the background."""
    threading.Thread(target=work, name="versions", daemon=True).start()


@dataclass(frozen=True)
class Clocks:
    """Time, for tests to hold still.

    Attributes:
        monotonic: a clock in seconds that never goes back.
        time: seconds since 1970.
        pause: waits for so many seconds, or less when the manager is being closed; None for a real pause.
        spawn: runs work in the background.
        spawn_load: runs a load in the background.
    """

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    pause: Callable[[float], object] | None = None
    spawn: Callable[[Callable[[], None]], None] = run_in_thread
    spawn_load: Callable[[Callable[[], None]], None] = run_in_thread
