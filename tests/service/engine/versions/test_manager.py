"""Versions come and go: loading, switching, failing, vanishing."""

import logging
import time

import pytest

from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Choice
from service.engine.model import Quarantined
from service.errors import ModelUnavailable
from service.settings_parsers import Ready
from tests.service.version_bench import Bench, states


@pytest.fixture
def make_bench(tmp_path):
    return lambda **settings: Bench(tmp_path, **settings)


def test_the_newest_version_of_every_model_is_loaded_one_after_another(make_bench):
    bench = make_bench()
    bench.publish("b", 1)
    bench.publish("a", 1, 2, 10)
    bench.scan()
    assert [key for key, _ in bench.loaded] == [("a", 10), ("b", 1)]
    assert bench.available("a") == [10]
    assert bench.versions.catalog() == bench.catalogs[-1]
    [version] = bench.catalogs[-1].models["a"].versions
    assert (version.loaded_at, version.error, version.signatures) == (1.7e9, "", {})
    assert bench.events == [(event, *key) for key in [("a", 10), ("b", 1)] for event in ("reinstate", "loaded")]


def test_the_first_catalogue_shows_every_model_that_waits(make_bench):
    bench = make_bench()
    bench.publish("a", 1)
    bench.publish("b", 1, 2)
    bench.scan()
    assert states(bench.catalogs[0], "a") == {1: START}
    assert states(bench.catalogs[0], "b") == {2: START}
    assert [catalog.models["a"].obstacle for catalog in bench.catalogs[:3]] == [
        "version 1 is in state START",
        "version 1 is in state LOADING",
        "",
    ]
    assert [states(catalog, "b").get(2) for catalog in bench.catalogs] == [START, START, START, LOADING, AVAILABLE]


