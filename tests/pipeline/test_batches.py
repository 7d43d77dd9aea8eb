import numpy as np
import pytest

from pipeline.batches import STEPS_PER_CALL, Deal, order_of_epoch


def test_the_order_is_a_function_of_seed_and_epoch():
    assert sorted(order_of_epoch(1, 0, 100)) == list(range(100))
    np.testing.assert_array_equal(order_of_epoch(1, 5, 100), order_of_epoch(1, 5, 100))
    assert (order_of_epoch(1, 5, 100) != order_of_epoch(1, 6, 100)).any()
    assert (order_of_epoch(1, 5, 100) != order_of_epoch(2, 5, 100)).any()


SIZES = [(10, 4), (3, 4), (8, 4), (1, 1), (4 * STEPS_PER_CALL, 4), (4 * STEPS_PER_CALL + 1, 4), (60_000, 128)]


@pytest.mark.parametrize(("rows", "batch_size"), SIZES)
def test_every_row_is_dealt_once_per_epoch_in_the_epochs_order(rows, batch_size):
    deal = Deal(rows, batch_size, seed=1)
    for epoch in (0, 7):
        deal.on_epoch_begin(epoch)
        calls = [call for _ in range(0, deal.batches, deal.steps) for call in deal.next_calls()]
        dealt = [batch for chosen, count in calls for batch in chosen[:count]]
        np.testing.assert_array_equal(np.concatenate(dealt), order_of_epoch(1, epoch, rows))
        assert {len(batch) for batch in dealt[:-1]} <= {batch_size}
        assert len(dealt) == deal.batches
        # What is compiled for one shape must never see another one.
        assert len({chosen.shape for chosen, _ in calls if chosen.shape[1] == batch_size}) <= 1
        assert not list(deal.next_calls())


def test_calls_are_no_longer_than_a_progress_bar_can_bear():
    assert Deal(60_000, 128, 1).steps == 59
    assert max(Deal(rows, 1, 1).steps for rows in range(1, 300)) == STEPS_PER_CALL
