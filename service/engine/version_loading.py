"""Brings a model's versions into memory, one at a time, and shows each step to the fronts."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from service.engine.attempt import Attempt
from service.engine.files import Fingerprint, list_versions, read_description, take_fingerprint
from service.engine.held import Drop, HeldVersion
from service.engine.interface import Catalog
from service.engine.registry import Registry
from service.engine.retirement import Retirement
from service.engine.version_options import Clocks, Hooks, Load

logger = logging.getLogger(__name__)


class Publisher:
    """Publishes the catalogue when it has changed; whoever publishes last has looked last.

    Args:
        registry: what is loaded.
        publish: takes the catalogue.
    """

    def __init__(self, registry: Registry, publish: Callable[[Catalog], None]) -> None:
        self._registry = registry
        self._publish = publish
        self._publishing = threading.Lock()
        self._published: Catalog | None = None

    def __call__(self) -> None:
        """Publishes what is served now."""
        with self._publishing:
            catalog = self._registry.catalog()
            if catalog != self._published:
                self._publish(catalog)
                self._published = catalog


class VersionLoading:
    """Loads what should be loaded.

    Args:
        load: see `Load`.
        folder: the model repository.
        registry: what is loaded.
        retirement: ends what is given up.
        publish: shows what has changed.
        told: the hooks and the clocks.
    """

    def __init__(
        self,
        load: Load,
        folder: Path,
        registry: Registry,
        retirement: Retirement,
        publish: Callable[[], None],
        told: tuple[Hooks, Clocks],
    ) -> None:
        self._make = load
        self._folder = folder
        self._registry = registry
        self._retirement = retirement
        self._publish = publish
        self._hooks, self._clocks = told
        self._updating: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        # One load at a time: each takes all cores, and memory for what it leaves behind.
        self.loading = threading.Lock()

    def show(self, drops: list[Drop]) -> None:
        """Publishes what has changed, and lets what was given up end in the background."""
        self._publish()
        self._retirement.start(drops)

    def look(self, name: str, *, retry: bool = False) -> None:
        """Looks at a model's folder.

        Args:
            name: the model's.
            retry: whether to try failed versions again even if their time has not come.
        """
        numbers = list_versions(self._folder / name)
        now = self._clocks.monotonic()
        failed = [] if numbers is None else self._registry.failed(name)
        due = [held for held in failed if retry or held.retry_at <= now or self._differs(held)]
        drops = self._registry.note_disk(name, numbers, due)
        if drops:
            self.show(drops)

    def _differs(self, held: HeldVersion) -> bool:
        return take_fingerprint(self._path(held)) != held.files

    def update(self, name: str, *, patient: bool = False) -> None:
        """Loads a model's versions until nothing is left to load.

        Args:
            name: the model's.
            patient: whether to wait for a version that is being closed, to load it again.
        """
        while True:
            with self._updating[name]:
                while self._load_next(name):
                    pass
            if not patient or not self._wait(name):
                return

    def _load_next(self, name: str) -> bool:
        held, drops = self._registry.take_next(name)
        self.show(drops)
        if held is None:
            return False
        self._load(held)
        return True

    def _wait(self, name: str) -> bool:
        retiring = self._registry.retiring(name)
        for held in retiring:
            held.closed.wait()
        return bool(retiring)

    def _load(self, held: HeldVersion) -> None:
        path = self._path(held)
        files = take_fingerprint(path)
        with self.loading:
            started = self._clocks.monotonic()
            with Attempt() as attempt:
                self._registry.check_open()
                model = self._make(path, held.name, held.number)
            seconds = self._clocks.monotonic() - started
            if attempt.error is None:
                self._hooks.reinstate(held.name, held.number)
                drops = self._registry.succeed(held, model, read_description(path), self._clocks.time())
        if attempt.error is not None:
            self._report(held, attempt, files)
            return
        self.show(drops)
        self._hooks.on_load(held.name, held.number, seconds)
        logger.info("Loaded version %d of model '%s' in %.1f s", held.number, held.name, seconds)

    def _report(self, held: HeldVersion, attempt: Attempt, files: Fingerprint) -> None:
        error = attempt.describe()
        is_news, drops = self._registry.fail(held, error, files, self._clocks.monotonic())
        self.show(drops)
        self._hooks.on_load_failure(held.name, held.number)
        if is_news:
            logger.error("Version %d of model '%s' cannot be loaded: %s", held.number, held.name, error)

    def _path(self, held: HeldVersion) -> Path:
        return self._folder / held.name / str(held.number)
