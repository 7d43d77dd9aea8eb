"""From the first row to the last: the next chunk is read in a thread while TensorFlow answers this one."""

import csv
import io
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
from tqdm import tqdm

from pipeline.errors import DataError
from pipeline.prediction_columns import name_kept
from pipeline.prediction_formats import FORMULA_STARTS, Format
from pipeline.prediction_journal import Journal
from pipeline.prediction_pictures import FILE
from pipeline.prediction_rows import Chunk, Position, Rejection, Source
from pipeline.prediction_scorer import Answers, Scorer

REJECTION_COLUMNS = ("row", "place", "problem")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Run:
    """The parts of one batch prediction.

    Attributes:
        name: of the input, for messages.
        source: the input.
        scorer: the model.
        journal: the output that is being written.
        format: of the output.
        skips: whether rows that cannot be scored are listed and left out; else the first ends the run.
    """

    name: str
    source: Source
    scorer: Scorer
    journal: Journal
    format: Format
    skips: bool


def score_all(run: Run) -> float:
    """Scores what is not scored yet. Killed at any moment and begun again, it gives the same bytes.

    Args:
        run: what to do.

    Returns:
        Rows per second.

    Raises:
        DataError: the input cannot be read, or a row cannot be scored.
    """
    progress, names = run.journal.progress, _output_names(run)
    if not progress.part_bytes:
        fields = zip([*run.source.schema, *run.scorer.schema], names, strict=True)
        run.journal.append(run.format.head(pa.schema([field.with_name(name) for field, name in fields])))
    started, before = time.perf_counter(), progress.position.row
    with _bar(run.source, progress.position) as bar:
        for chunk in read_ahead(run.source.chunks(progress.position)):
            answers = run.scorer.score(chunk.values)
            rejections = sorted([*chunk.rejections, *_name_problems(chunk, answers)], key=lambda entry: entry.row)
            if rejections and not run.skips:
                first = rejections[0]
                raise DataError(f"{run.name}, {first.place}: {first.problem}. --on-error skip leaves such rows out.")
            table = _join(chunk.leading.filter(pa.array(answers.answered)), answers.table, names)
            run.journal.append(run.format.encode(table), _encode_rejections(rejections, is_first=not progress.rejected))
            progress.scored += len(table)
            progress.rejected += len(rejections)
            progress.position = chunk.after
            run.journal.commit()
            seconds = time.perf_counter() - started
            bar.set_postfix_str(f"{(progress.position.row - before) / seconds:,.0f} rows/s", refresh=False)
            bar.update(_done(run.source, progress.position) - bar.n)
    return (progress.position.row - before) / (time.perf_counter() - started)


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Gives the same items, of which the next is made in a thread meanwhile."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, iterator, None)
        while (item := following.result()) is not None:
            following = reader.submit(next, iterator, None)
            yield item


def _output_names(run: Run) -> list[str]:
    """The columns' names, in order: the input's first, renamed where an answer has the same."""
    leading, answers = run.source.schema.names, run.scorer.schema.names
    first, *kept = leading
    renamed = name_kept(kept, {first, *answers})
    return [first, *renamed.values(), *answers]


def _join(leading: pa.Table, answers: pa.Table, names: list[str]) -> pa.Table:
    return pa.Table.from_arrays([*leading.columns, *answers.columns], names=names)


def _name_problems(chunk: Chunk, answers: Answers) -> Iterator[Rejection]:
    first = chunk.after.row - len(chunk.values)
    for place, problem in answers.problems.items():
        yield Rejection(first + place, str(chunk.leading[FILE][place]), problem)


def _encode_rejections(rejections: list[Rejection], *, is_first: bool) -> bytes:
    if not rejections:
        return b""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if is_first:
        writer.writerow(REJECTION_COLUMNS)
    for entry in rejections:
        place = (
            f"'{entry.place}" if entry.place.startswith(FORMULA_STARTS) else entry.place
        )  # a file may be called `=1`
        writer.writerow((entry.row, place, entry.problem))
    return stream.getvalue().encode()


def _bar(source: Source, start: Position) -> tqdm:
    unit = "B" if source.unit == "byte" else " rows"
    return tqdm(
        desc="Scoring", total=source.total, initial=_done(source, start), unit=unit, unit_scale=True, leave=False
    )


def _done(source: Source, position: Position) -> int:
    return position.byte if source.unit == "byte" else position.row
