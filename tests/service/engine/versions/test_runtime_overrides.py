"""Overrides: policies and labels from the file and by hand, load, unload, configure, and a restart of the engine."""

import logging

import pytest

from service.engine.interface import AVAILABLE, END, LOADING, UNLOADING, Choice
from service.engine.sources.model_config import BatchingConfig
from service.errors import InvalidConfiguration, InvalidSettings, ModelUnavailable, UnknownModel
from tests.service.version_bench import Bench, states


@pytest.fixture
def make_bench(tmp_path):
    return lambda **settings: Bench(tmp_path, **settings)


@pytest.fixture
def bench(make_bench):
    """Three versions of `m`, of which the newest is served, and one of `other`."""
    bench = make_bench()
    bench.publish("m", 1, 2, 3)
    bench.publish("other", 1)
    bench.scan()
    return bench


@pytest.fixture
def configured_bench(tmp_path, make_bench):
    """The same with a configuration file."""
    (tmp_path / "models.toml").write_text('[m]\nversions = "latest:2"\nlabels = { stable = 1, canary = 3 }\n')
    bench = make_bench(config_path=tmp_path / "models.toml")
    bench.publish("m", 1, 2, 3)
    bench.publish("other", 1, 2)
    bench.scan()
    return bench


def decide(bench, method, *arguments):
    getattr(bench.versions, method)(*arguments)
    bench.let_grace_pass()


def test_unload_gives_the_memory_back_and_load_serves_again(bench):
    old = bench.versions.find("m", 3)
    bench.versions.unload("m")
    assert (old.closings, bench.states(), bench.versions.find("m", 3)) == (1, {}, None)
    assert bench.obstacles() == {}
    assert [(v.number, v.state, v.error) for v in bench.catalogs[-1].models["m"].versions] == [(3, END, "")]
    bench.scan()
    assert bench.available() == []
    bench.versions.load("m")
    assert bench.available() == [3]
    assert bench.versions.find("m", 3) is not old
    assert bench.events[-4:] == [("retire", "m", 3), ("unloaded", "m", 3), ("reinstate", "m", 3), ("loaded", "m", 3)]


def test_a_model_that_is_being_unloaded_still_answers_until_its_grace_is_over(bench):
    seen = []
    bench.pauses = None
    bench.versions._unloader._pause = lambda _: seen.append((bench.states(), bench.versions.find("m", 3) is not None))
    bench.versions.unload("m")
    assert seen == [({3: UNLOADING}, True)]


@pytest.mark.parametrize("name", ["absent", "", "..", "../models/m", "m/3", ".hidden", "a\0b"])
def test_a_model_that_is_not_there_can_be_neither_loaded_nor_unloaded(bench, name):
    with pytest.raises(UnknownModel, match="There is no version of a model in"):
        bench.versions.load(name)
    with pytest.raises(UnknownModel, match="is not served"):
        bench.versions.unload(name)


def test_a_model_that_was_unloaded_cannot_be_unloaded_again(bench):
    bench.versions.unload("m")
    with pytest.raises(UnknownModel, match="Model 'm' is not served"):
        bench.versions.unload("m")


def test_load_finds_a_new_model_and_a_new_version_at_once(bench):
    bench.publish("new", 5)
    decide(bench, "load", "new")
    assert bench.available("new") == [5]
    bench.publish("m", 4)
    decide(bench, "load", "m")
    assert bench.states() == {4: AVAILABLE}


def test_load_tries_a_broken_version_at_once_and_says_why_it_cannot_be_loaded(bench):
    bench.publish("bad", 1, broken="no variables")
    bench.scan()
    with pytest.raises(ModelUnavailable, match="Model 'bad' could not be loaded: OSError: no variables") as caught:
        bench.versions.load("bad")
    assert caught.value.status == 503
    assert bench.events.count(("failed", "bad", 1)) == 2


def test_load_is_content_with_an_older_version_when_the_newest_is_broken(bench):
    bench.publish("m", 4, broken="no")
    bench.versions.load("m")
    assert bench.states() == {4: END, 3: AVAILABLE}


