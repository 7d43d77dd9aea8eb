"""The evaluate stage: a trained network in figures, beside what it must be better than.

The operating point is chosen on the validation rows; the test rows are predicted once.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.answers import measure
from pipeline.command import run_stage
from pipeline.folders import whole_folder
from pipeline.gallery import write_gallery
from pipeline.manifest import Findings, choose_example, compose_manifest
from pipeline.model_card import compose_card
from pipeline.params import Params
from pipeline.prepared import load_prepared, load_report, write_json
from pipeline.report import compose_plots
from pipeline.slices import measure_slices
from pipeline.trained import load_model


def evaluate(name: str, params: Params, root: Path) -> None:
    """Measures one model, or one network that is trained for comparison only.

    Args:
        name: of the model or the comparison.
        params: the checked parameters.
        root: the project's folder. Writes `metrics.json`, `evaluation/`, `README.md` and the plots file `dvc.yaml` to
            `reports/<name>/`.

    Raises:
        ParamsError: there is no such model.
        DataError: the prepared rows or the trained model are missing.
    """
    block = params.trained(name)
    reports = root / "reports" / name
    prepared = load_prepared(root / "data" / "prepared" / block.dataset, block.split)
    model = load_model(root / "runs" / name / "model.keras")
    test, metrics = measure(model, prepared, block.seed, block.evaluate.operating_point)
    training = load_report(reports / "training" / "training.json", "train")
    description, slices = prepared.description, measure_slices(test, prepared.description)
    with whole_folder(reports / "evaluation") as folder:
        columns = write_gallery(test, description, name, folder)
        write_json(slices, folder / "slices.json")
        pictures = [path.name for path in folder.glob("*.png")]
    example = choose_example(test.part, None if description.task == "regression" else test.guesses, description)
    manifest = compose_manifest(name, block, description, Findings(training, metrics, slices), example)
    card = compose_card(manifest, prepared.profile, pictures, is_served=name in params.models)
    # A file that DVC finds by its name cannot be the output of a stage; it depends on the model's name and task only.
    (reports / "dvc.yaml").write_text(compose_plots(name, description, columns), encoding="utf-8")
    (reports / "README.md").write_text(card, encoding="utf-8")
    write_json(metrics, reports / "metrics.json")
    shown = ", ".join(f"{key} {value:.4g}" for key, value in metrics["test"].items())
    print(f"{name} on {len(test.part.y)} test rows: {shown}{description.caveat}")  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Measures one network."""
    return run_stage("model", evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())
