"""MNIST: 70,000 handwritten digits, 28 x 28 grey pixels (LeCun, Cortes, Burges 1998)."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.idx import IMAGE_FILES, measure_archive, measure_idx, read_images
from pipeline.prepared import About
from pipeline.raw import FileSet, RawDataset, RemoteFile, parse_options
from pipeline.sections import Section

ARCHIVE = "mnist.npz"
KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
PYTORCH = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# MD5 of the four original files, unpacked; over arrays, the same bytes are their IDX encoding.
CONTENTS = {
    "x_train": "md5:6bbc9ace898e44ae57da46a324031adb",
    "y_train": "md5:a25bea736e30d166cdddb491f175f624",
    "x_test": "md5:2646ac647ad5339dbf082846283269ea",
    "y_test": "md5:27ae3e4e09519cfbb04c329615203637",
}
SIZES = {"x_train": 9_912_422, "y_train": 28_881, "x_test": 1_648_877, "y_test": 4_542}


class Options(Section):
    """MNIST has no options."""


def remote_files(options: Mapping[str, Any]) -> tuple[FileSet, ...]:
    """The archive of `keras.datasets`, or else the four IDX files."""
    parse_options(Options, options)
    measure_arrays = functools.partial(measure_archive, algorithm="md5")
    measure_file = functools.partial(measure_idx, algorithm="md5")
    archive = RemoteFile(ARCHIVE, (KERAS + ARCHIVE,), ARCHIVE, 11_490_434, CONTENTS, measure_arrays)
    idx_files = tuple(
        RemoteFile(name, (PYTORCH + name,), f"mnist/{name}", SIZES[part], {name: CONTENTS[part]}, measure_file)
        for part, name in IMAGE_FILES.items()
    )
    return (FileSet((archive,)), FileSet(idx_files))


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Reads either container.

    Args:
        folder: holds `mnist.npz` or the four IDX files.
        options: none are known.

    Returns:
        60,000 training rows, then the 10,000 of the published test set: `x` uint8 `(n, 28, 28)` in 0-255, 255 is ink.

    Raises:
        DataError: the files are missing or broken.

    Source:
        http://yann.lecun.com/exdb/mnist/
    """
    parse_options(Options, options)
    arrays = read_images(folder, ARCHIVE)
    return RawDataset(
        task="multiclass",
        input_kind="image",
        x=np.concatenate([arrays["x_train"], arrays["x_test"]]),
        y=np.concatenate([arrays["y_train"], arrays["y_test"]]).astype(np.int64),
        source="MNIST (LeCun, Cortes, Burges 1998), http://yann.lecun.com/exdb/mnist/",
        labels=tuple("0123456789"),
        input_range=(0.0, 255.0),
        target_name="digit",
        published_test=np.repeat([False, True], [len(arrays["y_train"]), len(arrays["y_test"])]),
        about=About(
            intended_use="Reading single handwritten digits, one to a picture and centred in it.",
            out_of_scope="Several digits in one picture; a picture of anything else is called a digit, too.",
            caveats=("Ink is 255 and paper 0: dark ink on white paper must be inverted first.",),
        ),
    )
