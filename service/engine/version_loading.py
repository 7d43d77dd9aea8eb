"""Brings versions into memory, and shows each step to the front ends."""

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from service.engine.attempt import Attempt
from service.engine.desired import Desired
from service.engine.files import check_version, read_description, take_fingerprint, take_identity
from service.engine.held import Drop, Failure, HeldVersion
from service.engine.held_models import Loaded
from service.engine.interface import Catalog
from service.engine.load_queue import LoadQueue
from service.engine.model import Quarantined
from service.engine.registry import Registry
from service.engine.retirement import Retirement
from service.engine.scanner import Scan, Scanner
from service.engine.version_options import Clocks, Hooks, Load, VersionSettings

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
        self._revision = -1
        self._published: Catalog | None = None
        self._has_failed = False

    def __call__(self) -> None:
        """Publishes what is served now; where that fails, on a full disk say, the next call tries again."""
        with self._publishing:
            revision = self._registry.revision
            if revision == self._revision:
                return
            catalog = self._registry.catalog()
            with Attempt() as attempt:
                if catalog != self._published:
                    self._publish(catalog)
            if attempt.error is None:
                self._revision, self._published = revision, catalog
            elif not self._has_failed:
                logger.error("The catalogue cannot be published; it is tried again: %s", attempt.describe())
            self._has_failed = attempt.error is not None


class VersionLoading:
    """Loads what should be loaded.

    Args:
        load: see `Load`.
        settings: what to serve, and from where.
        registry: what is loaded.
        retirement: ends what is given up.
        publish: shows what has changed.
        told: the hooks and the clocks.
    """

    def __init__(
        self,
        load: Load,
        settings: VersionSettings,
        registry: Registry,
        retirement: Retirement,
        publish: Callable[[], None],
        told: tuple[Hooks, Clocks],
    ) -> None:
        self._make = load
        self._folder = settings.folder
        self._registry = registry
        self._retirement = retirement
        self._publish = publish
        self._hooks, self._clocks = told
        self.scanner = Scanner(settings.folder)
        self.queue = LoadQueue(self._load_next, settings.loads, settings.demand, self._clocks)
        self._looking = threading.Lock()

    def show(self, drops: list[Drop]) -> None:
        """Publishes what has changed, and lets what was given up end in the background."""
        self._publish()
        self._retirement.start(drops)

    def look(self, desired: Desired, retry: Collection[str] = ()) -> Scan | None:
        """Looks at the configuration file and the repository once, and begins to load what is new.

        Args:
            desired: what should be served.
            retry: models whose failed versions are tried again even if their time has not come.

        Returns:
            What the repository holds, or None if it cannot be read.
        """
        with self._looking:
            drops = self._registry.adjust() if desired.config.poll() else []
            scan = self.scanner.scan()
            due = [] if scan is None else self._due(scan, retry)
            drops += self._registry.sync(scan, due)
            self.show(drops)
        self.queue.add(self._registry.loadable())
        return scan

    def finish(self, name: str) -> None:
        """Waits until nothing of a model is left to load, also of what has to be closed before it is loaded again."""
        self.queue.wait([name])
        while retiring := self._registry.retiring(name):
            for held in retiring:
                held.closed.wait()
            self.queue.add([name])
            self.queue.wait([name])

    def _due(self, scan: Scan, retry: Collection[str]) -> list[HeldVersion]:
        failed = [held for held in self._registry.failed() if held.number in scan.versions.get(held.name, {})]
        files = self.scanner.fingerprints([self._path(held) for held in failed])
        now = self._clocks.monotonic()
        due = []
        for held in failed:
            path = self._path(held)
            is_wanted = held.name in retry or (path in files and files[path] != held.files)
            if is_wanted:
                self._hooks.forgive(held.name, held.number)
            if is_wanted or held.retry_at <= now:
                due.append(held)
        return due

    def _load_next(self, name: str) -> bool:
        held, drops = self._registry.take_next(name)
        self.show(drops)
        if held is None:
            return False
        self._load(held)
        return True

    def _load(self, held: HeldVersion) -> None:
        path = self._path(held)
        files = take_fingerprint(path)
        if not held.failures and self._registry.find(held.name, held.number) is not None:
            # What its predecessor under the same number has done is not its fault.
            self._hooks.forgive(held.name, held.number)
        started = self._clocks.monotonic()
        with Attempt() as attempt:
            check_version(path)
            identity = take_identity(path)
            model = self._make(path, held.name, held.number)
            loaded = Loaded(model, read_description(path), identity, self._clocks.time())
        if attempt.error is not None:
            self._report(held, Failure(explain(attempt), files, isinstance(attempt.error, Quarantined)))
            return
        seconds = self._clocks.monotonic() - started
        self._hooks.reinstate(held.name, held.number)
        self.show(self._registry.succeed(held, loaded))
        self._hooks.on_load(held.name, held.number, seconds)
        logger.info("Loaded version %d of model '%s' in %.1f s", held.number, held.name, seconds)

    def _report(self, held: HeldVersion, failure: Failure) -> None:
        is_news, drops = self._registry.fail(held, failure, self._clocks.monotonic())
        self.show(drops)
        self._hooks.on_load_failure(held.name, held.number)
        if is_news:
            logger.error("Version %d of model '%s' cannot be loaded: %s", held.number, held.name, failure.error)

    def _path(self, held: HeldVersion) -> Path:
        return self._folder / held.name / held.folder


def explain(attempt: Attempt) -> str:
    """Why a version cannot be loaded, in a sentence."""
    return str(attempt.error) if isinstance(attempt.error, Quarantined) else attempt.describe()
