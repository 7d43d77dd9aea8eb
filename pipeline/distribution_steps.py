"""Training steps on all replicas at once, with the result of one device at the same batch size.

Every replica takes an equal share of the same batch. The loss of a share is divided by the rows of the whole batch, a
share that comes out smaller is filled up with rows of weight zero, and gradients are summed. So the update is the one
that a single device would have made, but for the order in which numbers are added.

Keras's own loop fails under MultiWorkerMirroredStrategy, and would deal the last, smaller batch unequally.
"""

import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from pipeline.distribution import Distribution

if TYPE_CHECKING:
    import tensorflow as tf

    Tensors = list[tf.Tensor]

SEED_STEP = 7919
"""Between the seeds of neighbouring replicas: any number, so long as it is not zero."""


class MeasuredByChief(keras.callbacks.Callback):
    """Gives all workers the figures that the chief measures, so that all decide alike whether and how to go on."""

    def __init__(self, distribution: Distribution, measurement: keras.callbacks.Callback) -> None:
        super().__init__()
        self._distribution = distribution
        self._measurement = measurement

    def set_model(self, model: keras.Model) -> None:
        """Hands the model on."""
        super().set_model(model)
        self._measurement.set_model(model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures or waits."""
        if self._distribution.is_chief:
            self._measurement.on_epoch_end(epoch, logs)
        if self._distribution.workers == 1:
            return
        figures = {name: float(value) for name, value in logs.items()}
        logs.update(json.loads(self._distribution.share(json.dumps(figures).encode())))


def as_one_device(model: keras.Model) -> keras.Model:
    """A network whose weights lie on several devices, for Keras to handle as it handles one on a single device.

    Args:
        model: built in the scope of a distribution. Its batch normalization measures the whole batch from now on.

    Returns:
        A model of the same layers, to be made and compiled outside of that scope.
    """
    _normalize_together(model)
    return keras.Model(model.input, model.output)


class ReplicatedSteps:
    """Runs steps of a compiled model on all replicas of all workers."""

    def __init__(self, distribution: Distribution, model: keras.Model, data: tuple[np.ndarray, np.ndarray]) -> None:
        """Puts the rows into memory, and gives each replica seeds of its own.

        Args:
            distribution: with a strategy, in whose scope the weights and the optimizer's variables were made.
            model: what `as_one_device` gave, compiled, with the state to start from.
            data: all training rows, on every worker: `x` `(n, ...)`, raw values of any numeric type, and `y`
                `(n, ...)`, encoded targets.
        """
        import tensorflow as tf

        self._distribution = distribution
        self._model = model
        with tf.device("CPU:0"):
            self._rows, self._targets = (tf.constant(array) for array in data)
        # A function may make variables only when it is traced first.
        model.compute_metrics(None, self._targets[:1], tf.zeros((1, *model.output_shape[1:])), None)
        tf.function(self._spread_seeds, autograph=False)()
        signature = [tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((), tf.int32)]
        self._run = tf.function(self._run_steps, input_signature=signature, autograph=False)

    def run(self, chosen: np.ndarray, count: int) -> dict[str, Any]:
        """Trains.

        Args:
            chosen: `(steps, batch)` int32 row numbers, the same on all workers.
            count: how many of the steps are meant; those behind them only fill up.

        Returns:
            The figures of the epoch so far, the same on all workers.
        """
        return self._run(chosen, np.int32(count))

    def _spread_seeds(self) -> None:
        """Lets replicas draw different masks for dropout. Replica 0 keeps its seeds, which are the saved ones."""
        import tensorflow as tf

        weights = {id(weight) for weight in self._model.weights}
        seeds = [variable for variable in self._model.variables if id(variable) not in weights]

        def spread() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            for seed in seeds:
                seed.assign(seed.value + tf.cast([replica * SEED_STEP, 0], seed.value.dtype))

        self._distribution.strategy.run(spread)

    def _run_steps(self, chosen: "tf.Tensor", count: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        import tensorflow as tf

        strategy, variables = self._distribution.strategy, self._model.metrics_variables

        def run_step(step: "tf.Tensor", sums: "Tensors") -> tuple["tf.Tensor", "Tensors"]:
            added = strategy.run(self._run_replica, args=(chosen[step],))
            here = [tf.add_n(strategy.experimental_local_results(part)) for part in added]
            return step + 1, [total + part for total, part in zip(sums, here, strict=True)]

        start = (tf.constant(0), [tf.zeros(variable.shape, variable.dtype) for variable in variables])
        _, sums = tf.while_loop(lambda step, _: step < count, run_step, start, parallel_iterations=1)
        sums = tf.unstack(self._distribution.sum_over_workers(tf.stack(sums)), len(variables))
        for variable, total in zip(variables, sums, strict=True):
            variable.assign_add(total)
        return self._model.get_metrics_result()

    def _run_replica(self, batch: "tf.Tensor") -> "Tensors":
        """Trains on one replica's share of a batch; gives what it adds to the variables of the metrics."""
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        rows, replicas = tf.shape(batch)[0], context.num_replicas_in_sync
        size = -(-rows // replicas)
        places = context.replica_id_in_sync_group * size + tf.range(size)
        with tf.device("CPU:0"):
            # Places behind the end of the batch repeat its last row, so that no share is empty.
            chosen = tf.gather(batch, tf.minimum(places, rows - 1))
            x, y = tf.cast(tf.gather(self._rows, chosen), tf.float32), tf.gather(self._targets, chosen)
        is_real = tf.cast(places < rows, tf.float32)
        # Keras divides by the rows of the share and by the number of replicas; this makes it the rows of the batch.
        weights = is_real * tf.cast(size * replicas, tf.float32) / tf.cast(rows, tf.float32)
        with tf.GradientTape() as tape:
            outputs = self._model(x, training=True)
            loss = self._model.compute_loss(None, y, outputs, weights)
        gradients = tape.gradient(loss, [variable.value for variable in self._model.trainable_variables])
        self._model.optimizer.apply_gradients(zip(gradients, self._model.trainable_variables, strict=True))
        real = tf.cast(tf.reduce_sum(is_real), tf.int32)
        return self._measure(y[:real], outputs[:real], loss * tf.cast(rows, tf.float32))

    def _measure(self, y: "tf.Tensor", outputs: "tf.Tensor", loss: "tf.Tensor") -> "Tensors":
        import tensorflow as tf

        model = self._model
        variables = model.metrics_variables
        zeros = [(variable, tf.zeros(variable.shape, variable.dtype)) for variable in variables]
        with keras.StatelessScope(state_mapping=zeros) as scope:
            model.compute_metrics(None, y, outputs, None)
            mean_loss = model.metrics[0]
            mean_loss.total.assign(loss)
            mean_loss.count.assign(tf.cast(tf.shape(outputs)[0], mean_loss.count.dtype))
        return [scope.get_current_value(variable) for variable in variables]


def _normalize_together(model: keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _normalize_together(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
