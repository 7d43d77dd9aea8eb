"""The engine that runs models in this process: versions, batches and TensorFlow, behind the socket."""

import dataclasses
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from service.engine.batching.executor import Executor
from service.engine.batching.options import Batching
from service.engine.batching.queue import Batch, Reply
from service.engine.batching.scheduler import Scheduler, never
from service.engine.batching.statistics import StatisticsCollector
from service.engine.interface import AVAILABLE, Call, Catalog, Choice, Version
from service.engine.ipc.server import Work
from service.engine.ipc.shared_memory import Demand
from service.engine.isolation.crash_log import CrashLog
from service.engine.isolation.examined import Examined
from service.engine.isolation.journal import Journal
from service.engine.isolation.loading import IsolatedLoader
from service.engine.isolation.watchdog import Running, Watchdog
from service.engine.model import Model
from service.engine.resources import count_cpus, count_operation_threads, find_limit, give_memory_back
from service.engine.saved_model.loader import SavedModelLoader
from service.engine.versions.manager import VersionManager
from service.engine.versions.options import Hooks, VersionSettings
from service.metrics import EngineMetrics
from service.settings import Settings

logger = logging.getLogger(__name__)

STATE = "engine.state.json"
EXAMINED = "engine.examined.json"


class LocalEngine:
    """Runs the models of the settings' repository; see `Host`.

    Args:
        settings: see `Settings`.
        folder: the service's own, where decisions that were made at run time outlive the process.
        publish: told the catalogue at each change.
        calls: calls into TensorFlow that may run at a time.

    Raises:
        InvalidSettings: the model configuration or a library of operations cannot be used.
    """

    def __init__(self, settings: Settings, folder: Path, publish: Callable[[Catalog], None], calls: int) -> None:
        self._settings = settings
        self._metrics = EngineMetrics()
        self._demand = Demand(folder)
        self._crash_log = CrashLog(folder)
        self._journal = Journal(folder)
        self._journal.clear()
        most_bytes = find_limit(settings.engine_memory_bytes)
        self._watchdog = Watchdog(self._crash_log, most_bytes)
        self._statistics = StatisticsCollector(self._metrics)
        self._default = Batching(settings.batching, None, settings.largest_batch, settings.queue_rows)
        self._batching: dict[Any, Batching] = {}
        self._catalog = Catalog()
        self._publish = publish
        self._is_published = True
        self._scheduler = Scheduler(
            self._find,
            self._batching_of,
            calls,
            self._metrics.queued,
            self._statistics.dropped,
            self._crash_log.is_suspect,
        )
        self._executor = Executor(self._scheduler, self._statistics, self._journal)
        self._loader = IsolatedLoader(
            SavedModelLoader(
                count_operation_threads(settings.tensorflow_threads), settings.max_answer_bytes, settings.op_libraries
            ),
            Examined(folder / EXAMINED), self._crash_log, self._journal, settings.load_timeout_seconds, most_bytes,
        )  # fmt: skip
        self._versions = VersionManager(
            self._loader,
            VersionSettings(
                settings.model_repository, settings.models, Choice(settings.versions.latest), settings.poll_seconds,
                config_path=settings.model_config, state_path=folder / STATE, ready=settings.ready, loads=count_cpus(),
                drain_seconds=2 * settings.timeout_seconds, demand=self._demand.of,
            ),
            Hooks(
                self._note, self._scheduler.retire, self._scheduler.reinstate, on_load=self._metrics.loaded,
                on_load_failure=lambda name, _: self._metrics.load_failed(name), on_unload=self._unloaded,
                forgive=self._loader.forgive,
            ),
        )  # fmt: skip

    def start(self) -> None:
        """Begins to load."""
        self._versions.start()

    def close(self) -> None:
        """Ends what runs in the background."""
        self._versions.close()
        self._loader.close()

    def submit(self, call: Call, reply: Reply, is_abandoned: Callable[[], bool] = never) -> None:
        """Takes a request; see `Host.submit` and `Scheduler.submit`."""
        self._demand.note(call.model)
        seconds = self._versions.batching(call.model).timeout_seconds
        if seconds is not None:
            latest = time.monotonic() + seconds
            call = dataclasses.replace(call, deadline=min(call.deadline or latest, latest))
        self._scheduler.submit(call, reply, is_abandoned)

    def work(self) -> Work | None:
        """A batch to be run now, or None."""
        batch = self._scheduler.take()
        if batch is None:
            return None
        return Work(partial(self._executor.run, batch), self._executor.expected_seconds(batch))

    def has_work(self) -> bool:
        """Whether there is another batch to be run now."""
        return self._scheduler.has_work()

    def watch(self) -> tuple[bool, int]:
        """Looks after the calls and the loads that are running; see `Host.watch`."""
        now = time.monotonic()
        overdue = self._scheduler.mark_overdue(now)
        calls, loads = self._scheduler.running(), self._loader.loading()
        if self._watchdog.is_due(now):
            self._watchdog.look([*map(self._describe_call, calls), *loads], now)
            self._loader.end_idle(now)
            if not self._is_published:
                self._publish_catalog()
        return bool(calls or loads), overdue

    def _describe_call(self, batch: Batch) -> Running:
        name, number, signature = batch.key
        seconds = self._versions.batching(name).timeout_seconds or self._settings.timeout_seconds
        return Running(name, number, f"signature '{signature}'", batch.started, seconds)

    def administer(self, operation: str, arguments: list[Any]) -> Any:
        """Does what `Engine`'s method of that name says.

        Raises:
            ServiceError: as that method says.
        """
        match operation, arguments:
            case "load", [model]:
                self._versions.load(model)
            case "unload", [model]:
                self._versions.unload(model)
            case "set_label", [model, label, version]:
                self._versions.set_label(model, label, version)
            case "configure", [choices, labels]:
                self._versions.configure(
                    {name: Choice(latest, tuple(specific)) for name, (latest, specific) in choices.items()}, labels
                )
            case "statistics", []:
                return [
                    dataclasses.asdict(self._statistics.read(model.name, version.number))
                    for model in self._catalog.models.values()
                    for version in model.versions
                    if version.state == AVAILABLE
                ]
        return None

    def _find(self, name: str, number: int) -> Model | None:
        return self._versions.find(name, number)

    def _batching_of(self, model: str) -> Batching:
        config = self._versions.batching(model)
        made = self._batching.get(config)
        if made is None:
            given: dict[str, Any] = {
                "configured": config.enabled, "largest_batch": config.largest_batch, "queue_rows": config.queue_rows
            }  # fmt: skip
            made = dataclasses.replace(
                self._default, **{name: value for name, value in given.items() if value is not None}
            )
            self._batching[config] = made
        return made

    def _note(self, catalog: Catalog) -> None:
        self._catalog = self._with_batching(catalog)
        self._publish_catalog()

    def _publish_catalog(self) -> None:
        """Tells the front ends what is served; on a full disk they go on with what they know until there is space."""
        try:
            self._publish(self._catalog)
        except OSError as error:
            if self._is_published:
                logger.error("The front ends cannot be told what is served, which is tried again: %s", error)
            self._is_published = False
        else:
            self._is_published = True

    def _with_batching(self, catalog: Catalog) -> Catalog:
        """The catalogue with what the settings and the configuration file say of batching too."""
        return dataclasses.replace(
            catalog,
            models={
                name: dataclasses.replace(model, versions=tuple(map(self._decide_batching, model.versions)))
                for name, model in catalog.models.items()
            },
        )

    def _decide_batching(self, version: Version) -> Version:
        batching = self._batching_of(version.name)
        decided = {
            key: batching.decide(signature, version.batching.get(key)) for key, signature in version.signatures.items()
        }
        return dataclasses.replace(version, batching=decided)

    def _unloaded(self, name: str, number: int) -> None:
        self._statistics.forget(name, number)
        self._executor.forget(name, number)
        self._journal.forget(name, number)
        self._metrics.unloaded(name, number)
        give_memory_back()
