"""Versions come and go: loading, switching, failing, vanishing."""

import logging

import pytest

from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Choice
from service.errors import ModelUnavailable
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


def test_a_model_is_closed_after_the_batcher_has_let_it_go(make_bench):
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


def test_a_version_that_was_replaced_under_the_same_number_is_not_loaded_again(make_bench):
    bench = make_bench()
    bench.publish("m", 1, content="old")
    bench.scan()
    bench.remove("m", 1)
    bench.publish("m", 1, content="new")
    bench.scan()
    bench.versions.load("m")
    assert bench.versions.find("m", 1).content == "old"
    bench.versions.unload("m")
    bench.versions.load("m")
    assert bench.versions.find("m", 1).content == "new"


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


def test_a_specific_version_that_is_absent_is_an_obstacle(make_bench):
    bench = make_bench(default=Choice(specific=(8, 7)))
    bench.publish("m", 1)
    bench.scan()
    assert bench.obstacles() == {"m": f"no version 7 or 8 in {bench.folder / 'm'}"}


def test_a_model_that_could_not_be_loaded_at_the_start_is_an_obstacle_until_it_is(make_bench):
    bench = make_bench()
    bench.publish("good", 1)
    bench.publish("bad", 3, broken="no")
    bench.scan()
    assert bench.obstacles() == {"bad": "version 3 is in state END"}
    bench.mend("bad", 3)
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
    assert bench.obstacles() == {"other": "version 1 is in state END"}


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
