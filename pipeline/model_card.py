"""A model card: what a model is, for what, measured how, and where it fails.

Every sentence is made from what the run measured or the data set's module says; what nobody wrote down is not made up.

Source:
    Mitchell et al., Model Cards for Model Reporting, 2019: sections and their order.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.card_figures import describe_inputs, figure_table, slice_table
from pipeline.card_request import compose_request

PICTURES = {
    "confusion_matrix.png": "confusion matrix",
    "roc.png": "ROC curve",
    "precision_recall.png": "precision-recall curve",
    "calibration.png": "calibration",
    "predicted_against_actual.png": "predicted against actual",
    "histograms.png": "histograms of actual and predicted",
    "worst_mistakes.png": "worst mistakes",
}
NOT_STATED = "Not stated."
GROUPS = {"duplicates": "rows with the same input"}


def compose_card(
    manifest: Mapping[str, Any], profile: Mapping[str, Any], pictures: Sequence[str] = (), is_served: bool = True
) -> str:
    """The card as Markdown.

    Args:
        manifest: what `model.json` holds; of a published version with `git_commit` and `created`.
        profile: of the training rows.
        pictures: files in `evaluation` beside the card, to be shown; of a published version none.
        is_served: whether the model is published.

    Returns:
        The text.
    """
    sections = {
        "Model details": _details(manifest),
        "Intended use": _intended_use(manifest, is_served),
        "Factors": _factors(manifest),
        "Metrics": _metrics(manifest),
        "Evaluation data": _evaluation_data(manifest),
        "Training data": _training_data(manifest, profile),
        "Quantitative analyses": _analyses(manifest, pictures),
        "Ethical considerations": [manifest["data"]["about"]["ethical_considerations"] or NOT_STATED],
        "Caveats and recommendations": [f"- {caveat}" for caveat in _caveats(manifest)],
    }
    lines = [f"# {manifest['name']}", "", _summary(manifest), ""]
    if manifest["data"]["partial"]:
        lines += [f"**Partial data: {manifest['data']['partial']}. Every figure below is made from it.**", ""]
    for title, content in sections.items():
        lines += [f"## {title}", "", *content, ""]
    return "\n".join(lines)


def _summary(manifest: Mapping[str, Any]) -> str:
    data, target = manifest["data"], manifest["target"]
    of = "images" if manifest["input"]["kind"] == "image" else f"{manifest['input']['shape'][0]} columns"
    answer = f"{target['name']} in {target['unit']}" if target["unit"] else target["name"]
    classes = f", one of {len(manifest['labels'])} classes" if manifest["labels"] else ""
    return f"Model card: predicts {answer}{classes}, from {of} of `{data['name']}` ({data['source']})."


def _details(manifest: Mapping[str, Any]) -> list[str]:
    params, training = manifest["params"], manifest["training"]
    lines = [
        f"- Network: {training['network']}; {training['parameters']:,} parameters.",
        f"- Training: {training['settings']}.",
        f"- Kept: epoch {training['best_epoch']} of {training['epochs']}, the best by {params['train']['checkpoint']}.",
        f"- Made in {training['seconds']:.0f} s with seed {params['seed']} by Keras {training['keras']} on "
        f"{training['backend']} ({', '.join(training['devices'])}).",
        f"- Parameters: SHA-256 {params_digest(params)}; rows: SHA-256 {manifest['data']['checksum'][:16]}.",
    ]
    if manifest.get("created"):
        lines.append(f"- Published {manifest['created']} from commit {manifest['git_commit'] or 'unknown'}.")
    return lines


def params_digest(params: Mapping[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a model's parameters, keys in order."""
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:16]


def _intended_use(manifest: Mapping[str, Any], is_served: bool) -> list[str]:
    about = manifest["data"]["about"]
    lines = [
        f"- Intended: {about['intended_use'] or NOT_STATED}",
        f"- Out of scope: {about['out_of_scope'] or NOT_STATED}",
        "",
    ]
    if not is_served:
        return [*lines, "Trained for its figures only; it is not published."]
    return [*lines, "A request for one row, where the service runs:", "", *compose_request(manifest)]


