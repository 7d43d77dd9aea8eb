"""The lines that a person sees when the service is ready: what is served where, and a request to paste."""

import json
import shlex
import sys
from typing import Any

from service.engine.repository import Repository
from service.engine.sources.files import escape
from service.settings import Settings


def announce(settings: Settings, repository: Repository) -> None:
    """Writes the lines to standard output."""
    sys.stdout.write("\n".join(describe(settings, repository)) + "\n")
    sys.stdout.flush()


def describe(settings: Settings, repository: Repository) -> list[str]:
    """The lines."""
    models = repository.list_models()
    served = [model for model in models if model["signatures"]]
    lines = [f"Not served: {escape(reason)}" for reason in list_reasons(repository, models)]
    if not served:
        return [*lines, f"Kiln listens on {settings.address} without a model to serve."]
    names = ", ".join(model["name"] for model in served)
    lines.append(f"Kiln serves {escape(names)} on {settings.address}")
    commands = [command for model in served if (command := example_command(settings.address, model))]
    if commands:
        # A label says more to a person than a number; a line that fits a screen is easier to paste.
        chosen = min(commands, key=lambda command: ('"classify"' not in command, len(command)))
        lines += ["Try it:", "", f"  {chosen}", ""]
    return [*lines, f"{'Or open' if commands else 'Open'} {settings.address}/ in a browser."]


def list_reasons(repository: Repository, models: list[dict[str, Any]]) -> list[str]:
    """What is not served, and why: what readiness waits for, versions that failed, entries that are no models."""
    failed = {
        f"{model['name']} version {version['version']}": version["status"]["error_message"]
        for model in models
        for version in model["versions"]
        if version["status"]["error_message"]
    }
    reasons = repository.pending() | failed | repository.problems()
    return [f"{name}: {sentence}" if name else sentence for name, sentence in reasons.items()]


def example_command(address: str, model: dict[str, Any]) -> str | None:
    """A complete request for the shell, made from the example in `model.json`; None without one."""
    example = model.get("example")
    if not isinstance(example, dict) or not isinstance(example.get("instances"), list):
        return None
    signature = example.get("signature_name", "serving_default")
    if "classify" in model["signatures"] and signature == "serving_default":
        signature = "classify"
    body = {"signature_name": signature, "instances": shorten(example["instances"])}
    text = json.dumps(body, separators=(",", ":"))
    target = f"{address}/v1/models/{model['name']}:predict"
    return f"curl {shlex.quote(target)} -d {shlex.quote(text)}"


def shorten(value: Any) -> Any:
    """The same numbers with whole ones written without a point."""
    if isinstance(value, list):
        return [shorten(item) for item in value]
    if isinstance(value, dict):
        return {key: shorten(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
