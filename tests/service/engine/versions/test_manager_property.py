"""Whatever happens to the repository, in any order, the catalogue and the models in memory agree."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from service.engine.interface import AVAILABLE, UNLOADING, Choice
from service.errors import ServiceError
from tests.service.version_bench import Bench

NAMES = st.sampled_from(["a", "b"])
NUMBERS = st.integers(1, 5)
LABELS = st.sampled_from(["stable", "canary"])
CHOICES = st.sampled_from([Choice(), Choice(2), Choice(0), Choice(specific=(2,)), Choice(specific=(4, 1))])


class Repository(RuleBasedStateMachine):
    """Publishes, breaks, removes, loads, unloads, labels and configures at random."""

    @initialize(choice=CHOICES)
    def begin(self, choice):
        self.temporary = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.temporary.name), default=choice)
        self.protected = set()

    def teardown(self):
        if hasattr(self, "bench"):
            self.bench.versions.close()
            self.bench.let_grace_pass()
            assert all(model.closings == 1 for _, model in self.bench.loaded)
            self.temporary.cleanup()

    def attempt(self, method, *arguments):
        try:
            getattr(self.bench.versions, method)(*arguments)
        except ServiceError:
            return False
        return True

    @rule(name=NAMES, number=NUMBERS, broken=st.sampled_from(["", "", "no"]))
    def publish(self, name, number, broken):
        if not (self.bench.folder / name / str(number)).exists():
            self.bench.publish(name, number, broken=broken)

    @rule(name=NAMES, number=NUMBERS)
    def mend(self, name, number):
        if (self.bench.folder / name / str(number) / "broken").exists():
            self.bench.mend(name, number)

    @rule(name=NAMES, number=NUMBERS)
    def spoil(self, name, number):
        if (self.bench.folder / name / str(number)).exists():
            (self.bench.folder / name / str(number) / "broken").write_text("spoilt")

    @rule(name=NAMES, number=NUMBERS, broken=st.sampled_from(["", "", "no"]))
    def replace(self, name, number, broken):
        if (self.bench.folder / name / str(number)).exists():
            self.bench.remove(name, number)
            self.bench.publish(name, number, broken=broken)

    @rule(name=NAMES, number=NUMBERS)
    def remove_version(self, name, number):
        if (self.bench.folder / name / str(number)).exists():
            self.bench.remove(name, number)

    @rule(name=NAMES)
    def remove_model(self, name):
        if (self.bench.folder / name).exists():
            self.bench.remove(name)

    @rule()
    def scan(self):
        self.bench.versions.scan()

    @rule()
    def scan_later(self):
        self.bench.now += 400
        self.bench.versions.scan()

    @rule()
    def let_grace_pass(self):
        self.bench.let_grace_pass()

    @rule(name=NAMES)
    def load(self, name):
        self.attempt("load", name)

    @rule(name=NAMES)
    def unload(self, name):
        if self.attempt("unload", name):
            self.protected.discard(name)

    @rule(name=NAMES, label=LABELS, number=st.one_of(st.none(), NUMBERS))
    def set_label(self, name, label, number):
        available = number in self.available(name)
        done = self.attempt("set_label", name, label, number)
        assert done == available or number is None

    @rule(choices=st.dictionaries(NAMES, CHOICES), labels=st.dictionaries(NAMES, st.dictionaries(LABELS, NUMBERS)))
    def configure(self, choices, labels):
        before = {name: self.available(name) for name in ("a", "b")}
        if self.attempt("configure", choices, labels):
            self.protected &= set(choices)
            assert all(self.available(name) for name in choices)
            assert not any(self.available(name) for name in {"a", "b"} - set(choices))
            assert all(labels.get(name, {}) == self.bench.labels(name) for name in choices)
        else:
            assert all(set(before[name]) <= set(self.available(name)) or self.available(name) for name in before)

    @rule()
    def close_and_restart(self):
        self.bench.versions.close()
        self.bench.let_grace_pass()
        self.bench.restart()
        self.protected.clear()

    def available(self, name):
        served = self.bench.versions.catalog().models.get(name)
        return [v.number for v in served.versions if v.state == AVAILABLE] if served else []

    @invariant()
    def a_good_model_stays_available(self):
        if hasattr(self, "bench"):
            self.protected |= {name for name in ("a", "b") if self.available(name)}
            assert all(self.available(name) for name in self.protected)

    @invariant()
    def what_is_available_is_open_and_what_is_closed_cannot_be_found(self):
        if not hasattr(self, "bench"):
            return
        catalog = self.bench.versions.catalog()
        open_versions = {
            (model.name, version.number)
            for model in catalog.models.values()
            for version in model.versions
            if version.state in (AVAILABLE, UNLOADING)
        }
        for key, model in self.bench.loaded:
            assert model.closings <= 1
            if model.closings:
                assert self.bench.versions.find(*key) is not model
        for key in {key for key, _ in self.bench.loaded} | open_versions:
            found = self.bench.versions.find(*key)
            assert (found is not None) == (key in open_versions)
            assert found is None or not found.closings

    @invariant()
    def the_catalogue_that_was_published_is_the_present_one(self):
        if hasattr(self, "bench") and self.bench.catalogs:
            assert self.bench.catalogs[-1] == self.bench.versions.catalog()

    @invariant()
    def nothing_is_left_waiting_or_loading(self):
        if hasattr(self, "bench"):
            models = self.bench.versions.catalog().models.values()
            assert all(v.state not in ("START", "LOADING") for model in models for v in model.versions)


Repository.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRepository = Repository.TestCase