def _factors(manifest: Mapping[str, Any]) -> list[str]:
    by = "by class" if manifest["labels"] else "by fifths of the target"
    kept = manifest["data"]["dealt"].get("keep_together")
    known = f" Rows are known to belong together by {kept}." if kept and kept not in GROUPS else ""
    return [f"Figures are given {by}, below.{known}"]


def _metrics(manifest: Mapping[str, Any]) -> list[str]:
    calibration = manifest["metrics"].get("calibration")
    if manifest["task"] == "regression":
        return [
            "The trivial baseline answers the training mean (MAE: the training median). Standardized: in standard "
            "deviations of the training rows' target. Baselines are measured on the test rows."
        ]
    lines = [
        "The trivial baseline answers the training rows' shares of the classes; baselines are measured on test rows."
    ]
    point = manifest["operating_point"]
    if point:
        positive = manifest["labels"][1]
        lines.append(
            f"Precision, recall and F1 are those of `{positive}`, at the operating point that makes "
            f"{point['maximizes']} greatest on {point['chosen_on']}: a row is called `{positive}` from a probability "
            f"of {point['threshold']:.4g} on."
        )
    else:
        lines.append("Precision, recall, F1 and ROC AUC are unweighted means over the classes.")
    if calibration:
        lines.append(
            f"Probabilities are calibrated by one temperature, {calibration['temperature']:.4g}, fitted on the "
            "validation rows."
        )
    return [" ".join(lines)]


def _evaluation_data(manifest: Mapping[str, Any]) -> list[str]:
    data = manifest["data"]
    how = data["dealt"]
    dealt = (
        "the published test set" if how.get("test") == "published" else f"drawn at random with seed {how.get('seed')}"
    )
    kept = how.get("keep_together")
    together = f"; {GROUPS.get(kept, f'rows of one {kept}')} stand on one side" if kept else ""
    return [
        f"{data['counts'].get('test', 0):,} rows of `{data['name']}`, split `{data['split']}`: {dealt}{together}. They "
        "were read once, after everything was chosen."
    ]


def _training_data(manifest: Mapping[str, Any], profile: Mapping[str, Any]) -> list[str]:
    counts = manifest["data"]["counts"]
    return [
        f"{counts.get('train', 0):,} rows to learn from and {counts.get('validation', 0):,} validation rows to choose "
        f"by, of {manifest['data']['source']}.",
        "",
        *describe_inputs(manifest, profile),
    ]


def _analyses(manifest: Mapping[str, Any], pictures: Sequence[str]) -> list[str]:
    lines = figure_table(manifest)
    calibration = manifest["metrics"].get("calibration")
    if calibration:
        lines += ["", "| test rows | before calibration | after |", "|---|---:|---:|"]
        before, after = calibration["test_before"], calibration["test_after"]
        lines += [f"| {key.replace('_', ' ')} ↓ | {before[key]:.4g} | {after[key]:.4g} |" for key in before]
    lines += ["", *slice_table(manifest)]
    shown = [f"![{text}](evaluation/{picture})" for picture, text in PICTURES.items() if picture in pictures]
    return [*lines, "", *shown] if shown else lines


def _caveats(manifest: Mapping[str, Any]) -> list[str]:
    data = manifest["data"]
    caveats = list(data["about"]["caveats"])
    if data["partial"]:
        caveats.append(f"The data are partial: {data['partial']}.")
    twins = data["dealt"].get("identical_inputs_on_two_sides", 0)
    if twins:
        caveats.append(
            f"{twins:,} of the validation and test rows have an input that stands in another part, too: figures may "
            "flatter the model."
        )
    chosen = ["epoch"]
    chosen += ["temperature"] if "calibration" in manifest["metrics"] else []
    chosen += ["operating point"] if manifest["operating_point"] else []
    caveats.append(
        f"The validation rows chose {' and '.join(chosen)}, so their figures flatter the model; test figures do not."
    )
    caveats.append("Inputs outside the ranges above were never seen in training.")
    return caveats
