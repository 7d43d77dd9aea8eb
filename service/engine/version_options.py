"""What the version manager is told and whom it tells."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from service.engine.interface import Catalog, Choice
from service.engine.model import Model

# Loads and warms up a version from its folder, given the model's name and the version's number; may raise anything.
Load = Callable[[Path, str, int], Model]


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
    """

    folder: Path
    names: tuple[str, ...] = ()
    default: Choice = field(default_factory=Choice)
    poll_seconds: float = 2.0
    grace_seconds: float = 2.0
    config_path: Path | None = None
    state_path: Path | None = None


def ignore(*_: object) -> None:
    """Takes note of nothing."""


@dataclass(frozen=True)
class Hooks:
    """Who is told what; none is called under a lock that `find` needs.

    Attributes:
        publish: called with the catalogue after each change of it.
        retire: called with name and number once `find` gives the version no more; returns when no call of it is
            running or can start any more, after which the model is closed.
        reinstate: called with name and number before `find` gives a version, which may have been retired before.
        on_load: name, number and seconds of a load that succeeded.
        on_load_failure: name and number of one that did not.
        on_unload: name and number of a version whose memory was given back.
    """

    publish: Callable[[Catalog], None]
    retire: Callable[[str, int], None]
    reinstate: Callable[[str, int], None] = ignore
    on_load: Callable[[str, int, float], None] = ignore
    on_load_failure: Callable[[str, int], None] = ignore
    on_unload: Callable[[str, int], None] = ignore


def run_in_thread(work: Callable[[], None]) -> None:
    """Runs work in the background."""
    threading.Thread(target=work, name="retire", daemon=True).start()


@dataclass(frozen=True)
class Clocks:
    """Time, for tests to hold still.

    Attributes:
        monotonic: a clock in seconds that never goes back.
        time: seconds since 1970.
        pause: waits for so many seconds, or less when the manager is being closed; None for a real pause.
        spawn: runs work in the background.
    """

    monotonic: Callable[[], float] = time.monotonic
    time: Callable[[], float] = time.time
    pause: Callable[[float], object] | None = None
    spawn: Callable[[Callable[[], None]], None] = run_in_thread
