from studies.runs import candidates, fixed_runs, search_runs, setting_runs
from tests.studies.small_studies import small_studies


def test_a_row_is_run_once_per_seed_and_its_variants_too():
    studies = small_studies(X={"variants": {"Wide Layers": {"network.units": [16]}}})
    runs = fixed_runs(studies, "X")
    assert [run.file for run in runs] == [
        "X/stated-seed1.json", "X/stated-seed2.json", "X/wide-layers-seed1.json", "X/wide-layers-seed2.json",
    ]  # fmt: skip
    assert [run.params.network.units for run in runs] == [(8,), (8,), (16,), (16,)]
    assert [run.params.seed for run in runs] == [1, 2, 1, 2]


def test_a_sweep_replaces_the_row_as_stated():
    studies = small_studies(X={"seeds": 1, "sweep": {"key": "network.units", "values": ((4, 4), (8, 8))}})
    assert [run.file for run in fixed_runs(studies, "X")] == ["X/4-4-seed1.json", "X/8-8-seed1.json"]


def test_the_other_reading_is_the_nearest_candidate():
    studies = small_studies(X={"other_reading": (8, 8)})
    assert [label for label, _ in candidates(studies, studies.row("X"))] == [
        "three hidden layers", "rate 0.1", "rate 0.3",
    ]  # fmt: skip


def test_a_digest_is_decided_by_what_is_trained_and_not_by_words():
    plain = fixed_runs(small_studies(X={}), "X")[0].digest()
    assert fixed_runs(small_studies(X={"title": "other words", "remark": "more"}), "X")[0].digest() == plain
    assert fixed_runs(small_studies(X={"network": {"architecture": "mlp", "units": (9,)}}), "X")[0].digest() != plain
    assert fixed_runs(small_studies(X={"keep": "best"}), "X")[0].digest() != plain


def test_a_digest_ignores_parameters_that_nobody_set():
    """So that results stay valid when the pipeline learns a parameter that is off unless somebody sets it."""
    run = fixed_runs(small_studies(X={}), "X")[0]
    assert set(run.params.model_dump(exclude_unset=True)["train"]) == {"loss", "optimizer", "batch_size", "epochs"}


def test_search_and_setting_differ_in_what_they_see():
    studies = small_studies(X={})
    patch = {"train.optimizer.learning_rate": 0.1}
    (search,) = search_runs(studies, "X", "rate 0.1", patch)
    setting = setting_runs(studies, "X", "rate 0.1", patch)[0]
    assert search.is_search
    assert not setting.is_search
    assert search.params == setting.params
    assert search.digest() != setting.digest()


def test_a_candidate_is_seen_on_every_deal_where_rows_are_dealt_by_the_seed():
    studies = small_studies(X={"split": "wine", "seeds": 3})
    assert [run.seed for run in search_runs(studies, "X", "rate 0.1", {})] == [1, 2, 3]


def test_a_row_may_ask_for_several_seeds_of_each_candidate():
    studies = small_studies(X={"search_seeds": 2})
    assert [run.seed for run in search_runs(studies, "X", "rate 0.1", {})] == [1, 2]
