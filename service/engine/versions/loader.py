"""Brings versions into memory, and shows each step to the front ends."""

import logging
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from service.engine.attempt import Attempt
from service.engine.interface import Catalog
from service.engine.model import Quarantined
from service.engine.sources.files import check_version, read_description, take_fingerprint, take_identity
from service.engine.sources.scanner import Scan, Scanner
from service.engine.versions.aspired import AspiredVersions
from service.engine.versions.load_queue import LoadQueue
from service.engine.versions.managed import Drop, Failure, ManagedVersion
from service.engine.versions.managed_models import Loaded
from service.engine.versions.options import Clocks, Hooks, Load, VersionSettings
from service.engine.versions.registry import Registry
from service.engine.versions.unloader import Unloader

logger = logging.getLogger(__name__)


class Publisher:
    """Publishes the catalogue when it has changed; the last to publish is the last that has looked.

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


class VersionLoader:
    """Loads what should be loaded.

    Args:
        load: see `Load`.
        settings: what to serve, and from where.
        registry: what is loaded.
        unloader: ends what is given up.
        hooks: whom to tell.
        clocks: time, and threads.
    """

    def __init__(
        self,
        load: Load,
        settings: VersionSettings,
        registry: Registry,
        unloader: Unloader,
        hooks: Hooks,
        clocks: Clocks,
    ) -> None:
        self._make = load
        self._folder = settings.folder
        self._registry = registry
        self._unloader = unloader
        self._hooks = hooks
        self._clocks = clocks
        self.scanner = Scanner(settings.folder)
        self.queue = LoadQueue(self._load_next, settings.loads, settings.demand, self._clocks)
        self._looking = threading.Lock()

    def show(self, drops: list[Drop]) -> None:
        """Publishes what has changed, and lets what was given up end in the background."""
        self._unloader.publish()
        self._unloader.start(drops)

    def look(self, aspired: AspiredVersions, retry: Collection[str] = ()) -> Scan | None:
        """Looks at the configuration file and the repository once, and begins to load what is new.

        Args:
            aspired: what should be served.
            retry: models whose failed versions are tried again even if their time has not come.

        Returns:
            What the repository holds, or None if it cannot be read.
        """
        with self._looking:
            drops = self._registry.adjust() if aspired.config.poll() else []
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
            for version in retiring:
                version.closed.wait()
            self.queue.add([name])
            self.queue.wait([name])

    def _due(self, scan: Scan, retry: Collection[str]) -> list[ManagedVersion]:
        failed = [
            version for version in self._registry.failed() if version.number in scan.versions.get(version.name, {})
        ]
        files = self.scanner.fingerprints([self._path(version) for version in failed])
        now = self._clocks.monotonic()
        due = []
        for version in failed:
            path = self._path(version)
            is_wanted = version.name in retry or (path in files and files[path] != version.files)
            if is_wanted:
                self._hooks.forgive(version.name, version.number)
            if is_wanted or version.retry_at <= now:
                due.append(version)
        return due

    def _load_next(self, name: str) -> bool:
        version, drops = self._registry.take_next(name)
        self.show(drops)
        if version is None:
            return False
        self._load(version)
        return True

    def _load(self, version: ManagedVersion) -> None:
        path = self._path(version)
        files = take_fingerprint(path)
        if not version.failures and self._registry.find(version.name, version.number) is not None:
            # What its predecessor under the same number has done is not its fault.
            self._hooks.forgive(version.name, version.number)
        started = self._clocks.monotonic()
        with Attempt() as attempt:
            check_version(path)
            identity = take_identity(path)
            model = self._make(path, version.name, version.number)
            loaded = Loaded(model, read_description(path), identity, self._clocks.time())
        if attempt.error is not None:
            self._report(version, Failure(explain(attempt), files, isinstance(attempt.error, Quarantined)))
            return
        seconds = self._clocks.monotonic() - started
        self._hooks.reinstate(version.name, version.number)
        self.show(self._registry.succeed(version, loaded))
        self._hooks.on_load(version.name, version.number, seconds)
        logger.info("Loaded version %d of model '%s' in %.1f s", version.number, version.name, seconds)

    def _report(self, version: ManagedVersion, failure: Failure) -> None:
        is_news, drops = self._registry.fail(version, failure, self._clocks.monotonic())
        self.show(drops)
        self._hooks.on_load_failure(version.name, version.number)
        if is_news:
            logger.error("Version %d of model '%s' cannot be loaded: %s", version.number, version.name, failure.error)

    def _path(self, version: ManagedVersion) -> Path:
        return self._folder / version.name / version.folder


def explain(attempt: Attempt) -> str:
    """Why a version cannot be loaded, in a sentence."""
    return str(attempt.error) if isinstance(attempt.error, Quarantined) else attempt.describe()
