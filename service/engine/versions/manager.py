"""The engine's version manager: which versions of which models are loaded, when they switch, what labels mean.

What is served, in short:

- A model's policy says which of its versions: the n newest that can be loaded, all, or specific ones. The settings give
  the default, the configuration file says more of single models, and `configure` overrides both until the service ends.
- Several models are loaded at a time, those in demand first; a load that takes long keeps neither the others nor the
  looking for new versions waiting.
- A new version is loaded and warmed up beside the old one. It becomes AVAILABLE in the same catalogue in which the old
  one turns UNLOADING; that one still answers for a time of grace, and is closed when its last call has ended. A call
  that does not end keeps it open for ever, but nothing else.
- A version that cannot be loaded counts as if it were not there, so the next older one serves; it is tried again, at
  growing intervals, and at once when its files change. One in quarantine is tried again by hand or when they change.
- A version whose folder was replaced under the same number is loaded beside the old one, which serves until then.
- The last available version of a model stays until it is unloaded by hand or `configure` leaves the model out, even if
  its folder vanishes. A model folder that is missing or cannot be read changes nothing, as in TensorFlow Serving; one
  that has lost all its versions does what TensorFlow Serving does with `servable_versions_always_present`.
- A version that a label points to is loaded, and kept, beside those that the policy chooses, even if its folder
  vanishes: publishing version 4 does not take version 3 from those who ask for `stable`.
- An entry of the repository that cannot be read, never answers or lies in the wrong place is a problem of its own.
- The service is ready when every model found at the start, or named in the settings, has the versions that its policy
  and its labels ask for, or could not be loaded at the first try (`KILN_READY` can ask for more). Models that appear
  later, and unloading by hand, do not take readiness away.

Source:
    TensorFlow Serving, `file_system_storage_path_source.cc`, for folders that vanish.
"""

import logging
import threading

from service.engine.attempt import Attempt
from service.engine.interface import Catalog
from service.engine.sources.model_config import BatchingConfig
from service.engine.versions.administration import Administration
from service.engine.versions.aspired import AspiredVersions
from service.engine.versions.loader import Publisher, VersionLoader
from service.engine.versions.options import Clocks, Hooks, Load, VersionSettings
from service.engine.versions.registry import Registry
from service.engine.versions.unloader import CLOSE_SECONDS, Unloader

logger = logging.getLogger(__name__)


class VersionManager:
    """Keeps the models of a repository loaded; everything may be called from several threads.

    Args:
        load: loads and warms up one version.
        settings: what to serve, and from where.
        hooks: whom to tell.
        clocks: time.

    Attributes:
        find: gives a version that can be called by name and number, or None; takes no lock.
        load, unload, set_label, configure: see `Administration`.

    Raises:
        InvalidSettings: the configuration file is wrong.
    """

    def __init__(self, load: Load, settings: VersionSettings, hooks: Hooks, clocks: Clocks | None = None) -> None:
        clocks = clocks or Clocks()
        self._settings = settings
        self._aspired = AspiredVersions(settings)
        self._registry = Registry(settings.folder, self._aspired, settings.ready)
        self._publish = Publisher(self._registry, hooks.publish)
        self._unloader = Unloader(self._registry, hooks, clocks, settings, self._publish)
        self._loading = VersionLoader(load, settings, self._registry, self._unloader, hooks, clocks)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._labels_reported: dict[tuple[str, str], int] = {}
        self._strangers_reported: list[str] = []
        administration = Administration(settings, self._aspired, self._registry, self._loading, self._unloader)
        self.find = self._registry.find
        self.load = administration.load
        self.unload = administration.unload
        self.set_label = administration.set_label
        self.configure = administration.configure

    def catalog(self) -> Catalog:
        """What is served now."""
        return self._registry.catalog()

    def batching(self, name: str) -> BatchingConfig:
        """What the configuration file says of a model's batching."""
        return self._aspired.batching(name)

    def start(self) -> None:
        """Looks at the repository at once, in a thread, and then every `poll_seconds`."""
        self._thread = threading.Thread(target=self._poll, name="versions", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            with Attempt() as attempt:
                self.look()
            if attempt.error is not None:
                logger.error("Looking for versions failed; it is tried again", exc_info=attempt.error)
            if not self._settings.poll_seconds or self._stopping.wait(self._settings.poll_seconds):
                return

    def look(self) -> None:
        """Looks at the configuration file and the repository once, and begins to load what is new."""
        self._loading.look(self._aspired)
        self._report_strangers(self._registry.names())
        self._report_labels()

    def scan(self) -> None:
        """The same, but returns when what is new is loaded."""
        self.look()
        self._loading.queue.wait()
        self._report_labels()

    def _report_strangers(self, names: list[str]) -> None:
        strangers = sorted(set(self._aspired.config.models).difference(names))
        if strangers and strangers != self._strangers_reported:
            logger.warning(
                "The model configuration names %s, which are not served. Models: %s",
                ", ".join(strangers), ", ".join(names) or "none",
            )  # fmt: skip
        self._strangers_reported = strangers

    def _report_labels(self) -> None:
        missing = self._registry.missing_labels()
        for (name, label), number in missing.items():
            if self._labels_reported.get((name, label)) != number:
                logger.warning(
                    "Label '%s' of model '%s' names version %d, which is not available; it counts once it is",
                    label, name, number,
                )  # fmt: skip
        self._labels_reported = missing

    def close(self) -> None:
        """Stops looking for versions and closes everything; `load` and the others refuse from then on.

        A load or a call that hangs is not waited for.
        """
        self._stopping.set()
        drops = self._registry.close()
        self._publish()
        self._unloader.close(drops)
        self._loading.queue.wait(seconds=CLOSE_SECONDS)
        self._unloader.close(self._registry.close())
