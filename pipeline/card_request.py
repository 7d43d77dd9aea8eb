"""The request in a model card: one row for the service, as a command line."""

import json
from collections.abc import Mapping
from typing import Any

SPELLED_COLUMNS = 32
"""Rows with more columns, signals for example, are given as a file."""


def compose_request(manifest: Mapping[str, Any]) -> list[str]:
    """A command that asks for one prediction.

    Args:
        manifest: what `model.json` holds.

    Returns:
        A block of Markdown, line by line.
    """
    address = f"http://127.0.0.1:8080/v1/models/{manifest['name']}:predict"
    if manifest["input"]["kind"] == "image":
        body = '{"signature_name": "image_bytes", "instances": [{"b64": "\'$(base64 -w0 picture.png)\'"}]}'
        return ["```", f"echo '{body}' |", f"  curl {address} -d @-", "```"]
    features, example = manifest["features"], manifest.get("example")
    if example is None or len(features) > SPELLED_COLUMNS:
        shape = f"[[{', '.join(feature['name'] for feature in features[:2])}, ... {len(features)} numbers]]"
        return ["```", f"curl {address} -d @rows.json", "```", "", f'where rows.json holds `{{"instances": {shape}}}`.']
    names = [feature["name"] for feature in features]
    instance = dict(zip(names, example["instances"][0], strict=True))
    body = json.dumps({"signature_name": "named_features", "instances": [instance]}, ensure_ascii=False)
    return [
        "```",
        f"curl {address} -d '{body}'",
        "```",
        "",
        f"The true answer for this test row is {example['expected']}.",
    ]
