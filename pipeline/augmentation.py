"""Augmentation: layers that change training rows a little, anew in each epoch, and do nothing outside training.

They stand on the raw rows, in front of the scaling, and are left out of the finished model. Their random numbers come
from a seed generator whose state is among the model's variables, so that a resumed training goes on where it was.
"""

import math
from typing import Any

import keras
import numpy as np

from pipeline.augmentation_params import AugmentationParams, ImageAugmentationParams, SignalAugmentationParams
from pipeline.errors import ParamsError
from pipeline.prepared import Description

NAME = "augmentation"
GRID = 5
"""Points per side of the grid whose random displacements are interpolated to the pixels of an elastic deformation."""


class ImageAugmentation(keras.layers.Layer):
    """Moves, turns, stretches and bends each image by amounts of its own, with one bilinear interpolation.

    Source:
        P. Y. Simard, D. Steinkraus, J. C. Platt (2003), Best Practices for Convolutional Neural Networks Applied to
        Visual Document Analysis, ICDAR. They smooth a displacement per pixel; here one per grid point is interpolated,
        which costs less and bends as smoothly.
    """

    def __init__(self, params: ImageAugmentationParams, shape: tuple[int, int], fill: float) -> None:
        """Takes the amounts.

        Args:
            params: the greatest changes.
            shape: rows and columns of an image.
            fill: the raw value of what moves in from outside.
        """
        super().__init__(dtype="float32", name=NAME)
        self._params = params
        self._shape = shape
        self._fill = fill
        self._seeds = keras.random.SeedGenerator()
        self._bend = [_interpolation(side) for side in shape]

    def call(self, images: Any, training: bool = False) -> Any:
        """Images `(n, rows, columns)` float32, changed where `training` is true."""
        if not training:
            return images
        rows, columns = self._sources(keras.ops.shape(images)[0])
        if self._params.flip_horizontal:
            mirrored = self._uniform((keras.ops.shape(images)[0], 1, 1), 1.0) < 0
            columns = keras.ops.where(mirrored, self._shape[1] - 1 - columns, columns)
        return sample_bilinear(images, rows, columns, self._fill)

    def _sources(self, count: Any) -> tuple[Any, Any]:
        """Where each pixel is taken from: row and column, `(n, rows, columns)` float32."""
        params, (height, width) = self._params, self._shape
        angle = self._uniform((count, 1, 1), math.radians(params.rotation_degrees))
        shear = self._uniform((count, 1, 1), math.tan(math.radians(params.shear_degrees)))
        row_zoom = 1.0 + self._uniform((count, 1, 1), params.zoom)
        column_zoom = 1.0 + self._uniform((count, 1, 1), params.zoom)
        down = np.arange(height, dtype=np.float32)[None, :, None] - (height - 1) / 2
        right = np.arange(width, dtype=np.float32)[None, None, :] - (width - 1) / 2
        cosine, sine = keras.ops.cos(angle), keras.ops.sin(angle)
        sheared = right + shear * down
        rows = row_zoom * (cosine * down + sine * sheared) + (height - 1) / 2
        columns = column_zoom * (cosine * sheared - sine * down) + (width - 1) / 2
        rows = rows + self._uniform((count, 1, 1), params.shift)
        columns = columns + self._uniform((count, 1, 1), params.shift)
        if not params.elastic:
            return rows, columns
        return rows + self._displacement(count), columns + self._displacement(count)

    def _displacement(self, count: Any) -> Any:
        """A smooth random field `(n, rows, columns)` in pixels."""
        points = keras.random.normal((count, GRID, GRID), stddev=self._params.elastic, seed=self._seeds)
        return keras.ops.einsum("rg,ngh,ch->nrc", self._bend[0], points, self._bend[1])

    def _uniform(self, shape: tuple[Any, ...], bound: float) -> Any:
        return keras.random.uniform(shape, -bound, bound, seed=self._seeds)


