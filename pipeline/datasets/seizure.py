"""Epileptic seizures: segments of the Bonn EEG recordings (Andrzejak et al. 2001)."""

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.idx import idx_digest
from pipeline.prepared import About, Feature
from pipeline.raw import FileSet, RawDataset, RemoteFile, parse_options
from pipeline.sections import Section

RECORDINGS_PER_SET = 100
SAMPLES_PER_RECORDING = 4_097
SEGMENT_SAMPLES = 178
SEGMENTS_PER_RECORDING = SAMPLES_PER_RECORDING // SEGMENT_SAMPLES
SEIZURE_SET = "S"
BONN = "https://www.ukbonn.de/site/assets/files/"
BARCELONA = "https://www.upf.edu/documents/229517819/234490509/"
# By set: the paths at Bonn and at Barcelona, where the data moved with its author; and bytes.
SETS = {
    "Z": ("21874/z.zip", "Z.zip/9c4a0084-c0d6-3cf6-fe48-8a8767713e67", 539_154),
    "O": ("21872/o.zip", "O.zip/f324f98f-1ade-e912-b89d-e313ac362b6a", 590_175),
    "N": ("21871/n.zip", "N.zip/d4f08e2d-3b27-1a6a-20fe-96dcf644902b", 531_384),
    "F": ("21870/f.zip", "F.zip/8219dcdd-d184-0474-e0e9-1ccbba43aaee", 540_381),
    "S": ("21875/s.zip", "S.zip/7647d3f7-c6bb-6d72-57f7-8f12972896a6", 736_650),
}
# By set: SHA-256 over the IDX encoding of the recordings as one int16 array (100, 4097), ordered by file name.
CONTENTS = {
    "Z": "sha256:6d8f06eb946fcd4aafa2de64eff900f0513f5e5e6a576b7ebdde164f501da0a2",
    "O": "sha256:67e9ad76b5b550c0ede5125815a85285ed89e21fd81dd50f0218ce7efa50ca64",
    "N": "sha256:a7fef9e5c44b3559d9d938f280b20f029390916e9b1472c0179433284f9c2104",
    "F": "sha256:2b39e92fc881ede20795c9d82ac052783068fe579e31806c6bbadd81670585c1",
    "S": "sha256:23b88718a7d48533163ddaa10ad314853be0c1b78738583a6424b6b5f72afea2",
}

ABOUT = About(
    intended_use="Telling segments of one second that were recorded during a seizure from others, for study.",
    out_of_scope="Diagnosis, alarms and any other use with patients: the recordings were chosen, and those with "
    "artefacts left out.",
    ethical_considerations="A missed seizure and a false alarm do not harm alike, and the operating point does not "
    "weigh one against the other. Nothing is published of the single people, so figures by group cannot be given.",
    caveats=(
        "Which recordings come from the same person was never published, so one person may stand on two sides.",
        "Sets Z and O were recorded from the scalps of volunteers, N, F and S inside the skulls of patients: some "
        "segments can be told apart by that.",
        "One in five segments is of a seizure, far more than in any ward.",
    ),
)


class Options(Section):
    """The seizure data have no options."""


def remote_files(options: Mapping[str, Any]) -> tuple[FileSet, ...]:
    """The five archives of the recordings."""
    parse_options(Options, options)
    files = (
        RemoteFile(
            name=f"{name}.zip",
            addresses=(BONN + bonn, BARCELONA + barcelona),
            mirror_name=f"bonn-eeg/{name}.zip",
            size=size,
            contents={name: CONTENTS[name]},
            measure=_measure,
        )
        for name, (bonn, barcelona, size) in SETS.items()
    )
    return (FileSet(tuple(files)),)


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Cuts each recording of 23.6 s (173.61 Hz) into 23 segments; segment k is samples 178k to 178k + 177.

    The grouping `recording` keeps the segments of one recording together. Which recordings come from the same person
    was never published, so even that split may have one person on two sides.

    Args:
        folder: holds `Z.zip`, `O.zip`, `N.zip`, `F.zip` and `S.zip`.
        options: none are known.

    Returns:
        11,500 rows, in the order of sets, recordings and time: `x` float32 `(n, 178)`, counts of the 12-bit converter;
        `y` 1 for set S, which was recorded during seizures, and 0 for the others.

    Raises:
        DataError: an archive is missing or broken.

    Source:
        R. G. Andrzejak, K. Lehnertz, F. Mormann, C. Rieke, P. David, C. E. Elger (2001), Indications of nonlinear
        deterministic and finite-dimensional structures in time series of brain electrical activity, Phys. Rev. E 64.
    """
    parse_options(Options, options)
    recordings = np.concatenate([read_recordings(folder / f"{name}.zip") for name in SETS])
    used = recordings[:, : SEGMENTS_PER_RECORDING * SEGMENT_SAMPLES]
    set_of_recording = np.repeat(np.arange(len(SETS)), RECORDINGS_PER_SET)
    set_of_row = np.repeat(set_of_recording, SEGMENTS_PER_RECORDING)
    return RawDataset(
        task="binary",
        input_kind="features",
        x=used.reshape(-1, SEGMENT_SAMPLES).astype(np.float32),
        y=(set_of_row == list(SETS).index(SEIZURE_SET)).astype(np.int64),
        source="Bonn EEG time series (Andrzejak et al. 2001), sets Z, O, N, F and S",
        labels=("no seizure", "seizure"),
        features=tuple(Feature(f"sample_{index:03}", "ADC count") for index in range(1, SEGMENT_SAMPLES + 1)),
        target_name="activity",
        groups={"recording": np.repeat(np.arange(len(recordings)), SEGMENTS_PER_RECORDING)},
        strata=set_of_row,
        is_signal=True,
        about=ABOUT,
    )


def read_recordings(path: Path) -> np.ndarray:
    """The recordings of one set.

    Args:
        path: a zip archive of 100 text files, one integer a line.

    Returns:
        int16 `(100, 4097)`, ordered by file name.

    Raises:
        DataError: the archive is missing or broken, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(
                (name for name in archive.namelist() if re.search(r"(^|/)[A-Z]\d+\.txt$", name, re.IGNORECASE)),
                key=lambda name: name.rsplit("/")[-1].upper(),
            )
            rows = [np.array(archive.read(name).split(), dtype=np.int16) for name in names]
    except (OSError, ValueError, OverflowError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} is not an archive of recordings: {error}.") from None
    lengths = sorted({len(row) for row in rows})
    if len(rows) != RECORDINGS_PER_SET or lengths != [SAMPLES_PER_RECORDING]:
        raise DataError(
            f"{path.name} should hold {RECORDINGS_PER_SET} recordings of {SAMPLES_PER_RECORDING:,} samples, "
            f"received {len(rows)} of {lengths} samples."
        )
    return np.stack(rows)


def _measure(path: Path) -> dict[str, str]:
    return {path.stem: idx_digest(read_recordings(path))}
