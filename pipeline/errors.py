"""What can go wrong in the pipeline.

- PipelineError: the root; `python -m pipeline.STAGE` prints its sentence and exits with status 1.
    - ParamsError: `params.yaml` says something that cannot be done.
    - DataError: a data file is missing, altered or not what it should be.
    - TrainingError: training did not yield a usable model.
        - WorkerLost: another worker of the training is gone; exits with status 75, which stands for "try again".
    - ExportError: the SavedModel does not answer what the Keras model answers.
    - PublishRefused: the model is not good enough to be published.
"""

import os


class PipelineError(Exception):
    """The root of the pipeline's own errors; its text is a sentence for the person who runs the stage."""

    status: int = 1
    """The exit status of that stage."""


class ParamsError(PipelineError):
    """`params.yaml` holds an unknown key or an impossible value."""


class DataError(PipelineError):
    """A data file is missing, altered, or does not hold what its data set promises."""


class TrainingError(PipelineError):
    """Training did not yield a usable model: the loss is not finite, for example."""


class WorkerLost(TrainingError):
    """Another worker of the same training is gone, or the way to it; those that are left have to be started again."""

    status = os.EX_TEMPFAIL


class ExportError(PipelineError):
    """The reloaded SavedModel does not give the Keras model's numbers."""


class PublishRefused(PipelineError):
    """The candidate misses the floor, does not beat the baseline or loses to the published version."""
