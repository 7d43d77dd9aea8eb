import numpy as np
import pytest

from pipeline.batches import ArrayBatches, order_of_epoch, training_batches

X = np.arange(10, dtype=np.uint8)[:, None]
Y = np.arange(10, dtype=np.int32)


def labels(data):
    return [np.asarray(y).tolist() for _, y in data]


def test_the_order_is_a_function_of_seed_and_epoch():
    assert sorted(order_of_epoch(1, 0, 100)) == list(range(100))
    np.testing.assert_array_equal(order_of_epoch(1, 5, 100), order_of_epoch(1, 5, 100))
    assert (order_of_epoch(1, 5, 100) != order_of_epoch(1, 6, 100)).any()
    assert (order_of_epoch(1, 5, 100) != order_of_epoch(2, 5, 100)).any()


@pytest.mark.parametrize("epoch", [0, 7])
def test_every_row_comes_once_per_epoch_and_the_last_batch_is_smaller(epoch):
    data, shuffle = training_batches(X, Y, batch_size=4, seed=1)
    shuffle.on_epoch_begin(epoch)
    order = order_of_epoch(1, epoch, 10).tolist()
    assert labels(data) == [order[:4], order[4:8], order[8:]]
    for x, y in data:
        assert x.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(x)[:, 0], np.asarray(y))


def test_numpy_batches_give_the_same_rows_as_tensorflow_ones():
    data, shuffle = training_batches(X, Y, batch_size=4, seed=3)
    shuffle.on_epoch_begin(2)
    arrays = ArrayBatches(X, Y, batch_size=4)
    arrays.deal(order_of_epoch(3, 2, 10))
    assert [y.tolist() for _, y in (arrays[index] for index in range(len(arrays)))] == labels(data)
