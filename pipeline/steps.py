"""Many training steps in one call: the rows lie in the device's memory, and each call says which of them to take.

Keras's own loop hands over batch by batch; a small network spends most of its time there.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from pipeline.batches import Deal
from pipeline.distribution import ALONE, Distribution
from pipeline.distribution_steps import ReplicatedSteps
from pipeline.errors import ParamsError

COMPILED_STEPS = 4000
"""So many steps pay for compiling a dense network with XLA: about a second, for 0.1 to 0.6 ms less per step of
up to 256 units on two CPU cores. On one core, and beyond, it takes as long; convolutions became 20 times slower,
recurrent layers no faster."""

DENSE_LAYERS = frozenset(
    {
        "Activation",
        "BatchNormalization",
        "Concatenate",
        "Dense",
        "Dropout",
        "EinsumDense",
        "Flatten",
        "InputLayer",
        "LayerNormalization",
        "Normalization",
        "ReLU",
        "Rescaling",
        "Reshape",
    }
)
"""What a dense network consists of."""

Data = tuple[np.ndarray, np.ndarray]
"""`x` `(n, ...)`, raw values of any numeric type, which stay so in memory and are cast batch by batch; and `y`
`(n, ...)`, encoded targets."""

Logs = dict[str, Any]
Run = Callable[[np.ndarray, int], Logs]
"""Trains on the chosen rows `(steps, batch)` int32, of which so many steps are meant, and gives the epoch's figures."""


def fit_in_steps(
    model: keras.Model,
    data: Data,
    deal: Deal,
    jit_compile: bool | None = None,
    distribution: Distribution = ALONE,
    **arguments: Any,
) -> None:
    """What `model.fit(x, y)` does, with the rows in the order of `deal` and in fewer calls.

    Args:
        model: compiled.
        data: the training rows.
        deal: gives their order.
        jit_compile: compile the steps with XLA; None for where it pays. JAX always compiles.
        distribution: what the weights of `model` lie on.
        arguments: of `fit`: `epochs`, `initial_epoch`, `callbacks`, `verbose`.

    Raises:
        ParamsError: XLA cannot compile the network.
    """
    # Keras counts the batches, for the progress bar; the steps take their rows themselves.
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if jit_compile is None:
            jit_compile = is_dense(model) and deal.batches * arguments["epochs"] >= COMPILED_STEPS
        if distribution.strategy:
            run = ReplicatedSteps(distribution, model, data).run
        else:
            run = tensorflow_steps(model, data, deal, jit_compile)
        model.train_function = run_each_call(deal, run)
        counted = tf.data.Dataset.range(deal.batches)
    else:
        model.train_function = _jax_function(model, data, deal)
        counted = _CountedBatches(data, deal)
    model.steps_per_execution = deal.steps
    model.fit(counted, shuffle=False, **arguments | {"callbacks": [deal, *arguments.get("callbacks", ())]})


def is_dense(model: keras.Model) -> bool:
    """Whether a network is made of dense layers and of what costs little beside them."""
    return all(
        is_dense(layer) if isinstance(layer, keras.Model) else type(layer).__name__ in DENSE_LAYERS
        for layer in model.layers
    )


def run_each_call(deal: Deal, run: Run) -> Callable[[Any], Logs]:
    """The `train_function` of a TensorFlow model: all that is dealt for one call of it."""

    def train(_: Any) -> Logs:
        logs = {}
        for chosen, count in deal.next_calls():
            logs = run(chosen, count)
        return logs

    return train