def test_a_new_version_becomes_available_in_the_catalogue_in_which_the_old_one_is_unloading(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()
    bench.publish("m", 2)
    bench.catalogs.clear()
    bench.scan()
    assert [states(catalog) for catalog in bench.catalogs] == [
        {2: START, 1: AVAILABLE},
        {2: LOADING, 1: AVAILABLE},
        {2: AVAILABLE, 1: UNLOADING},
        {2: AVAILABLE},
    ]
    assert [(v.number, v.state, v.error) for v in bench.catalogs[-1].models["m"].versions][1] == (1, END, "")


def test_the_old_version_answers_until_its_grace_is_over_and_is_then_retired_before_it_is_closed(make_bench):
    bench = make_bench(grace_seconds=7.5)
    bench.publish("m", 1)
    bench.scan()
    old = bench.versions.find("m", 1)
    bench.publish("m", 2)
    bench.versions.scan()
    assert bench.versions.find("m", 1) is old
    bench.events.clear()
    bench.let_grace_pass()
    assert bench.pauses == [7.5]
    assert bench.events == [("retire", "m", 1), ("unloaded", "m", 1)]
    assert (bench.versions.find("m", 1), old.closings) == (None, 1)


def test_a_model_is_closed_after_the_scheduler_has_let_it_go(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()
    old = bench.versions.find("m", 1)
    closings = []
    bench.note = lambda event, *_: closings.append((event, old.closings))
    bench.publish("m", 2)
    bench.scan()
    assert closings[-2:] == [("retire", 0), ("unloaded", 1)]


def test_nothing_is_published_or_loaded_when_nothing_has_changed(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()
    published, loaded = len(bench.catalogs), len(bench.loaded)
    bench.scan()
    assert (len(bench.catalogs), len(bench.loaded)) == (published, loaded)


def test_300_models_cost_next_to_nothing_while_nothing_changes(make_bench):
    bench = make_bench(default=Choice(0))
    for number in range(300):
        bench.publish(f"model-{number}", 1)
    bench.scan()
    published = len(bench.catalogs)
    bench.versions._registry.catalog = None
    costs = []
    for _ in range(5):
        started = time.process_time()
        bench.versions.look()
        costs.append(time.process_time() - started)
    # 3 % of a core, at a look every two seconds.
    assert min(costs) < 0.06
    assert len(bench.catalogs) == published


def test_versions_that_ended_are_shown_so_many_at_most(make_bench):
    bench = make_bench()
    for number in range(1, 8):
        bench.publish("m", number)
        bench.scan()
    assert [version.number for version in bench.catalogs[-1].models["m"].versions] == [7, 6, 5, 4]


def test_a_version_that_fails_says_why_and_never_replaces_a_good_one(make_bench, caplog):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()
    bench.publish("m", 2, broken="variables are missing")
    bench.scan()
    assert bench.states() == {2: END, 1: AVAILABLE}
    assert bench.catalogs[-1].models["m"].versions[0].error == "OSError: variables are missing"
    assert bench.obstacles() == {}
    assert ("failed", "m", 2) in bench.events
    assert "Version 2 of model 'm' cannot be loaded: OSError: variables are missing" in caplog.messages


def test_at_the_start_a_broken_version_falls_back_to_the_one_before(make_bench):
    bench = make_bench()
    bench.publish("m", 1, 2)
    bench.publish("m", 3, 4, broken="no")
    bench.scan()
    assert bench.states() == {4: END, 3: END, 2: AVAILABLE}
    assert bench.obstacles() == {}


def test_a_broken_version_is_tried_again_at_growing_intervals_and_logged_once(make_bench, caplog):
    bench = make_bench()
    bench.publish("m", 1, broken="no")
    caplog.set_level(logging.ERROR)
    tries = []
    for _ in range(400):
        before = len(bench.events)
        bench.scan()
        if len(bench.events) > before:
            tries.append(bench.now - 1000)
        bench.now += 5
    assert tries == [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215, 1515, 1815]
    assert len(caplog.messages) == 1
    bench.mend("m", 1)
    bench.scan()
    assert bench.available() == [1]


def test_a_broken_version_is_tried_again_at_once_when_its_files_change(make_bench, caplog):
    bench = make_bench()
    bench.publish("m", 1, broken="half copied")
    bench.scan()
    (bench.folder / "m" / "1" / "broken").write_text("more of it is copied")
    bench.scan()
    assert [event for event, *_ in bench.events] == ["failed", "failed"]
    assert len(caplog.messages) == 2
    bench.mend("m", 1)
    bench.scan()
    assert bench.available() == [1]
    assert bench.catalogs[-1].models["m"].versions[0].error == ""


def test_a_broken_version_that_is_tried_again_does_not_disturb_the_good_one(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.publish("m", 2, broken="no")
    bench.scan()
    bench.catalogs.clear()
    bench.now += 5
    bench.scan()
    assert [states(catalog) for catalog in bench.catalogs] == [{2: LOADING, 1: AVAILABLE}, {2: END, 1: AVAILABLE}]


def test_a_version_whose_folder_is_gone_gives_way_to_the_one_before_in_one_step(make_bench):
    bench = make_bench()
    bench.publish("m", 1, 2)
    bench.scan()
    bench.remove("m", 2)
    bench.catalogs.clear()
    bench.scan()
    assert [states(catalog) for catalog in bench.catalogs] == [
        {2: AVAILABLE, 1: START},
        {2: AVAILABLE, 1: LOADING},
        {2: UNLOADING, 1: AVAILABLE},
        {1: AVAILABLE},
    ]


def test_a_version_that_is_wanted_again_within_its_grace_is_not_closed(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()
    old = bench.versions.find("m", 1)
    bench.publish("m", 2)
    bench.versions.scan()
    bench.remove("m", 2)
    bench.versions.scan()
    bench.let_grace_pass()
    assert bench.versions.find("m", 1) is old
    assert (bench.states(), old.closings) == ({1: AVAILABLE}, 0)
    bench.publish("m", 3)
    bench.scan()
    assert old.closings == 1


@pytest.mark.parametrize("whole", [True, False], ids=["model folder", "versions"])
def test_the_last_available_version_stays_when_its_folder_is_gone(make_bench, whole):
    bench = make_bench(default=Choice(0))
    bench.publish("m", 1, 2)
    bench.scan()
    bench.remove("m", *([] if whole else [1, 2]))
    bench.scan()
    # A folder that cannot be read changes nothing, one that was emptied leaves the newest.
    assert bench.available() == ([2, 1] if whole else [2])
    assert bench.obstacles() == {}
    bench.publish("m", 3)
    bench.scan()
    assert bench.available() == [3]


def test_a_repository_that_cannot_be_read_for_a_while_changes_nothing(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.publish("bad", 1, broken="no")
    bench.scan()
    before = bench.catalogs[-1]
    bench.folder.rename(bench.run_folder / "away")
    bench.scan()
    assert bench.catalogs[-1] == before
    (bench.run_folder / "away").rename(bench.folder)
    bench.scan()
    assert bench.available() == [1]


def replace_version(bench, content, broken=""):
    bench.remove("m", 1)
    bench.publish("m", 1, content=content, broken=broken)


def test_a_version_that_was_replaced_under_the_same_number_takes_over_when_it_is_loaded(make_bench):
    bench = make_bench()
    bench.publish("m", 1, content="old")
    bench.scan()
    old = bench.versions.find("m", 1)
    replace_version(bench, "new")
    bench.catalogs.clear()
    bench.on_load = lambda *key: bench.events.append(("still", *key, bench.versions.find(*key) is old))
    bench.versions.scan()
    assert ("still", "m", 1, True) in bench.events
    assert bench.versions.find("m", 1).content == "new"
    assert old.closings == 0
    bench.let_grace_pass()
    assert old.closings == 1
    assert ("unloaded", "m", 1) not in bench.events
    assert all(states(catalog) == {1: AVAILABLE} for catalog in bench.catalogs)
    assert bench.forgiven == [("m", 1)]
    loaded = len(bench.loaded)
    bench.scan()
    assert len(bench.loaded) == loaded


def test_a_replacement_that_fails_leaves_the_old_version_and_says_why(make_bench):
    bench = make_bench()
    bench.publish("m", 1, content="old")
    bench.scan()
    replace_version(bench, "new", broken="half of it")
    bench.scan()
    [version] = bench.catalogs[-1].models["m"].versions
    assert (version.state, version.error) == (AVAILABLE, "OSError: half of it")
    assert bench.versions.find("m", 1).content == "old"
    bench.scan()
    assert bench.events.count(("failed", "m", 1)) == 1
    bench.now += 5
    bench.scan()
    assert bench.events.count(("failed", "m", 1)) == 2
    assert bench.forgiven == [("m", 1)]
    bench.mend("m", 1)
    bench.scan()
    assert bench.forgiven == [("m", 1)] * 2
    [version] = bench.catalogs[-1].models["m"].versions
    assert (version.state, version.error) == (AVAILABLE, "")
    assert bench.versions.find("m", 1).content == "new"


def test_a_version_that_was_replaced_twice_while_it_is_unloaded_by_hand_is_closed(make_bench):
    bench = make_bench()
    bench.publish("m", 1, content="old")
    bench.scan()
    replace_version(bench, "new")
    bench.on_load = lambda name, _: bench.versions.unload(name)
    bench.scan()
    assert (bench.states(), bench.versions.find("m", 1)) == ({}, None)
    assert [model.closings for _, model in bench.loaded] == [1, 1]


def test_other_files_that_change_load_nothing(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()
    (bench.folder / "m" / "1" / "notes").write_text("touched")
    bench.scan()
    assert len(bench.loaded) == 1


def test_a_version_that_vanished_and_came_back_is_loaded_anew(make_bench):
    bench = make_bench()
    bench.publish("m", 1, content="old")
    bench.scan()
    bench.remove("m", 1)
    bench.scan()
    assert bench.available() == [1]
    bench.publish("m", 1, content="new")
    bench.scan()
    assert bench.versions.find("m", 1).content == "new"


def test_a_version_with_zeros_in_front_of_its_number_is_that_version(make_bench):
    bench = make_bench()
    bench.publish("m", "00000123", content="zeros")
    bench.publish("n", "01", "1")
    bench.scan()
    assert (bench.available("m"), bench.available("n")) == ([123], [1])
    assert bench.versions.find("m", 123).content == "zeros"
    assert bench.catalogs[-1].problems == {"n/01": "is version 1 too, as is the folder 1, which counts"}


def test_a_quarantined_version_is_tried_again_by_hand_or_when_its_files_change_only(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.publish("m", 2)
    quarantined = [True]

    def quarantine(_, number):
        if number == 2 and quarantined:
            raise Quarantined("It has ended the engine twice.")

    bench.on_load = quarantine
    bench.scan()
    assert bench.states() == {2: END, 1: AVAILABLE}
    assert bench.catalogs[-1].models["m"].versions[0].error == "It has ended the engine twice."
    bench.now += 1e9
    bench.scan()
    assert bench.events.count(("failed", "m", 2)) == 1
    bench.versions.load("m")
    assert bench.events.count(("failed", "m", 2)) == 2
    assert bench.forgiven == [("m", 2)]
    quarantined.clear()
    (bench.folder / "m" / "2" / "more").touch()
    bench.scan()
    assert bench.available() == [2]
    assert bench.forgiven == [("m", 2)] * 2


@pytest.mark.parametrize(
    ("choice", "served"),
    [
        (Choice(), [4]),
        (Choice(2), [4, 2]),
        (Choice(9), [4, 2, 1]),
        (Choice(0), [4, 2, 1]),
        (Choice(specific=(1, 2)), [2, 1]),
        (Choice(specific=(3, 1)), [1]),
    ],
)
def test_a_policy_counts_the_versions_that_load(make_bench, choice, served):
    bench = make_bench(default=choice)
    bench.publish("m", 1, 2, 4)
    bench.publish("m", 3, broken="no")
    bench.scan()
    assert bench.available() == served


def test_only_the_named_models_are_served_and_one_that_is_absent_is_an_obstacle(make_bench):
    bench = make_bench(names=("a", "absent"))
    bench.publish("a", 1)
    bench.publish("b", 1)
    bench.scan()
    assert list(bench.catalogs[-1].models) == ["a", "absent"]
    assert bench.obstacles() == {"absent": f"no version in {bench.folder / 'absent'}"}
    bench.publish("absent", 1)
    bench.scan()
    assert bench.obstacles() == {}


def test_a_named_model_that_lies_in_the_wrong_place_counts_as_broken(make_bench):
    bench = make_bench(names=("a", "flat"))
    bench.publish("a", 1)
    bench.publish("flat", "v1")
    bench.scan()
    assert bench.obstacles() == {}
    assert list(bench.catalogs[-1].problems) == ["flat/v1"]


def test_a_specific_version_that_is_absent_is_an_obstacle(make_bench):
    bench = make_bench(default=Choice(specific=(8, 7)))
    bench.publish("m", 1)
    bench.scan()
    assert bench.obstacles() == {"m": f"no version 7 or 8 in {bench.folder / 'm'}"}


def test_a_model_that_was_broken_from_the_start_does_not_take_readiness_away(make_bench):
    bench = make_bench()
    bench.publish("good", 1)
    bench.publish("bad", 3, broken="no")
    bench.scan()
    assert bench.obstacles() == {}
    assert bench.states("bad") == {3: END}


def test_a_service_without_any_model_that_loads_is_not_ready(make_bench):
    bench = make_bench()
    bench.publish("bad", 3, broken="no")
    bench.catalogs.clear()
    bench.scan()
    bench.now += 5
    bench.scan()
    sentence = "No model could be loaded; GET /v1/models/NAME says why."
    assert bench.obstacles() == {"": sentence}
    assert all(catalog.obstacle or catalog.models["bad"].obstacle for catalog in bench.catalogs)
    bench.mend("bad", 3)
    bench.scan()
    assert bench.obstacles() == {}


def test_versions_and_labels_of_the_configuration_are_loaded_before_readiness(make_bench, tmp_path):
    (tmp_path / "models.toml").write_text("[m]\nversions = [2, 3]\nlabels = { stable = 2 }\n")
    bench = make_bench(config_path=tmp_path / "models.toml")
    bench.publish("m", 1, 2, 3)
    bench.scan()
    ready = [catalog for catalog in bench.catalogs if not catalog.models["m"].obstacle]
    assert states(ready[0]) == {3: AVAILABLE, 2: AVAILABLE}
    assert bench.catalogs[0].models["m"].pending_labels == {"stable": 2}
    assert ready[0].models["m"].pending_labels == {}


def test_all_means_every_version_and_no_problem(make_bench):
    bench = make_bench(ready=Ready("all"), default=Choice(0))
    bench.publish("good", 1)
    bench.publish("bad", 1)
    bench.publish("bad", 2, broken="no")
    bench.scan()
    assert bench.obstacles() == {"bad": "version 2 is in state END"}
    bench.mend("bad", 2)
    bench.scan()
    assert bench.obstacles() == {}
    (bench.folder / "flat").mkdir()
    (bench.folder / "flat" / "saved_model.pb").touch()
    bench.scan()
    assert "move the files to" in bench.obstacles()[""]
    bench.remove("flat")
    bench.publish("good", 2)
    bench.catalogs.clear()
    bench.scan()
    assert all(not catalog.models["good"].obstacle for catalog in bench.catalogs[1:])
    assert bench.obstacles() == {}


def test_names_means_a_version_of_each_named_model(make_bench):
    bench = make_bench(ready=Ready("names", ("m", "late")))
    bench.publish("m", 1)
    bench.publish("bad", 1, broken="no")
    bench.scan()
    assert bench.obstacles() == {"": f"No model late in {bench.folder}, which KILN_READY names."}
    bench.publish("late", 1, broken="no")
    bench.scan()
    assert bench.obstacles() == {"late": "version 1 is in state END"}
    bench.mend("late", 1)
    bench.scan()
    assert bench.obstacles() == {}


def test_a_broken_model_that_is_taken_away_is_no_obstacle_any_more(make_bench):
    bench = make_bench()
    bench.publish("good", 1)
    bench.publish("bad", 3, broken="no")
    bench.scan()
    bench.remove("bad")
    bench.scan()
    assert (bench.obstacles(), list(bench.catalogs[-1].models)) == ({}, ["good"])


def test_a_model_that_appears_later_does_not_take_readiness_away(make_bench):
    bench = make_bench()
    bench.publish("good", 1)
    bench.scan()
    bench.publish("bad", 1, broken="no")
    bench.publish("good", 2, broken="no")
    bench.scan()
    assert bench.states("bad") == {1: END}
    assert all(not catalog.models["bad"].obstacle for catalog in bench.catalogs if "bad" in catalog.models)
    assert bench.obstacles() == {}


def test_an_empty_repository_says_so_until_a_model_appears_and_is_loaded(make_bench):
    bench = make_bench()
    bench.folder.rmdir()
    bench.scan()
    sentence = f"No models in {bench.folder}. Publish one (dvc repro)."
    assert bench.obstacles() == {"": sentence}
    bench.publish("m", 1)
    bench.catalogs.clear()
    bench.scan()
    assert [catalog.models["m"].obstacle for catalog in bench.catalogs] == [
        "version 1 is in state START",
        "version 1 is in state LOADING",
        "",
    ]
    assert {catalog.obstacle for catalog in bench.catalogs} == {""}


def test_a_repository_that_becomes_empty_again_before_anything_was_loaded_says_so(make_bench):
    bench = make_bench()
    bench.publish("m", 1, broken="no")
    bench.scan()
    bench.remove("m")
    bench.scan()
    assert "No models in" in bench.obstacles()[""]
    bench.publish("other", 1, broken="no")
    bench.scan()
    assert bench.obstacles() == {"": "No model could be loaded; GET /v1/models/NAME says why."}


def test_a_description_is_read_with_its_version(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    extra = bench.folder / "m" / "1" / "assets.extra"
    extra.mkdir()
    (extra / "model.json").write_text('{"task": "multiclass"}')
    bench.scan()
    assert bench.catalogs[-1].models["m"].versions[0].description == {"task": "multiclass"}


def test_a_version_number_that_no_protocol_can_carry_is_none(make_bench):
    bench = make_bench()
    bench.publish("m", 1, 2**63)
    bench.scan()
    assert bench.available() == [1]


def test_a_model_that_cannot_be_closed_is_logged_and_forgotten(make_bench, caplog):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()

    def fail():
        raise OSError("stuck")

    bench.versions.find("m", 1).close = fail
    bench.publish("m", 2)
    bench.scan()
    assert bench.states() == {2: AVAILABLE}
    assert "Closing version 1 of model 'm' failed" in caplog.messages


def test_a_version_that_could_not_be_retired_is_not_closed(make_bench):
    bench = make_bench()
    bench.publish("m", 1)
    bench.scan()
    old = bench.versions.find("m", 1)

    def fail(event, *_):
        if event == "retire":
            raise OSError("a call is still running")

    bench.note = fail
    bench.publish("m", 2)
    bench.scan()
    assert (bench.states(), old.closings) == ({2: AVAILABLE}, 0)


def test_closing_retires_and_closes_everything_once(make_bench):
    bench = make_bench(default=Choice(0))
    bench.publish("a", 1, 2)
    bench.publish("b", 1)
    bench.scan()
    bench.remove("a", 1)
    bench.versions.scan()
    bench.versions.close()
    bench.let_grace_pass()
    assert [model.closings for _, model in bench.loaded] == [1, 1, 1]
    assert all(bench.versions.find(*key) is None for key, _ in bench.loaded)
    assert sorted(event for event in bench.events if event[0] == "retire") == [
        ("retire", "a", 1),
        ("retire", "a", 2),
        ("retire", "b", 1),
    ]
    with pytest.raises(ModelUnavailable, match="The service is stopping."):
        bench.versions.load("a")
    bench.versions.close()
