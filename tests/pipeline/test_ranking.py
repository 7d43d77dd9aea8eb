import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.ranking import roc_auc

RANDOM = np.random.default_rng(0)


def test_two_classes_agree_with_scikit_learn_even_with_ties():
    y = RANDOM.integers(0, 2, 200)
    scores = np.round(RANDOM.random((200, 1)), 1)
    assert roc_auc(y, scores) == pytest.approx(roc_auc_score(y, scores))


def test_several_classes_agree_with_scikit_learn():
    y = RANDOM.integers(0, 4, 200)
    probabilities = RANDOM.dirichlet(np.ones(4), 200)
    assert roc_auc(y, probabilities) == pytest.approx(roc_auc_score(y, probabilities, multi_class="ovr"))


def test_a_single_class_has_no_curve():
    assert roc_auc(np.zeros(5, dtype=np.int64), RANDOM.random((5, 1))) is None


def test_a_class_without_rows_is_left_out():
    assert roc_auc(np.array([0, 0, 1]), np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])) == 1.0
