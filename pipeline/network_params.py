"""The `network` block of a model in `params.yaml`: one class per architecture."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.sections import Count, Fraction, Penalty, Section

Activation = Literal["relu", "softplus", "elu", "selu", "sigmoid", "tanh", "linear", "softmax"]
Initializer = Literal[
    "glorot_uniform", "he_normal", "he_uniform", "orthogonal", "random_uniform", "random_normal", "zeros", "constant"
]


class LayerParams(Section):
    """What every architecture shares: how a hidden layer is activated, started and regularized."""

    activation: Activation = "relu"
    kernel_initializer: Initializer = "glorot_uniform"
    dropout: Fraction = 0.0
    l1: Penalty = 0.0
    """Weight of the L1 penalty on kernels; with `l2` as well it is the elastic net."""
    l2: Penalty = 0.0
    input_scaling: Literal["unit_range", "standardize", "none"] = "unit_range"
    """`unit_range`: divide by the largest raw value; `standardize`: training mean 0 and deviation 1 per feature."""
    members: Count = 1
    """So many networks of this shape are trained side by side, and their answers are averaged."""


class MlpParams(LayerParams):
    """A multilayer perceptron; no `units` at all is softmax (or linear) regression."""

    architecture: Literal["mlp"]
    units: tuple[Count, ...]
    bins: Annotated[int, Field(ge=0)] = 0
    """Give the network each column in so many bins of equal rows, too, to bend its answer at their edges; 0: no."""
    batch_normalization: bool = False
    """Normalize what each hidden layer gives, before its activation."""


class CnnParams(LayerParams):
    """Blocks of convolutions with a downsampling between them, then dense layers where wanted, then the output."""

    architecture: Literal["cnn"]
    filters: Annotated[tuple[Count, ...], Field(min_length=1)]
    """One entry per block."""
    convolutions_per_block: Count = 1
    kernel_size: Count = 3
    padding: Literal["valid", "same"] = "valid"
    """`same` keeps the number of positions; `valid` loses `kernel_size - 1` in each convolution."""
    downsampling: Literal["max_pooling", "average_pooling", "strided_convolution"] = "max_pooling"
    """What stands between blocks and makes `pool_size` positions one; the convolution has the block's filters."""
    pool_size: Count = 2
    downsample_last: bool = False
    """Downsample after the last block, too."""
    global_pooling: Literal["none", "average", "max"] = "none"
    """Over all positions, before the dense layers; `none` takes each position as an input of its own."""
    dense_units: tuple[Count, ...] = ()
    batch_normalization: bool = False
    """Normalize what each convolution and dense layer gives, before its activation."""
    block_dropout: Fraction = 0.0
    """Between blocks; `dropout` acts behind the last block and behind each dense layer."""


class RnnParams(LayerParams):
    """Recurrent layers over the rows of an image, or over the samples of a signal."""

    architecture: Literal["rnn"]
    cell: Literal["simple_rnn", "lstm", "gru"] = "simple_rnn"
    units: Annotated[tuple[Count, ...], Field(min_length=1)]
    """One entry per stacked layer."""
    bidirectional: bool = False
    activation: Activation = "tanh"


NetworkParams = Annotated[MlpParams | CnnParams | RnnParams, Field(discriminator="architecture")]
