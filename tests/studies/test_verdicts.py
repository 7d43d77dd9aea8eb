import pytest

from studies.results import Results
from studies.runs import fixed_runs, search_runs, setting_runs
from studies.schedule import missing_runs
from studies.verdicts import judge
from tests.studies.small_studies import save_figures, small_studies

NEAR, FAR = {"train.optimizer.learning_rate": 0.1}, {"train.optimizer.learning_rate": 0.3}


def save_stated(folder, studies, *figures, validation=None):
    for run, test in zip(fixed_runs(studies, "X"), figures, strict=False):
        save_figures(folder, run, test, validation)


def kind_of(studies, folder):
    return judge(studies, "X", Results(folder)).kind


@pytest.mark.parametrize(
    ("figures", "kind"),
    [
        ((0.896, 0.896), "as stated"),
        ((0.895, 0.897), "as stated"),
        ((0.8959, 0.896), "unfinished"),
        ((0.99,), "unfinished"),
    ],
)
def test_the_mean_over_all_seeds_decides(tmp_path, figures, kind):
    studies = small_studies(X={})
    save_stated(tmp_path, studies, *figures)
    assert kind_of(studies, tmp_path) == kind


def test_of_an_error_less_is_better(tmp_path):
    studies = small_studies(X={"split": "wine", "reported": {"test": 0.2}})
    save_stated(tmp_path, studies, 0.21, 0.21)
    assert kind_of(studies, tmp_path) == "as stated"
    save_stated(tmp_path, studies, 0.21, 0.2102)
    assert kind_of(studies, tmp_path) == "unfinished"


def test_without_a_test_figure_the_validation_figure_is_judged(tmp_path):
    studies = small_studies(X={"reported": {"validation": 0.9}})
    save_stated(tmp_path, studies, 0.1, 0.1, validation=0.9)
    assert kind_of(studies, tmp_path) == "as stated"


def test_a_row_without_figures_has_no_verdict(tmp_path):
    studies = small_studies(X={"reported": {}})
    save_stated(tmp_path, studies, 0.1, 0.1)
    assert kind_of(studies, tmp_path) == "nothing reported"


def test_candidates_are_tried_one_after_the_other_until_validation_accepts_one(tmp_path):
    studies = small_studies(X={})
    save_stated(tmp_path, studies, 0.5, 0.5)
    missing = missing_runs(studies, ["X"], Results(tmp_path))
    assert [run.name for run in missing] == ["X search: rate 0.1, seed 1"]

    save_figures(tmp_path, missing[0], None, validation=0.8)
    missing = missing_runs(studies, ["X"], Results(tmp_path))
    assert [run.name for run in missing] == ["X search: rate 0.3, seed 1"]

    save_figures(tmp_path, missing[0], None, validation=0.91)
    missing = missing_runs(studies, ["X"], Results(tmp_path))
    assert [run.name for run in missing] == ["X rate 0.3, seed 1", "X rate 0.3, seed 2"]

    for run in missing:
        save_figures(tmp_path, run, 0.9)
    judgement = judge(studies, "X", Results(tmp_path))
    assert (judgement.kind, judgement.setting) == ("another setting", "rate 0.3")
    assert [(one.label, one.accepted) for one in judgement.tried] == [("rate 0.1", False), ("rate 0.3", True)]
    assert not missing_runs(studies, ["X"], Results(tmp_path))


def test_a_setting_that_misses_the_test_rows_ends_the_search(tmp_path):
    studies = small_studies(X={})
    save_stated(tmp_path, studies, 0.5, 0.5)
    save_figures(tmp_path, search_runs(studies, "X", "rate 0.1", NEAR)[0], None, validation=0.95)
    for run in setting_runs(studies, "X", "rate 0.1", NEAR):
        save_figures(tmp_path, run, 0.5)
    judgement = judge(studies, "X", Results(tmp_path))
    assert (judgement.kind, judgement.setting, judgement.missing) == ("not replicated", "rate 0.1", ())


def test_a_row_is_not_replicated_when_validation_rejects_all(tmp_path):
    studies = small_studies(X={})
    save_stated(tmp_path, studies, 0.5, 0.5)
    save_figures(tmp_path, search_runs(studies, "X", "rate 0.1", NEAR)[0], None, validation=0.5)
    # A training that failed has no figure, and is not what was looked for.
    save_figures(tmp_path, search_runs(studies, "X", "rate 0.3", FAR)[0], None, failure="loss became nan")
    judgement = judge(studies, "X", Results(tmp_path))
    assert (judgement.kind, judgement.setting) == ("not replicated", "")


def test_a_changed_setting_makes_its_results_count_no_more(tmp_path):
    save_stated(tmp_path, small_studies(X={}), 0.9, 0.9)
    changed = small_studies(X={"network": {"architecture": "mlp", "units": (9,)}})
    assert len(missing_runs(changed, ["X"], Results(tmp_path))) == 2


def test_a_candidate_must_be_better_on_validation_than_the_row_as_stated(tmp_path):
    studies = small_studies(X={})
    save_stated(tmp_path, studies, 0.5, 0.5, validation=0.92)
    save_figures(tmp_path, search_runs(studies, "X", "rate 0.1", NEAR)[0], None, validation=0.91)
    judgement = judge(studies, "X", Results(tmp_path))
    assert [one.accepted for one in judgement.tried] == [False]
