"""Batch prediction: a published model's answers to a file or folder of rows, however large."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError, PipelineError
from pipeline.prediction_formats import choose_format
from pipeline.prediction_journal import Journal
from pipeline.prediction_rows import Reading, Source, chunk_rows
from pipeline.prediction_run import Run, score_all
from pipeline.prediction_scorer import BATCH_ROWS, LEAST_BATCH_ROWS, Scorer, default_signature, model_input
from pipeline.prediction_sources import open_source
from pipeline.releases import Release, find_release

INTERRUPTED = 130
"""The exit status that shells give a program that Ctrl-C ended."""


def predict(arguments: argparse.Namespace) -> None:
    """Scores an input, or goes on where a run of the same command was killed.

    Args:
        arguments: see `parse`.

    Raises:
        DataError: the model, the input or the output is not what it should be; the message says where.
    """
    release = find_release(arguments.repository, arguments.model, arguments.version)
    output_format = choose_format(arguments.output)
    wanted = model_input(release)
    batch_size = arguments.batch_size or BATCH_ROWS[wanted.kind]
    row_bytes = wanted.width * np.dtype(np.float64).itemsize
    delimiter = arguments.delimiter or ("\t" if arguments.input.suffix.lower() == ".tsv" else ",")
    reading = Reading(chunk_rows(batch_size, row_bytes), arguments.keep_inputs, delimiter)
    source = open_source(arguments.input, wanted, reading)
    pictures = arguments.input.is_dir()
    signature = arguments.signature or default_signature(release, pictures=pictures)
    if pictures != (signature == "image_bytes"):
        raise DataError(f"The signature {signature!r} does not take {'pictures' if pictures else 'rows of numbers'}.")
    begun_with = _describe(release, signature, reading, source, batch_size)
    journal = Journal(arguments.output, begun_with, overwrite=arguments.overwrite)
    try:
        _tell_start(source, journal)
        scorer = Scorer(release, signature, batch_size)
        skips = arguments.on_error == "skip"
        rate = score_all(Run(arguments.input.name, source, scorer, journal, output_format, skips))
        output_format.finish(journal.part, arguments.output)
        journal.clear()
    finally:
        journal.close()
    _tell_end(arguments.output, release, signature, journal, rate)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.predict", description=__doc__)
    parser.add_argument("--model", required=True, help="name in the model repository")
    parser.add_argument("--version", type=int, help="number of the published version (the newest)")
    parser.add_argument("--input", required=True, type=Path, help="CSV, Parquet, NPZ, or a folder of pictures")
    parser.add_argument("--output", required=True, type=Path, help="CSV, JSON Lines (.jsonl) or Parquet")
    parser.add_argument("--signature", help="of the model (classify, for a regression serving_default)")
    parser.add_argument("--batch-size", type=_batch_size, help="rows in one call (1024; images 256)")
    parser.add_argument("--keep-inputs", action="store_true", help="copy the input's columns to the output")
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="what a row that is wrong does (stop)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists or is unfinished")
    parser.add_argument("--delimiter", help="between the fields of a CSV (a comma)")
    parser.add_argument("--repository", type=Path, default=Path("models"), help="the model repository (models)")
    return parser.parse_args(argv)


def _batch_size(text: str) -> int:
    size = int(text)
    if size < LEAST_BATCH_ROWS:
        raise argparse.ArgumentTypeError(f"expected at least {LEAST_BATCH_ROWS}, received {size}")
    return size


def _describe(release: Release, signature: str, reading: Reading, source: Source, batch_size: int) -> dict[str, Any]:
    """All that decides over the output's bytes."""
    return {
        "model version": f"{release.folder.parent.name} {release.folder.name}",
        "digest of the model": release.content(),
        "signature": signature,
        "--batch-size": batch_size,
        "--keep-inputs": reading.keep_inputs,
        "--delimiter": reading.delimiter,
        **source.identity,
    }


def _tell_start(source: Source, journal: Journal) -> None:
    if source.ignored:
        shown = ", ".join(repr(name) for name in source.ignored[:5])
        more = f" and {len(source.ignored) - 5:,} more" if len(source.ignored) > 5 else ""
        print(f"Not read: {shown}{more}.", file=sys.stderr)  # noqa: T201
    if journal.progress.position.row:
        row = journal.progress.position.row
        print(f"Going on after {row:,} rows, where a run was interrupted.", file=sys.stderr)  # noqa: T201


def _tell_end(output: Path, release: Release, signature: str, journal: Journal, rate: float) -> None:
    progress = journal.progress
    print(  # noqa: T201
        f"{output}: {progress.scored:,} rows by {release.folder.parent.name} version {release.folder.name}, "
        f"{signature}; {rate:,.0f} rows per second."
    )
    if progress.rejected:
        print(f"Rows that could not be scored: {progress.rejected:,}; {journal.rejected} says why.")  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    try:
        predict(parse(argv))
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on where it stopped.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
