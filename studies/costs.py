"""How long a run will take on one core: good enough to order runs and to say how much time is left."""

import itertools

from pipeline.network_params import CnnParams, MlpParams, NetworkParams
from studies.runs import Run

ROWS = {"mnist": 60_000, "fashion_mnist": 3_614, "wine_alcohol": 3_918, "seizure": 9_200}
"""Training rows, nearly."""
INPUTS = {"mnist": 784, "fashion_mnist": 784, "wine_alcohol": 10, "seizure": 178}
SIDE = 28
"""Rows and columns of a picture; the only kind that has convolutions or recurrent layers here."""
OUTPUTS = 10

# Measured on one core of the machine that made the report.
SECONDS_PER_PRODUCT = {"mlp": 5.5e-11, "cnn": 1.25e-10, "rnn": 1.05e-10}
"""Per multiplication and row of the forward pass; the backward pass and the update are in it."""
SECONDS_PER_BATCH = {"mlp": 6e-4, "cnn": 2e-3, "rnn": 4e-3}
SECONDS_PER_RUN = 3.0
"""Building and compiling."""
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


def estimate_seconds(run: Run) -> float:
    """Seconds that a run takes on one core.

    Args:
        run: any run.

    Returns:
        An estimate, wrong by a factor of two at times.
    """
    train, kind = run.params.train, run.params.network.architecture
    rows = ROWS.get(run.params.dataset, 10_000)
    products = count_products(run.params.network, INPUTS.get(run.params.dataset, 100))
    epoch = rows * products * SECONDS_PER_PRODUCT[kind] + rows / train.batch_size * SECONDS_PER_BATCH[kind]
    return SECONDS_PER_RUN + train.epochs * epoch


def count_products(network: NetworkParams, inputs: int) -> int:
    """Multiplications that the forward pass of one row takes."""
    if isinstance(network, MlpParams):
        sizes = (inputs, *network.units, OUTPUTS)
        return sum(before * after for before, after in itertools.pairwise(sizes))
    if isinstance(network, CnnParams):
        return _convolution_products(network)
    directions, width, total = 2 if network.bidirectional else 1, SIDE, 0
    for units in network.units:
        total += SIDE * directions * GATES[network.cell] * units * (width + units)
        width = units * directions
    return total


def _convolution_products(network: CnnParams) -> int:
    side, channels, total = SIDE, 1, 0
    for number, filters in enumerate(network.filters, start=1):
        side = side - network.kernel_size + 1
        total += side * side * network.kernel_size**2 * channels * filters
        channels = filters
        if number < len(network.filters):
            side //= network.pool_size
    return total
