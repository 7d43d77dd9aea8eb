"""A Keras model as the signatures of a SavedModel: raw rows, picture files or named numbers in, answers out."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras
import tensorflow as tf

from pipeline.prepared import Description

Answers = dict[str, tf.Tensor]
BYTE_RANGE = (0.0, 255.0)
LARGEST_PICTURE = 4096 * 4096
"""Pixels: 64 MiB as float32. A file of a few kilobytes can hold a picture that fills a server's memory."""
PNG_START, PNG_SIDES = b"\x89PNG\r\n\x1a\n", 16
"""Source: PNG (Portable Network Graphics) Specification, "PNG file signature" and "IHDR Image header"."""
JPEG_START = b"\xff\xd8\xff"


class Signatures(tf.Module):
    """The functions that a SavedModel of this pipeline answers; what is reached from them is what is saved."""

    def __init__(self, model: keras.Model, description: Description, threshold: float | None) -> None:
        """Takes a model.

        Args:
            model: the final model: raw rows in, probabilities or predictions in the target's unit out. It can no longer
                be trained as it was.
            description: of the data it was trained on.
            threshold: the operating point of a binary task, else None.
        """
        super().__init__(name=model.name)
        _stop_dropout(model)
        self._model = _answer_empty_batches(model)
        self._description = description
        self._threshold = threshold
        # A SavedModel keeps what its root object reaches. A Keras model as an attribute would bring its layers' Python
        # structure along, so only the variables are attached, and the model stays inside a function.
        self.weights = [variable.value for variable in model.weights]

    def functions(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """The functions by signature name, each with its input names, types and shapes fixed."""
        description = self._description
        batch = tf.TensorSpec((None, *description.input_shape), tf.float32, description.input_name)
        is_classifier = description.task != "regression"
        answer = self._classify if is_classifier else self._predict
        functions = {"serving_default": tf.function(self._predict, input_signature=[batch])}
        if is_classifier:
            functions["classify"] = tf.function(self._classify, input_signature=[batch])
        if description.input_kind == "image":
            pictures = tf.TensorSpec((None,), tf.string, "image_bytes")
            functions["image_bytes"] = tf.function(self._from_pictures(answer), input_signature=[pictures])
        else:
            scalars = [tf.TensorSpec((None,), tf.float32, feature.name) for feature in description.features]
            functions["named_features"] = tf.function(_from_columns(answer), input_signature=scalars)
        return functions

    def _predict(self, rows: tf.Tensor) -> Answers:
        return {"prediction" if self._description.task == "regression" else "probabilities": self._model(rows)}

    def _classify(self, rows: tf.Tensor) -> Answers:
        probabilities = self._model(rows)
        if self._threshold is None:
            class_id = tf.argmax(probabilities, axis=1, output_type=tf.int64)
        else:
            class_id = tf.cast(probabilities[:, 1] >= tf.constant(self._threshold, tf.float32), tf.int64)
        return {
            "label": tf.gather(tf.constant(self._description.labels), class_id),
            "class_id": class_id,
            "score": tf.gather(probabilities, class_id, batch_dims=1),
            "probabilities": probabilities,
        }

    def _from_pictures(self, answer: Callable[[tf.Tensor], Answers]) -> Callable[[tf.Tensor], Answers]:
        shape, (low, high) = self._description.input_shape, self._description.input_range or BYTE_RANGE

        def decode_one(data: tf.Tensor) -> tf.Tensor:
            return decode_picture(data, (shape[0], shape[1]))

        def from_pictures(image_bytes: tf.Tensor) -> Answers:
            row = tf.TensorSpec(shape, tf.float32)
            pixels = tf.map_fn(decode_one, image_bytes, fn_output_signature=row)
            return answer(pixels * ((high - low) / BYTE_RANGE[1]) + low)

        return from_pictures


def decode_picture(data: tf.Tensor, shape: tuple[int, int]) -> tf.Tensor:
    """A PNG or JPEG file as grey levels.

    Args:
        data: scalar string, the file's bytes.
        shape: rows and columns to resize to where the picture has others.

    Returns:
        float32 `(rows, columns)`, 0 (black) to 255 (white). A picture of the given shape is not resampled.

    Raises:
        tf.errors.InvalidArgumentError: the file is broken, of another kind, or larger than `LARGEST_PICTURE`.
    """
    with tf.control_dependencies([_check_size(data)]):
        picture = tf.cast(tf.io.decode_image(data, channels=1, expand_animations=False), tf.float32)
    picture = tf.ensure_shape(picture, (None, None, 1))
    resized = tf.cond(
        tf.reduce_all(tf.shape(picture)[:2] == shape),
        lambda: picture,
        # Without antialiasing a picture that shrinks would keep only some of its pixels.
        lambda: tf.image.resize(picture, shape, antialias=True),
    )
    return tf.reshape(tf.clip_by_value(resized, *BYTE_RANGE), shape)


def _check_size(data: tf.Tensor) -> tf.Operation:
    """An operation that fails before anything is decoded, on what the head of the file says."""
    has_sides = tf.strings.length(data) >= PNG_SIDES + 8
    is_png = tf.logical_and(has_sides, tf.strings.substr(data, 0, len(PNG_START)) == PNG_START)
    kinds = [
        (is_png, lambda: _png_sides(data)),
        (tf.strings.substr(data, 0, len(JPEG_START)) == JPEG_START, lambda: tf.image.extract_jpeg_shape(data)[:2]),
    ]
    sides = tf.cast(tf.case(kinds, default=lambda: tf.zeros(2, tf.int32)), tf.int64)
    fits = tf.logical_and(tf.reduce_all(sides > 0), tf.reduce_prod(sides) <= LARGEST_PICTURE)
    expected = f"Expected a PNG or JPEG file of at most {LARGEST_PICTURE} pixels, received one of these sides"
    return tf.debugging.Assert(fits, [f"{expected} (0 for another kind of file):", sides])


def _png_sides(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(tf.strings.substr(data, PNG_SIDES, 8), tf.int32, little_endian=False)


def save_signatures(signatures: Signatures, folder: Path) -> None:
    """Writes a SavedModel that holds the signatures and nothing else to call."""
    tf.saved_model.save(signatures, str(folder), signatures=signatures.functions())


def load_signatures(folder: Path) -> Mapping[str, Callable[..., Answers]]:
    """Reads a SavedModel's signatures, as a server does."""
    return tf.saved_model.load(str(folder)).signatures


def _answer_empty_batches(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model's answers for rows, of which there may be none."""

    def answer(rows: tf.Tensor) -> tf.Tensor:
        return model(rows, training=False)

    def answer_padded(rows: tf.Tensor) -> tf.Tensor:
        count = tf.shape(rows)[0]
        padding = [(0, tf.cast(count == 0, tf.int32)), *[(0, 0)] * (len(rows.shape) - 1)]
        return answer(tf.pad(rows, padding))[:count]

    # On a CPU, TensorFlow 2.21 gives the convolution of no rows the shape of its input, which the next layer refuses.
    convolutions = (keras.layers.Conv1D, keras.layers.Conv2D)
    return answer_padded if any(isinstance(layer, convolutions) for layer in _all_layers(model)) else answer


def _stop_dropout(model: keras.Model) -> None:
    """Keeps recurrent cells from drawing dropout masks, which SimpleRNN does even when it does not apply them."""
    for layer in _all_layers(model):
        for part in (layer, getattr(layer, "forward_layer", None), getattr(layer, "backward_layer", None)):
            cell = getattr(part, "cell", None)
            if cell is not None:
                cell.dropout = cell.recurrent_dropout = 0.0


def _all_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model and of the models within it, such as the members of an ensemble."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)
        else:
            yield layer


def _from_columns(answer: Callable[[tf.Tensor], Answers]) -> Callable[..., Answers]:
    def from_columns(*columns: tf.Tensor) -> Answers:
        return answer(tf.stack(columns, axis=1))

    return from_columns
