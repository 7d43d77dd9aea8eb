"""Fashion-MNIST: 70,000 pictures of clothing, 28 x 28 grey pixels (Xiao, Rasul, Vollgraf 2017)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.idx import IMAGE_FILES, measure_archive, read_images
from pipeline.prepared import About
from pipeline.raw import FileSet, RawDataset, RemoteFile, file_digest, parse_options
from pipeline.sections import Section

HOMES = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
# MD5 and size of the packed files, as the project's own page lists them.
PACKED = {
    "x_train": ("md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
    "y_train": ("md5:25c81989df183df01b3e8a0aad5dffbe", 29_515),
    "x_test": ("md5:bef4ecab320f06d8554ea6380940ec79", 4_422_102),
    "y_test": ("md5:bb300cfdad3c16e7a12a480ee83cd310", 5_148),
}
WHOLE_COUNTS = (60_000, 10_000)
PARTIAL_ARCHIVE = "fashion_mnist_partial.npz"
# SHA-256 over the IDX encodings of the first 3,614 training and 4,442 test images and of their labels.
PARTIAL_CONTENTS = {
    "x_train": "sha256:be7be3bd830e7b817f4c8489b28163a42b5f510d3a94d9b1eb9f7b40801f48db",
    "y_train": "sha256:cdb263e8c5b63ee8190d47eaa2812f2f03a462f1fc74957585daf11b46ad8b97",
    "x_test": "sha256:f9747364a4251dd1ecf302ad171ccb89dbb58d3647fc89ae720dfd360cd8e2b5",
    "y_test": "sha256:8ce9358dec3c3769543756cfaa148fc540a574bb2cb4c122db93872c9f6296ad",
}
LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class Options(Section):
    """What `datasets.fashion_mnist.options` may hold."""

    allow_partial: bool = False
    """Whether the first images alone will do where a mirror has no more than `fashion_mnist_partial.npz`."""


def remote_files(options: Mapping[str, Any]) -> tuple[FileSet, ...]:
    """The four IDX files; where `allow_partial` says so, else the partial archive, which only a mirror can have."""
    allow_partial = parse_options(Options, options).allow_partial
    whole = FileSet(tuple(_packed_file(part, name) for part, name in IMAGE_FILES.items()))
    archive = RemoteFile(PARTIAL_ARCHIVE, (), PARTIAL_ARCHIVE, 3_546_889, PARTIAL_CONTENTS, measure_archive)
    return (whole, FileSet((archive,), partial=_partial_sentence(3_614, 4_442))) if allow_partial else (whole,)


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Reads the four IDX files or the partial archive.

    Args:
        folder: holds one or the other.
        options: see `Options`.

    Returns:
        Training rows, then those of the published test set: `x` uint8 `(n, 28, 28)` in 0-255, 0 is background.

    Raises:
        DataError: the files are missing or broken, or hold fewer images than the whole set without `allow_partial`.

    Source:
        https://github.com/zalandoresearch/fashion-mnist
    """
    allow_partial = parse_options(Options, options).allow_partial
    arrays = read_images(folder, PARTIAL_ARCHIVE)
    counts = (len(arrays["y_train"]), len(arrays["y_test"]))
    partial = "" if counts == WHOLE_COUNTS else _partial_sentence(*counts)
    if partial and not allow_partial:
        raise DataError(f"There are {partial}. To use them, set datasets.fashion_mnist.options.allow_partial to true.")
    return RawDataset(
        task="multiclass",
        input_kind="image",
        x=np.concatenate([arrays["x_train"], arrays["x_test"]]),
        y=np.concatenate([arrays["y_train"], arrays["y_test"]]).astype(np.int64),
        source="Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), https://github.com/zalandoresearch/fashion-mnist",
        labels=LABELS,
        input_range=(0.0, 255.0),
        target_name="clothing",
        partial=partial,
        published_test=np.repeat([False, True], counts),
        about=About(
            intended_use="Naming a piece of clothing in a picture of a shop, one to a picture and upright.",
            out_of_scope="Clothing that is worn; a picture of anything else is called a piece of clothing, too.",
            caveats=("Background is 0: a picture on white ground must be inverted first.",),
        ),
    )


def _packed_file(part: str, name: str) -> RemoteFile:
    digest, size = PACKED[part]
    addresses = tuple(home + name for home in HOMES)
    return RemoteFile(name, addresses, f"fashion-mnist/{name}", size, {name: digest}, _measure_packed)


def _measure_packed(path: Path) -> dict[str, str]:
    return {path.name: file_digest(path, "md5")}


def _partial_sentence(train: int, test: int) -> str:
    whole_train, whole_test = WHOLE_COUNTS
    return f"only the first {train:,} of {whole_train:,} training and {test:,} of {whole_test:,} test images"
