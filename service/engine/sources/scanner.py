"""Looks through the model repository, whatever its entries do: what cannot be read, or never answers, is left out."""

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.engine.attempt import Attempt
from service.engine.sources.files import (
    Fingerprint,
    ModelFolder,
    VersionFolder,
    describe_error,
    escape,
    list_entries,
    read_entry,
    take_fingerprint,
)

logger = logging.getLogger(__name__)

# A look at one entry that takes longer is left behind.
PATIENCE_SECONDS = 2.0
HANGS = "does not answer, as on a file system that hangs; it is looked at again when it does"


@dataclass(frozen=True)
class Scan:
    """What the repository holds.

    Attributes:
        versions: by model and number, newest first; a model that cannot be read now is missing.
        problems: sentences by entry, such as `m` or `m/v1`.
    """

    versions: Mapping[str, Mapping[int, VersionFolder]] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def models(self) -> list[str]:
        """The models that have a version."""
        return [name for name, versions in self.versions.items() if versions]


class Scanner:
    """Looks through a repository; everything that it does ends within seconds.

    Args:
        folder: the repository.
        patience_seconds: how long a look at one entry may take.
        read: looks at one entry; see `read_entry`.
    """

    def __init__(
        self,
        folder: Path,
        patience_seconds: float = PATIENCE_SECONDS,
        read: Callable[[Path, str], ModelFolder] = read_entry,
    ) -> None:
        self._folder = folder
        self._read = read
        self._look = Watched(patience_seconds)
        self._reported: Mapping[str, str] = {}

    def scan(self) -> Scan | None:
        """Looks at every entry; None where the repository itself cannot be read. What is new is logged."""
        listed = self._look({"": functools.partial(list_entries, self._folder)}).get("")
        if not isinstance(listed, list):
            self._report({"": explain(listed)})
            return None
        outcomes = self._look({name: functools.partial(self._read, self._folder, name) for name in listed})
        versions: dict[str, Mapping[int, VersionFolder]] = {}
        problems: dict[str, str] = {}
        for name in listed:
            outcome = outcomes.get(name)
            if not isinstance(outcome, ModelFolder):
                problems[escape(name)] = explain(outcome)
                continue
            versions[name] = outcome.versions
            for entry, sentence in outcome.problems.items():
                problems[escape(f"{name}/{entry}" if entry else name)] = sentence
        self._report(problems)
        return Scan(versions, problems)

    def fingerprints(self, versions: Sequence[Path]) -> dict[Path, Fingerprint]:
        """What changes when the files of these versions do; those that do not answer are left out."""
        outcomes = self._look({str(path): functools.partial(take_fingerprint, path) for path in versions})
        return {path: outcomes[str(path)] for path in versions if isinstance(outcomes.get(str(path)), tuple)}

    def _report(self, problems: Mapping[str, str]) -> None:
        for entry, sentence in problems.items():
            if self._reported.get(entry) == sentence:
                continue
            if entry:
                logger.warning("'%s' in the model repository is not served: %s", entry, sentence)
            else:
                logger.warning("The model repository %s %s; what is served stays", self._folder, sentence)
        self._reported = problems


class Watched:
    """Does things one after another in a thread, which is left behind where one takes too long.

    What was left behind is not begun again until its thread has come back.

    Args:
        patience_seconds: how long each may take; noticed after twice that at most.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._hanging: dict[str, threading.Thread] = {}
        self._one_at_a_time = threading.Lock()

    def __call__(self, work: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Does it.

        Args:
            work: by a name that is the same at the next call.

        Returns:
            What each gave, or the exception that it raised; nothing for what takes too long.
        """
        with self._one_at_a_time:
            self._hanging = {name: thread for name, thread in self._hanging.items() if thread.is_alive()}
            left = iter([(name, do) for name, do in work.items() if name not in self._hanging])
            outcomes: dict[str, Any] = {}
            while (walk := Walk(left, outcomes)).hangs_at(self._patience_seconds):
                self._hanging[walk.name] = walk.thread
            return dict(outcomes)


class Walk:
    """One thread's way through the work, until it is over or the thread is left behind."""

    def __init__(self, work: Iterator[tuple[str, Callable[[], Any]]], outcomes: dict[str, Any]) -> None:
        self.name = ""
        self._work = work
        self._outcomes = outcomes
        self._steps = 0
        self._is_left = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="scanner", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while (step := self._next()) is not None:
            name, do = step
            with Attempt() as attempt:
                outcome = do()
            with self._lock:
                if self._is_left:
                    return
                self._outcomes[name] = outcome if attempt.error is None else attempt.error
        self._ended.set()

    def _next(self) -> tuple[str, Callable[[], Any]] | None:
        with self._lock:
            step = None if self._is_left else next(self._work, None)
            if step is not None:
                self.name, self._steps = step[0], self._steps + 1
            return step

    def hangs_at(self, seconds: float) -> bool:
        """Waits until everything is done, or one step takes too long, which is then left behind."""
        steps = -1
        while not self._ended.wait(seconds):
            with self._lock:
                if steps == self._steps:
                    self._is_left = True
                    return True
                steps = self._steps
        return False


def explain(outcome: Any) -> str:
    """Why a look gave nothing."""
    if outcome is None:
        return HANGS
    return describe_error(outcome) if isinstance(outcome, OSError) else f"cannot be read: {outcome!r}"
