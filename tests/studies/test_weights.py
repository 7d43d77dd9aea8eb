import numpy as np

from studies.weights import describe_kernel


def test_a_kernel_of_equal_units_has_one_distinct_unit():
    column = np.random.default_rng(1).normal(size=(10, 1))
    seen = describe_kernel(np.repeat(column, 32, axis=1) * (1 + 1e-7 * np.arange(32)))
    assert (seen["units"], seen["distinct"]) == (32, 1)


def test_a_random_kernel_has_as_many_distinct_units_as_units():
    seen = describe_kernel(np.random.default_rng(1).normal(size=(10, 32)))
    assert (seen["units"], seen["distinct"], sum(seen["counts"])) == (32, 32, 320)


def test_a_kernel_of_one_value_has_a_histogram_too():
    seen = describe_kernel(np.full((10, 32), 0.05))
    assert (seen["distinct"], seen["low"], seen["high"], sum(seen["counts"])) == (1, 0.05, 0.05, 320)
