"""Trains one network with several worker processes on this machine, which are started again when one is lost.

On several machines, each runs `python -m pipeline.train` itself, with TF_CONFIG in its environment.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.distribution_loopback import supervise_workers
from pipeline.errors import PipelineError
from pipeline.params import Params, load_params

INTERRUPTED = 128 + signal.SIGINT
"""What a shell says of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = _build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        params = load_params(arguments.params)
        with tempfile.TemporaryDirectory(prefix="kiln-workers-") as folder:
            file = _save_distributed(params, arguments.name, arguments.params, Path(folder))
            command = [sys.executable, "-m", "pipeline.train", "--model", arguments.name]
            command += ["--params", str(file), "--root", str(arguments.root)]
            return supervise_workers(command, arguments.workers, arguments.restarts, Path(folder))
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.status
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on after the last finished epoch.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train one network with several worker processes on this machine.")
    parser.add_argument("--model", required=True, dest="name", help="a model of the parameter file")
    parser.add_argument("--workers", type=_at_least(1), default=2, help="how many worker processes (2)")
    parser.add_argument(
        "--restarts", type=_at_least(0), default=3, help="how often to start all again after a loss (3)"
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameter file (params.yaml)")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds data/ and reports/ (.)")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least}, received {text!r}")
        return int(text)

    return count


def _save_distributed(params: Params, name: str, file: Path, folder: Path) -> Path:
    """A parameter file in which the model has `distribute: multi_worker`: the given one, or a copy."""
    if params.trained(name).train.distribute == "multi_worker":
        return file
    document = params.model_dump(mode="json")
    section = "models" if name in params.models else "comparisons"
    document[section][name]["train"]["distribute"] = "multi_worker"
    copy = folder / "params.yaml"
    # JSON is YAML, too.
    copy.write_text(json.dumps(document), encoding="utf-8")
    return copy


if __name__ == "__main__":
    sys.exit(main())