def tensorflow_steps(model: keras.Model, data: Data, deal: Deal, jit_compile: bool) -> Run:
    """Training steps on one device.

    Args:
        model: compiled.
        data: the training rows.
        deal: gives their order.
        jit_compile: compile whole batches with XLA; the smaller last one of an epoch would not pay for it.

    Returns:
        What runs them. It raises ParamsError where XLA cannot compile the network.
    """
    import tensorflow as tf

    rows, targets = (tf.constant(array) for array in data)
    # A function may make variables only when it is traced first, and this one is traced for two shapes.
    model.optimizer.build(model.trainable_variables)
    model.compute_metrics(None, targets[:1], tf.zeros((1, *model.output_shape[1:])), None)

    def run_steps(x: tf.Tensor, y: tf.Tensor, count: tf.Tensor) -> Logs:
        def run_step(step: tf.Tensor) -> tuple[tf.Tensor]:
            batch = tf.cast(x[step], tf.float32), y[step]
            # Outside of the replica's context, in which Keras would sum gradients over this one replica by a function
            # that TensorFlow keeps for ever, and the whole graph with it.
            tf.distribute.get_replica_context().merge_call(lambda _: model.train_step(batch))
            return (step + 1,)

        tf.while_loop(lambda step: step < count, run_step, (tf.constant(0),), parallel_iterations=1)
        return model.get_metrics_result()

    @functools.cache
    def trace(shape: tuple[int | None, int | None], compiled: bool) -> Callable[..., Logs]:
        specs = [tf.TensorSpec((*shape, *array.shape[1:]), array.dtype) for array in (rows, targets)]
        function = tf.function(run_steps, jit_compile=compiled, autograph=False)
        return function.get_concrete_function(*specs, tf.TensorSpec((), tf.int32))

    def run(chosen: np.ndarray, count: int) -> Logs:
        # Not within what XLA compiles: its gather takes number by number where TensorFlow's copies rows.
        x, y = tf.gather(rows, chosen), tf.gather(targets, chosen)
        if not jit_compile or chosen.shape[1] < deal.batch_size:
            return trace((None, None), False)(x, y, tf.constant(count))
        try:
            return trace(chosen.shape, True)(x, y, tf.constant(count))
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError) as error:
            reason = error.message.partition("\n")[0]
            raise ParamsError(
                f"train.jit_compile: XLA cannot compile this network: {reason} Expected false, or no jit_compile."
            ) from None

    return run


def _jax_function(model: keras.Model, data: Data, deal: Deal) -> Callable[[Any, Any], tuple[Logs, Any]]:
    import jax
    from jax import numpy as jnp

    all_rows, all_targets = (jnp.asarray(array) for array in data)

    # The arrays are arguments: what a function closes over becomes a constant of its program.
    def run_step(state: Any, rows: jax.Array, targets: jax.Array, chosen: jax.Array) -> tuple[Logs, Any]:
        return model.train_step(state, (rows[chosen].astype(jnp.float32), targets[chosen]))

    def run_steps(state: Any, rows: jax.Array, targets: jax.Array, chosen: jax.Array, count: int) -> Any:
        logs = jax.eval_shape(run_step, state, rows, targets, chosen[0])[0]
        logs = jax.tree.map(lambda value: jnp.zeros(value.shape, value.dtype), logs)
        return jax.lax.fori_loop(
            0, count, lambda step, carry: run_step(carry[1], rows, targets, chosen[step]), (logs, state)
        )

    compiled_step, compiled_steps = (jax.jit(run, donate_argnums=0) for run in (run_step, run_steps))
    # On a CPU, XLA takes six times as long for a convolution inside a loop as for one outside.
    is_looped = jax.default_backend() != "cpu" or is_dense(model)

    def train(state: Any, _: Any) -> tuple[Logs, Any]:
        logs = {}
        for chosen, count in deal.next_calls():
            if is_looped:
                logs, state = compiled_steps(state, all_rows, all_targets, chosen, count)
                continue
            for batch in chosen[:count]:
                logs, state = compiled_step(state, all_rows, all_targets, batch)
        return logs, state

    return train


class _CountedBatches(keras.utils.PyDataset):
    """As many batches as an epoch has; Keras looks at one of them, for its shape."""

    def __init__(self, data: Data, deal: Deal) -> None:
        super().__init__()
        self._data = data
        self._deal = deal

    def __len__(self) -> int:
        return self._deal.batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = (array[: self._deal.batch_size] for array in self._data)
        return x.astype(np.float32), y
