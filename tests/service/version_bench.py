"""A version manager on fake models, with time that stands still until a test moves it."""

import os
import shutil
from pathlib import Path

from service.engine.interface import AVAILABLE, END
from service.engine.versions.manager import VersionManager
from service.engine.versions.options import Clocks, Hooks, VersionSettings


class FakeModel:
    """A loaded version that notices being called or closed too late."""

    signatures = {}  # noqa: RUF012
    batching = {}  # noqa: RUF012
    warning = ""

    def __init__(self, path: Path, name: str, number: int) -> None:
        self.key = (name, number)
        self.content = (path / "saved_model.pb").read_text()
        self.closings = 0

    def close(self):
        self.closings += 1


class Bench:
    """A repository, a manager of it, and everything that the manager said."""

    def __init__(self, folder: Path, **settings) -> None:
        self.folder = folder / "models"
        self.run_folder = folder
        self.settings = settings
        self.now = 1000.0
        self.events = []
        self.catalogs = []
        self.loaded = []
        self.pauses = []
        self.background = []
        self.forgiven = []
        self.loads = []
        self.on_load = lambda *_: None
        self.folder.mkdir(exist_ok=True)
        self.versions = self.make()

    def make(self) -> VersionManager:
        settings = VersionSettings(self.folder, state_path=self.run_folder / "overrides.json", **self.settings)
        hooks = Hooks(
            publish=self.take,
            retire=self.retire,
            reinstate=lambda name, number: self.note("reinstate", name, number),
            on_load=lambda name, number, _: self.note("loaded", name, number),
            on_load_failure=lambda name, number: self.note("failed", name, number),
            on_unload=lambda name, number: self.note("unloaded", name, number),
            forgive=lambda name, number: self.forgiven.append((name, number)),
        )
        clocks = Clocks(lambda: self.now, lambda: 1.7e9, self.pauses.append, self.background.append, self.spawn_load)
        return VersionManager(self.load, settings, hooks, clocks)

    def spawn_load(self, work):
        """Runs a load at once, after the one that asks for it."""
        self.loads.append(work)
        if len(self.loads) == 1:
            while self.loads:
                self.loads[0]()
                del self.loads[0]

    def take(self, catalog):
        """Takes a catalogue, which must be true in itself and of the models in memory."""
        for model in catalog.models.values():
            available = [version.number for version in model.versions if version.state == AVAILABLE]
            assert sorted(available, reverse=True) == available
            assert set(model.labels.values()) <= set(available)
            for number in available:
                assert self.versions.find(model.name, number).closings == 0
        self.catalogs.append(catalog)

    def restart(self) -> None:
        """The engine crashed and is started again."""
        self.versions = self.make()
        self.background.clear()
        self.versions.scan()

    def load(self, path, name, number):
        self.on_load(name, number)
        if (path / "broken").exists():
            raise OSError((path / "broken").read_text())
        model = FakeModel(path, name, number)
        self.loaded.append(((name, number), model))
        return model

    def retire(self, model, seconds):
        assert seconds >= 0
        assert self.versions.find(*model.key) is not model
        self.note("retire", *model.key)
        return True

    def note(self, event, name, number):
        self.events.append((event, name, number))

    def publish(self, name, *numbers, broken="", content=""):
        for number in numbers:
            version = self.folder / name / str(number)
            version.mkdir(parents=True)
            if broken:
                (version / "broken").write_text(broken)
            (version / "saved_model.pb").write_text(content)

    def mend(self, name, number):
        (self.folder / name / str(number) / "broken").unlink()

    def remove(self, name, *numbers):
        for number in numbers:
            shutil.rmtree(self.folder / name / str(number))
        if not numbers:
            shutil.rmtree(self.folder / name)

    def let_grace_pass(self):
        work, self.background[:] = list(self.background), []
        for run in work:
            run()

    def scan(self):
        """One look at the repository, and all that follows from it."""
        self.versions.scan()
        self.let_grace_pass()

    def states(self, name="m"):
        return states(self.catalogs[-1], name)

    def available(self, name="m"):
        return [number for number, state in self.states(name).items() if state == AVAILABLE]

    def labels(self, name="m"):
        return dict(self.catalogs[-1].models[name].labels)

    def obstacles(self):
        catalog = self.catalogs[-1]
        if catalog.obstacle:
            return {"": catalog.obstacle}
        return {name: model.obstacle for name, model in catalog.models.items() if model.obstacle}

    def write_config(self, text):
        path = self.run_folder / "models.toml"
        path.write_text(text)
        # Two writes within a tick of the file system's clock would otherwise look like one.
        self.ticks = getattr(self, "ticks", 0) + 1
        os.utime(path, ns=(self.ticks, self.ticks))
        return path


def states(catalog, name="m"):
    """State by version, without those that ended well."""
    served = catalog.models.get(name)
    return {v.number: v.state for v in served.versions if v.state != END or v.error} if served else {}
