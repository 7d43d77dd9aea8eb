"""Optimizers and the learning rates that are a function of the step."""

import keras

from pipeline.params import ScheduleParams, SgdParams, TrainParams


def build_optimizer(params: TrainParams, steps_per_epoch: int) -> keras.Optimizer:
    """Builds the optimizer of a training.

    Args:
        params: the model's `train` block.
        steps_per_epoch: batches in an epoch.

    Returns:
        A new optimizer. `reduce_on_plateau` starts from a constant rate, which a callback lowers.
    """
    rate = _learning_rate(params.schedule, params.optimizer.learning_rate, steps_per_epoch, params.epochs)
    average = {"use_ema": params.average_momentum > 0, "ema_momentum": params.average_momentum}
    if isinstance(params.optimizer, SgdParams):
        momentum = {"momentum": params.optimizer.momentum, "nesterov": params.optimizer.nesterov}
        return keras.optimizers.SGD(rate, **momentum, **average)
    return {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}[params.optimizer.name](rate, **average)


def _learning_rate(
    schedule: ScheduleParams, rate: float, steps_per_epoch: int, epochs: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    if schedule.name == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(rate, steps_per_epoch, schedule.decay_rate, staircase=True)
    if schedule.name == "cosine":
        warmup_epochs = min(schedule.warmup_epochs, epochs - 1)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup_epochs else rate,
            decay_steps=steps_per_epoch * (epochs - warmup_epochs),
            warmup_target=rate if warmup_epochs else None,
            warmup_steps=steps_per_epoch * warmup_epochs,
        )
    return rate