class SignalAugmentation(keras.layers.Layer):
    """Moves each signal in time, and changes its height, its sign and its direction."""

    def __init__(self, params: SignalAugmentationParams, samples: int) -> None:
        """Takes the amounts and the length of a signal."""
        super().__init__(dtype="float32", name=NAME)
        self._params = params
        self._samples = samples
        self._seeds = keras.random.SeedGenerator()

    def call(self, signals: Any, training: bool = False) -> Any:
        """Signals `(n, samples)` float32, changed where `training` is true."""
        if not training:
            return signals
        params, count = self._params, keras.ops.shape(signals)[0]
        factor = keras.ops.exp(self._uniform(count, math.log1p(params.amplitude)))
        if params.flip_sign:
            factor = keras.ops.where(self._uniform(count, 1.0) < 0, -factor, factor)
        samples = np.arange(self._samples, dtype=np.int32)[None, :]
        if params.reverse:
            samples = keras.ops.where(self._uniform(count, 1.0) < 0, samples[:, ::-1], samples)
        if params.shift:
            moved = samples + keras.ops.cast(keras.ops.round(self._uniform(count, params.shift)), "int32")
            # What would come from outside is mirrored at the end.
            last = self._samples - 1
            samples = last - keras.ops.abs(last - keras.ops.abs(moved))
        if params.reverse or params.shift:
            signals = keras.ops.take_along_axis(signals, samples, axis=1)
        signals = signals * factor
        if params.noise:
            deviation = params.noise * keras.ops.std(signals, axis=1, keepdims=True)
            signals = signals + deviation * keras.random.normal((count, self._samples), seed=self._seeds)
        return signals

    def _uniform(self, count: Any, bound: float) -> Any:
        return keras.random.uniform((count, 1), -bound, bound, seed=self._seeds)


def augmentation_layer(params: AugmentationParams | None, description: Description) -> keras.Layer | None:
    """The layer of a model's `train.augmentation`.

    Args:
        params: the block, or None.
        description: of the data set.

    Returns:
        The layer, or None where nothing is augmented.

    Raises:
        ParamsError: the block is for another kind of input.
    """
    if params is None:
        return None
    wanted = "image" if description.input_kind == "image" else "signal"
    if params.kind != wanted:
        raise ParamsError(
            f"train.augmentation.kind: {params.kind!r} does not fit {description.name!r}, whose rows are "
            f"{description.input_kind}s. Allowed here: {wanted!r}."
        )
    if isinstance(params, SignalAugmentationParams):
        (samples,) = description.input_shape
        _check_shift(params.shift, samples)
        return SignalAugmentation(params, samples)
    _check_shift(params.shift, min(description.input_shape))
    low, _ = description.input_range or (0.0, 0.0)
    return ImageAugmentation(params, description.input_shape, low)


def without_augmentation(model: keras.Model) -> keras.Model:
    """The same network, sharing its weights, without the augmentation layer."""
    if all(layer.name != NAME for layer in model.layers):
        return model

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name == NAME else layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def sample_bilinear(images: Any, rows: Any, columns: Any, fill: float) -> Any:
    """Reads images between their pixels.

    Args:
        images: `(n, h, w)` float32.
        rows: `(n, r, c)` float32, the places to read, in pixels below the first one's centre.
        columns: `(n, r, c)` float32, to the right of it.
        fill: the value outside.

    Returns:
        `(n, r, c)` float32.
    """
    height, width = images.shape[1:]
    stride = width + 2
    # A border of `fill` on each side; what lies further out is read from there.
    padded = keras.ops.pad(images, [(0, 0), (1, 1), (1, 1)], constant_values=fill)
    rows = keras.ops.clip(rows + 1.0, 0.0, height + 1.0)
    columns = keras.ops.clip(columns + 1.0, 0.0, width + 1.0)
    top = keras.ops.minimum(keras.ops.floor(rows), height)
    left = keras.ops.minimum(keras.ops.floor(columns), width)
    down, right = rows - top, columns - left
    start = keras.ops.arange(keras.ops.shape(images)[0], dtype="int32")[:, None, None] * ((height + 2) * stride)
    corner = start + keras.ops.cast(top * stride + left, "int32")
    pixels = keras.ops.reshape(padded, (-1,))

    def read(offset: int) -> Any:
        return keras.ops.take(pixels, corner + offset, axis=0)

    above = read(0) + right * (read(1) - read(0))
    below = read(stride) + right * (read(stride + 1) - read(stride))
    return above + down * (below - above)


def _check_shift(shift: float, room: int) -> None:
    if shift >= room:
        raise ParamsError(
            f"train.augmentation.shift: expected less than the {room} positions of a row, received {shift}."
        )


def _interpolation(side: int) -> np.ndarray:
    """Weights `(side, GRID)` float32 of the grid's points for each pixel."""
    place = np.linspace(0, GRID - 1, side, dtype=np.float32)[:, None]
    distance = np.abs(place - np.arange(GRID, dtype=np.float32)[None, :])
    # A raised cosine: no kinks at the points, and the weights of two neighbours add up to 1.
    return np.where(distance < 1, 0.5 + 0.5 * np.cos(np.pi * distance), 0.0).astype(np.float32)
