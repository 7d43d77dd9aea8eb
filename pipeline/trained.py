"""The file between `train` and the stages behind it."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backend import start_keras
from pipeline.errors import DataError

if TYPE_CHECKING:
    import keras


def load_model(path: Path) -> "keras.Model":
    """Reads the final model: raw rows in, probabilities or predictions in the target's unit out.

    Raises:
        DataError: there is no such file, or it is no Keras model.
    """
    if not path.is_file():
        raise DataError(f"No trained model at {path}. Run the train stage first.")
    start_keras()
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a Keras model ({error}). Run the train stage again.") from None
