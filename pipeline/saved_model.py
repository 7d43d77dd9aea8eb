"""A trained network as a SavedModel, checked against the Keras model before it appears."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.errors import ExportError
from pipeline.folders import whole_folder
from pipeline.independence import check_rows_independent
from pipeline.inputs import signature_inputs
from pipeline.manifest import Findings, choose_example, compose_manifest
from pipeline.operating_point import decide
from pipeline.params import ModelParams
from pipeline.parity import Reference, check_signatures, check_warmup
from pipeline.prepared import Prepared, load_prepared, load_report, write_json
from pipeline.signatures import Signatures, load_signatures, save_signatures
from pipeline.trained import load_model
from pipeline.warmup import FILE_NAME, Request, save_requests

CHECKED_ROWS = (0, 1, 37)
WARMUP_ROWS = (1, 2, 4, 8, 16, 32)


def write_saved_model(name: str, block: ModelParams, root: Path) -> None:
    """Writes `exports/<name>/`, whole or not at all.

    Args:
        name: of the model.
        block: its parameters.
        root: the project's folder.

    Raises:
        DataError: the prepared rows, the trained model or its figures are missing.
        ExportError: the reloaded SavedModel does not give the Keras model's numbers.
    """
    # The graph must not depend on the machine that writes it, and a GPU's rounding is not within the tolerance.
    tf.config.set_visible_devices([], "GPU")
    folder = root / "data" / "prepared" / block.dataset
    prepared = load_prepared(folder, block.split)
    findings = _load_findings(root / "reports" / name)
    threshold = findings.metrics["operating_point"]["threshold"] if prepared.description.task == "binary" else None
    reference = Reference(_load_tensorflow_model(root / "runs" / name / "model.keras"), prepared.description, threshold)
    guesses = None if prepared.description.task == "regression" else _guesses(reference, prepared.test.x)
    example = choose_example(prepared.test, guesses, prepared.description)
    manifest = compose_manifest(name, block, prepared.description, findings, example)
    manifest["versions"] = {"keras": keras.__version__, "tensorflow": tf.__version__}
    with whole_folder(root / "exports" / name) as building:
        save_signatures(Signatures(reference.model, prepared.description, threshold), building)
        extra = building / "assets.extra"
        save_requests(name, _warmup_requests(prepared), extra / FILE_NAME)
        shutil.copyfile(folder / block.split / "profile.json", extra / "profile.json")
        reloaded = load_signatures(building)
        for rows in CHECKED_ROWS:
            check_signatures(reloaded, reference, prepared.test.x[:rows])
        check_warmup(reloaded, extra / FILE_NAME)
        independence = check_rows_independent(reloaded, prepared.description, threshold, prepared.validation.x)
        write_json(manifest | {"independent_rows": independence.proven}, extra / "model.json")
    print(f"exports/{name}: {', '.join(sorted(reloaded))} give the Keras model's numbers")  # noqa: T201
    for signature, problem in independence.problems.items():
        print(f"exports/{name}: {signature} must not be batched: {problem}")  # noqa: T201


def _load_findings(folder: Path) -> Findings:
    return Findings(
        training=load_report(folder / "training" / "training.json", "train"),
        metrics=load_report(folder / "metrics.json", "evaluate"),
        slices=load_report(folder / "evaluation" / "slices.json", "evaluate"),
    )


def _load_tensorflow_model(path: Path) -> keras.Model:
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Keras runs on {keras.backend.backend()!r}, but a SavedModel holds TensorFlow's operations. "
            "Set KERAS_BACKEND=tensorflow for this stage; it reads models that another backend trained."
        )
    return load_model(path)


def _guesses(reference: Reference, rows: np.ndarray) -> np.ndarray:
    outputs = np.concatenate([reference.outputs(part) for part in np.array_split(rows, max(1, len(rows) // 1024))])
    return decide(outputs, reference.threshold)


def _warmup_requests(prepared: Prepared) -> Iterator[Request]:
    for rows in WARMUP_ROWS:
        for name, arrays in signature_inputs(prepared.description, prepared.train.x[:rows]).items():
            yield Request(name, arrays)
