"""The command line that the stages share."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params import Params, load_params


def run_stage(subject: str, work: Callable[[str, Params, Path], None], argv: Sequence[str] | None) -> int:
    """Reads the arguments and the parameter file, and does the work.

    Args:
        subject: `dataset` or `model`; the option that names one is called so.
        work: called with the name, the parameters and the project's folder.
        argv: the arguments behind the program's name; None for those of the process.

    Returns:
        The exit status: 0, or the error's after a sentence on standard error.
    """
    parser = argparse.ArgumentParser(description=f"One stage of the pipeline for one {subject}.")
    parser.add_argument(f"--{subject}", required=True, dest="name", help=f"a {subject} of the parameter file")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameter file (params.yaml)")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds data/ and reports/ (.)")
    arguments = parser.parse_args(argv)
    try:
        work(arguments.name, load_params(arguments.params), arguments.root)
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.status
    return 0
