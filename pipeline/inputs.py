"""Raw rows as the inputs of each signature."""

import numpy as np
import tensorflow as tf

from pipeline.prepared import Description


def signature_inputs(description: Description, rows: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """The same rows for every signature of a data set's models.

    Args:
        description: of the data.
        rows: `(n, *input_shape)`, raw values.

    Returns:
        Inputs by name, by signature name. Pictures have 256 grey levels, so `image_bytes` gets the rows rounded to
        them; `pixels_of` tells what the signature reads back.
    """
    batch = {description.input_name: rows.astype(np.float32)}
    inputs = {"serving_default": batch}
    if description.task != "regression":
        inputs["classify"] = batch
    if description.input_kind == "image":
        files = [tf.io.encode_png(grey[..., None]).numpy() for grey in _grey_levels(description, rows)]
        inputs["image_bytes"] = {"image_bytes": np.array(files, dtype=object)}
    else:
        columns = rows.astype(np.float32).T
        names = [feature.name for feature in description.features]
        inputs["named_features"] = dict(zip(names, columns, strict=True))
    return inputs


def pixels_of(description: Description, rows: np.ndarray) -> np.ndarray:
    """The raw values that a picture of the rows holds: float32, equal to `rows` where these are 0-255 already."""
    low, high = description.input_range or (0.0, 255.0)
    return (_grey_levels(description, rows) * np.float32((high - low) / 255.0) + low).astype(np.float32)


def _grey_levels(description: Description, rows: np.ndarray) -> np.ndarray:
    low, high = description.input_range or (0.0, 255.0)
    return np.rint((rows.astype(np.float64) - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
