"""The `train.augmentation` block of a model in `params.yaml`: by how much training rows are changed, at most."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.sections import Fraction, Section

Amount = Annotated[float, Field(ge=0)]
Degrees = Annotated[float, Field(ge=0, le=180)]


class ImageAugmentationParams(Section):
    """Images: each one is moved, turned, stretched and bent; what comes in from outside is background."""

    kind: Literal["image"]
    shift: Amount = 0.0
    """Pixels, along each side."""
    rotation_degrees: Degrees = 0.0
    shear_degrees: Annotated[float, Field(ge=0, lt=90)] = 0.0
    zoom: Fraction = 0.0
    """Share of the size, along each side on its own."""
    elastic: Amount = 0.0
    """Standard deviation, in pixels, of the smooth displacements of an elastic deformation."""
    flip_horizontal: bool = False
    """Mirror half of the images: for things, not for characters."""


class SignalAugmentationParams(Section):
    """Signals, one per row, in which a column is a moment: not for columns that mean different things."""

    kind: Literal["signal"]
    shift: Amount = 0.0
    """Samples; the end that comes free is filled with the signal's mirror image."""
    amplitude: Amount = 0.0
    """0.2 multiplies by a factor between 1 / 1.2 and 1.2."""
    noise: Amount = 0.0
    """Standard deviation of added normal noise, as a share of the signal's own."""
    flip_sign: bool = False
    """Turn half of the signals upside down."""
    reverse: bool = False
    """Turn half of the signals round in time."""


AugmentationParams = Annotated[ImageAugmentationParams | SignalAugmentationParams, Field(discriminator="kind")]