def test_a_broken_model_can_be_unloaded_and_is_not_tried_again(make_bench):
    bench = make_bench()
    bench.publish("good", 1)
    bench.publish("bad", 1, broken="no")
    bench.scan()
    bench.versions.unload("bad")
    assert bench.obstacles() == {}
    bench.now += 1000
    bench.scan()
    assert bench.events.count(("failed", "bad", 1)) == 1


def test_only_models_that_the_settings_name_can_be_loaded(make_bench):
    bench = make_bench(names=("a",))
    bench.publish("a", 1)
    bench.publish("b", 1)
    bench.scan()
    with pytest.raises(UnknownModel, match="Model 'b' is not served. Models: a."):
        bench.versions.load("b")
    with pytest.raises(InvalidConfiguration, match="Model 'b' cannot be served. Allowed: a."):
        bench.versions.configure({"b": Choice()}, {})


def test_a_model_that_is_unloaded_while_it_is_loaded_is_closed_at_once(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.on_load = lambda name, _: bench.versions.unload(name)
    bench.scan()
    assert (bench.states(), bench.versions.find("m", 1)) == ({}, None)
    assert [model.closings for _, model in bench.loaded] == [1]
    assert all(AVAILABLE not in states(catalog).values() for catalog in bench.catalogs)


def test_a_label_points_to_an_available_version(bench):
    bench.versions.set_label("m", "stable", 3)
    assert bench.labels() == {"stable": 3}
    bench.versions.set_label("m", "stable", None)
    assert bench.labels() == {}


REFUSED = {
    "version": ("m", "stable", 2, "Could not find version 2 of model m. Available: 3."),
    "model": ("absent", "stable", 1, "Could not find any versions of model absent"),
    "label": ("m", "stable", None, "Model 'm' has no label 'stable'. Labels: none."),
}


@pytest.mark.parametrize(("model", "label", "version", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_label_without_such_a_version_is_refused(bench, model, label, version, sentence):
    with pytest.raises(UnknownModel) as caught:
        bench.versions.set_label(model, label, version)
    assert str(caught.value) == sentence
    assert bench.labels() == {}


def test_a_version_with_a_label_is_kept_when_a_newer_one_is_published(bench):
    bench.versions.set_label("m", "stable", 3)
    bench.publish("m", 4)
    bench.scan()
    assert (bench.available(), bench.labels()) == ([4, 3], {"stable": 3})
    bench.remove("m", 3)
    bench.scan()
    assert bench.available() == [4, 3]
    decide(bench, "set_label", "m", "stable", 4)
    assert (bench.states(), bench.labels()) == ({4: AVAILABLE}, {"stable": 4})


def test_the_labels_of_a_file_are_loaded_beside_the_policy(configured_bench):
    assert configured_bench.available("m") == [3, 2, 1]
    assert configured_bench.labels("m") == {"stable": 1, "canary": 3}
    assert configured_bench.available("other") == [2]


def test_a_label_of_the_file_counts_once_its_version_is_available(configured_bench, caplog):
    caplog.set_level(logging.WARNING)
    configured_bench.write_config("[m.labels]\nstable = 4\n")
    configured_bench.scan()
    configured_bench.scan()
    assert caplog.messages == [
        "Label 'stable' of model 'm' names version 4, which is not available; it counts once it is"
    ]
    assert (configured_bench.available("m"), configured_bench.labels("m")) == ([3], {})
    configured_bench.publish("m", 4)
    configured_bench.scan()
    assert configured_bench.labels("m") == {"stable": 4}


def test_a_changed_file_changes_policies_and_labels(configured_bench):
    configured_bench.write_config('[m]\nversions = [2]\n[other]\nversions = "all"\n[other.batching]\nenabled = false')
    configured_bench.scan()
    assert (configured_bench.available("m"), configured_bench.labels("m")) == ([2], {})
    assert configured_bench.available("other") == [2, 1]
    assert configured_bench.versions.batching("other") == BatchingConfig(enabled=False)
    assert configured_bench.versions.batching("m") == BatchingConfig()


def test_a_file_that_becomes_wrong_changes_nothing_and_is_reported_once(configured_bench, caplog):
    published = len(configured_bench.catalogs)
    configured_bench.write_config("[m]\nversion = 1")
    configured_bench.scan()
    configured_bench.scan()
    [message] = caplog.messages
    assert "[m] has the unknown key 'version'" in message
    assert len(configured_bench.catalogs) == published


def test_a_file_that_names_no_model_is_reported_once(configured_bench, caplog):
    configured_bench.write_config("[mm]")
    configured_bench.scan()
    configured_bench.scan()
    assert caplog.messages == ["The model configuration names mm, which are not served. Models: m, other"]


def test_a_wrong_file_at_the_start_is_refused(tmp_path, make_bench):
    (tmp_path / "models.toml").write_text("[m]\nversion = 1")
    with pytest.raises(InvalidSettings, match="unknown key 'version'"):
        make_bench(config_path=tmp_path / "models.toml")


def test_a_label_by_hand_wins_until_the_file_says_something_new(configured_bench):
    configured_bench.versions.set_label("m", "stable", 2)
    configured_bench.versions.set_label("m", "canary", None)
    configured_bench.scan()
    assert configured_bench.labels("m") == {"stable": 2}
    assert configured_bench.available("m") == [3, 2]
    configured_bench.write_config("[m.labels]\nstable = 3\ncanary = 3\n")
    configured_bench.scan()
    assert configured_bench.labels("m") == {"stable": 3}


def test_an_engine_that_is_started_again_serves_the_same(bench):
    bench.versions.set_label("m", "stable", 3)
    bench.publish("m", 4)
    bench.scan()
    bench.versions.unload("other")
    before = bench.catalogs[-1]
    bench.restart()
    assert bench.catalogs[-1] == before
    assert (bench.available("m"), bench.labels("m"), bench.available("other")) == ([4, 3], {"stable": 3}, [])
    bench.versions.load("other")
    bench.restart()
    assert bench.available("other") == [1]


def test_an_engine_that_is_started_again_remembers_its_configuration(bench):
    decide(bench, "configure", {"m": Choice(specific=(2, 1))}, {"m": {"stable": 1}})
    bench.versions.set_label("m", "canary", 2)
    before = bench.catalogs[-1]
    bench.restart()
    assert states(bench.catalogs[-1]) == states(before) == {2: AVAILABLE, 1: AVAILABLE}
    assert bench.labels() == {"stable": 1, "canary": 2}
    assert list(bench.catalogs[-1].models) == ["m"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"unloaded": 3, "labels": {}, "configured": null}', "\0"])
def test_a_broken_memory_of_decisions_is_ignored(bench, caplog, text):
    (bench.run_folder / "overrides.json").write_text(text)
    bench.restart()
    assert bench.available() == [3]
    assert any("Ignored what was decided before" in message for message in caplog.messages)


def test_a_decision_that_cannot_be_remembered_counts_all_the_same(tmp_path, caplog):
    bench = Bench(tmp_path)
    bench.publish("m", 1)
    bench.scan()
    (tmp_path / "overrides.json").mkdir()
    bench.versions.unload("m")
    assert bench.available() == []
    assert "a restart of the engine will forget this" in caplog.text


def test_configure_serves_exactly_these_models_and_switches_in_one_step(bench):
    bench.catalogs.clear()
    decide(bench, "configure", {"m": Choice(specific=(1, 2))}, {"m": {"stable": 1}})
    assert [states(catalog) for catalog in bench.catalogs] == [
        {3: AVAILABLE, 2: LOADING, 1: "START"},
        {3: AVAILABLE, 2: AVAILABLE, 1: "START"},
        {3: AVAILABLE, 2: AVAILABLE, 1: LOADING},
        {3: AVAILABLE, 2: AVAILABLE, 1: AVAILABLE},
        {3: UNLOADING, 2: AVAILABLE, 1: AVAILABLE},
        {2: AVAILABLE, 1: AVAILABLE},
        {2: AVAILABLE, 1: AVAILABLE},
    ]
    assert [catalog.models["m"].labels for catalog in bench.catalogs[3:5]] == [{}, {"stable": 1}]
    assert list(bench.catalogs[-1].models) == ["m"]
    bench.scan()
    assert list(bench.catalogs[-1].models) == ["m"]
    with pytest.raises(UnknownModel):
        bench.versions.unload("other")


CONFIGURATIONS = {
    "label": (
        {"m": Choice()},
        {"m": {"stable": 9}},
        InvalidConfiguration,
        "Label 'stable' of model 'm' names version 9, which is not served.",
    ),
    "label of another version": (
        {"m": Choice(specific=(1,))},
        {"m": {"stable": 3}},
        InvalidConfiguration,
        "Label 'stable' of model 'm' names version 3, which is not served.",
    ),
    "label of another model": (
        {"m": Choice()},
        {"other": {"stable": 1}},
        InvalidConfiguration,
        "Label 'stable' is for model 'other', which is not served.",
    ),
    "name": (
        {"../m": Choice()},
        {},
        InvalidConfiguration,
        "Model '../m' cannot be served. Allowed: folders in {folder}.",
    ),
    "model": (
        {"m": Choice(), "absent": Choice()},
        {},
        ModelUnavailable,
        "Model 'absent' cannot be loaded: no version in {folder}/absent",
    ),
    "version": (
        {"m": Choice(specific=(1, 9))},
        {},
        ModelUnavailable,
        "Version 9 of model 'm' cannot be loaded: it is not in {folder}/m",
    ),
    "broken": (
        {"other": Choice(), "bad": Choice()},
        {},
        ModelUnavailable,
        "Model 'bad' cannot be loaded: OSError: no",
    ),
    "broken version": (
        {"m": Choice(specific=(3,)), "bad": Choice(specific=(1,))},
        {},
        ModelUnavailable,
        "Version 1 of model 'bad' cannot be loaded: OSError: no",
    ),
}


@pytest.mark.parametrize(("choices", "labels", "kind", "sentence"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_configuration_that_cannot_be_served_changes_nothing(bench, choices, labels, kind, sentence):
    bench.publish("bad", 1, broken="no")
    bench.scan()
    bench.versions.set_label("m", "by_hand", 3)
    before = bench.catalogs[-1]
    with pytest.raises(kind) as caught:
        decide(bench, "configure", choices, labels)
    bench.let_grace_pass()
    assert str(caught.value) == sentence.format(folder=bench.folder)
    assert list(bench.catalogs[-1].models) == list(before.models)
    assert all(bench.available(name) == available for name, available in [("m", [3]), ("other", [1]), ("bad", [])])
    assert bench.labels() == {"by_hand": 3}
    bench.restart()
    assert (bench.available(), bench.labels()) == ([3], {"by_hand": 3})


def test_configure_overrides_the_file_and_what_was_decided_by_hand(configured_bench):
    bench = configured_bench
    bench.versions.set_label("m", "by_hand", 2)
    bench.versions.unload("other")
    decide(bench, "configure", {"m": Choice(1), "other": Choice(0)}, {})
    assert (bench.available("m"), bench.labels("m"), bench.available("other")) == ([3], {}, [2, 1])
    bench.write_config('[m]\nversions = "all"')
    bench.scan()
    assert bench.available("m") == [3]


def test_a_model_can_be_loaded_beside_those_that_were_configured(bench):
    decide(bench, "configure", {"other": Choice()}, {})
    bench.versions.load("m")
    bench.scan()
    assert (bench.available("m"), bench.available("other")) == ([3], [1])
    bench.restart()
    assert (bench.available("m"), bench.available("other")) == ([3], [1])


def test_serving_nothing_can_be_configured(bench):
    decide(bench, "configure", {}, {})
    assert (bench.catalogs[-1].models, bench.obstacles()) == ({}, {})
    bench.scan()
    assert bench.catalogs[-1].models == {}
    assert all(model.closings == 1 for _, model in bench.loaded)
