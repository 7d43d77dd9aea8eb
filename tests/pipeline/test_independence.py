"""What the check of a signature's rows finds out, on small graphs whose rows are independent or not."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.independence import ROWS, check_rows_independent
from pipeline.prepared import Description, Feature

LABELS = {"regression": (), "binary": ("no", "yes"), "multiclass": ("a", "b", "c")}


def describe(task):
    return Description(
        "made_up", task, "features", (3,), None, LABELS[task], tuple(Feature(f"f{index}") for index in range(3)),
        "target", "", "made up", "0" * 64, "", {},
    )  # fmt: skip


def check(answer, task="regression", rows=None, threshold=None):
    """Takes `answer` for every signature that gets a batch; the others give back what they get."""

    def by_name(**inputs):
        return {"prediction": tf.stack(list(inputs.values()), axis=1)}

    signatures = {"serving_default": lambda features: answer(features), "named_features": by_name}
    if task != "regression":
        signatures["classify"] = signatures["serving_default"]
    rows = np.random.default_rng(1).normal(0, 2, (40, 3)).astype(np.float32) if rows is None else rows
    return check_rows_independent(signatures, describe(task), threshold, rows)


def mean_of_batch(rows):
    return {"prediction": rows - tf.reduce_mean(rows, axis=0)}


def listwise_softmax(rows):
    return {"prediction": tf.nn.softmax(rows, axis=0)}


def draw(rows):
    return {"prediction": rows + tf.random.normal(tf.shape(rows))}


def row_before(rows):
    return {"prediction": rows + 0.001 * tf.roll(rows, 1, axis=0)}


def position(rows):
    return {"prediction": rows + tf.cast(tf.range(tf.shape(rows)[0])[:, None], tf.float32)}


def first_of_its_kind(rows):
    """Differs only for a row that is there twice."""
    seen = tf.reduce_sum(tf.cast(tf.reduce_all(rows[:, None] == rows[None], axis=2), tf.float32), axis=1)
    return {"prediction": rows * seen[:, None]}


def only_for_five(rows):
    return {"prediction": tf.where(tf.shape(rows)[0] == 5, rows + 1, rows)}


@pytest.mark.parametrize(
    "answer", [mean_of_batch, listwise_softmax, draw, row_before, position, first_of_its_kind, only_for_five]
)
def test_rows_that_depend_on_others_are_found(answer):
    result = check(answer)
    assert result.proven == ["named_features"]
    assert "prediction of row" in result.problems["serving_default"]


def test_a_counter_is_found():
    calls = tf.Variable(0.0)

    def count(rows):
        return {"prediction": rows + calls.assign_add(1)}

    assert check(count).proven == ["named_features"]


@pytest.mark.parametrize("rows", [1, ROWS - 1, 40])
def test_independent_rows_are_proven_with_as_many_rows_as_there_are(rows):
    result = check(lambda batch: {"prediction": 3 * batch}, rows=np.ones((rows, 3), np.float32))
    assert (result.proven, result.problems) == (["named_features", "serving_default"], {})


def classify(probabilities, noise):
    """Probabilities that differ by less than the tolerance between calls of different sizes."""

    def answer(batch):
        count = tf.shape(batch)[0]
        given = tf.tile(tf.constant([probabilities]), [count, 1])
        given += tf.cast(count % 2, tf.float32) * tf.constant([noise])
        class_id = tf.argmax(given, axis=1)
        return {"probabilities": given, "class_id": class_id, "score": tf.gather(given, class_id, batch_dims=1)}

    return answer


def test_a_class_may_change_where_two_are_equally_likely_and_only_there():
    tied = classify([0.400001, 0.400002, 0.2], [2e-6, -2e-6, 0.0])
    assert "classify" in check(tied, "multiclass").proven
    apart = classify([0.40, 0.41, 0.19], [0.02, -0.02, 0.0])
    assert "classify" in check(apart, "multiclass").problems


def test_a_class_may_change_at_the_operating_point_and_only_there():
    def answer(batch):
        positive = 0.3 + 2e-6 * tf.cast(tf.shape(batch)[0] % 2, tf.float32) + 0 * batch[:, 0]
        return {
            "probabilities": tf.stack([1 - positive, positive], axis=1),
            "class_id": tf.cast(positive >= 0.300001, tf.int64),
        }

    assert "classify" in check(answer, "binary", threshold=0.300001).proven
    assert "class_id" in check(answer, "binary", threshold=0.5).problems["classify"]
