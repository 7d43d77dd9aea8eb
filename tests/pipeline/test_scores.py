import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline import figures
from pipeline.curves import precision_recall_table, roc_table
from pipeline.operating_point import choose_threshold, decide
from pipeline.scores import area_under_roc, calibration, calibration_error, rounded, score_classes, score_numbers


def binary(positive):
    positive = np.asarray(positive, np.float32)
    return np.stack([1 - positive, positive], axis=1)


def test_the_threshold_lies_in_the_middle_of_the_gap():
    truth = np.array([0, 0, 1, 1])
    assert choose_threshold(truth, np.array([0.1, 0.2, 0.6, 0.9], np.float32), "f1") == pytest.approx(0.4)


@pytest.mark.parametrize("aim", ["f1", "accuracy", "youden"])
def test_no_other_threshold_does_better(aim):
    random = np.random.default_rng(3)
    truth = (random.random(200) < 0.3).astype(np.int64)
    positive = np.clip(truth * 0.3 + random.random(200) * 0.7, 0, 1).astype(np.float32)

    def value(threshold):
        guesses = decide(binary(positive), threshold)
        sensitivity, specificity = guesses[truth == 1].mean(), 1 - guesses[truth == 0].mean()
        return {
            "f1": f1_score(truth, guesses),
            "accuracy": (guesses == truth).mean(),
            "youden": sensitivity + specificity,
        }[aim]

    chosen = choose_threshold(truth, positive, aim)
    assert value(chosen) >= max(value(candidate) for candidate in np.linspace(0, 1, 301)) - 1e-9


def test_the_aims_differ_where_classes_are_unequal():
    truth = np.array([1, 1] + [0] * 8)
    positive = np.array([0.9, 0.3] + [0.5] * 3 + [0.1] * 5, np.float32)
    assert choose_threshold(truth, positive, "accuracy") == pytest.approx(0.7)
    assert choose_threshold(truth, positive, "youden") == pytest.approx(0.2)


def test_the_more_probable_class_needs_no_rows_to_be_chosen():
    truth, positive = np.array([0, 0, 1, 1]), np.array([0.6, 0.7, 0.8, 0.9], np.float32)
    assert choose_threshold(truth, positive, "more_probable") == 0.5


def test_a_threshold_that_calls_no_row_positive_is_never_chosen():
    truth, positive = np.array([0, 0, 0, 1]), np.array([0.9, 0.9, 0.9, 0.1], np.float32)
    assert decide(binary(positive), choose_threshold(truth, positive, "accuracy")).any()


def test_rows_of_one_class_only_leave_the_threshold_at_one_half():
    assert choose_threshold(np.ones(3, np.int64), np.array([0.1, 0.2, 0.3], np.float32), "f1") == 0.5


def test_a_probability_at_the_threshold_is_positive():
    assert decide(binary([0.25, 0.2]), 0.25).tolist() == [1, 0]


def test_without_a_threshold_the_most_probable_class_is_taken():
    assert decide(np.array([[0.2, 0.5, 0.3]], np.float32), None).tolist() == [1]


def test_a_binary_f1_is_that_of_class_1():
    truth = np.array([0, 0, 0, 1])
    scores = score_classes(truth, binary([0.1, 0.1, 0.9, 0.9]), 0.5)
    assert scores["precision"] == 0.5
    assert scores["recall"] == 1.0
    assert scores["accuracy"] == 0.75
    assert set(scores) == set(figures.CLASSIFICATION)


def test_a_multiclass_f1_is_the_mean_over_the_classes():
    truth, probabilities = np.array([0, 1, 2, 2]), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    expected = f1_score(truth, [0, 1, 2, 0], average="macro")
    assert score_classes(truth, probabilities, None)["f1"] == pytest.approx(expected)


def test_a_class_without_rows_leaves_roc_auc_to_the_others():
    truth, probabilities = np.array([0, 1]), np.array([[0.9, 0.1, 0], [0.2, 0.8, 0]], np.float32)
    assert area_under_roc(truth, probabilities) == 1.0
    assert area_under_roc(np.array([0, 0]), binary([0.1, 0.2])) == 0.5


def test_perfect_calibration_has_no_error_and_false_certainty_has_all():
    assert calibration_error(np.array([0, 1]), binary([0.0, 1.0])) == 0.0
    assert calibration_error(np.array([1, 0]), binary([0.0, 1.0])) == 1.0


def test_calibration_counts_every_row_once():
    said = np.linspace(0, 1, 101, dtype=np.float32)
    mean, share, rows = calibration(np.arange(101) % 2, binary(said))
    assert rows.sum() == 101
    assert len(mean) == len(share) == len(rows) == 10


def test_errors_are_given_in_the_unit_and_in_deviations():
    scores = score_numbers(np.array([1.0, 3.0]), np.array([2.0, 2.0]), 2.0)
    assert scores == {"mae": 1.0, "rmse": 1.0, "r2": 0.0, "mae_standardized": 0.5, "rmse_standardized": 0.5}
    assert set(scores) == set(figures.REGRESSION)


def test_figures_are_rounded_at_any_depth():
    assert rounded({"a": 1 / 3, "b": {"c": 2 / 3, "d": "word"}}) == {"a": 0.333333, "b": {"c": 0.666667, "d": "word"}}


def test_a_roc_curve_rises_from_zero_to_one():
    table = roc_table(np.array([0, 1, 0, 1]), binary([0.1, 0.9, 0.6, 0.4]), ("no", "yes"))
    assert list(table.columns) == ["false_positive_rate", "yes"]
    assert table["yes"].iloc[0] == 0.0
    assert table["yes"].iloc[-1] == 1.0
    assert table["yes"].is_monotonic_increasing


def test_a_class_without_rows_has_no_curve():
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0]], np.float32)
    labels = ("a", "b", "c")
    assert list(roc_table(np.array([0, 1]), probabilities, labels).columns) == ["false_positive_rate", "a", "b"]
    assert list(precision_recall_table(np.array([0, 1]), probabilities, labels).columns) == ["recall", "a", "b"]


def test_precision_is_read_at_the_recall_that_is_reached():
    table = precision_recall_table(np.array([1, 0, 1]), binary([0.9, 0.8, 0.7]), ("no", "yes")).set_index("recall")
    assert table["yes"].loc[0.5] == 1.0
    assert table["yes"].loc[1.0] == pytest.approx(2 / 3, abs=1e-4)


def test_the_log_loss_is_that_of_the_true_class():
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25]], np.float32)
    expected = (np.log(2) + np.log(4)) / 2
    assert score_classes(np.array([0, 1]), probabilities, 0.5)["log_loss"] == pytest.approx(expected)
