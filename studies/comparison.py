"""Rows that were run twice: are the verdicts and the figures the same?"""

from collections.abc import Sequence

from studies.params import StudiesParams
from studies.results import Results
from studies.runs import fixed_runs
from studies.verdicts import WORDS, Judgement, judge, judged_part, measured


def compare(studies: StudiesParams, names: Sequence[str], before: Results, after: Results) -> tuple[list[str], bool]:
    """Compares the results of some rows with those of an earlier time.

    Args:
        studies: all parameters.
        names: of the rows.
        before: the results that are kept.
        after: the new ones.

    Returns:
        One sentence per row, and whether all verdicts are the same.
    """
    sentences, are_equal = [], True
    for name in names:
        old, new = judge(studies, name, before), judge(studies, name, after)
        is_equal = (old.kind, old.setting) == (new.kind, new.setting)
        are_equal &= is_equal
        words = f"again {_words(new)}" if is_equal else f"now {_words(new)}, before {_words(old)}"
        sentences.append(f"{name}: {words}; {_figures(studies, name, before, after)}.")
    return sentences, are_equal


def _words(judgement: Judgement) -> str:
    return WORDS[judgement.kind] + (f" ({judgement.setting})" if judgement.setting else "")


def _figures(studies: StudiesParams, name: str, before: Results, after: Results) -> str:
    part = judged_part(studies.row(name))
    pairs = [(before.get(run), after.get(run)) for run in fixed_runs(studies, name)]
    values = [[measured([result], part) for result in pair] for pair in pairs if all(pair)]
    distances = [abs(old.mean - new.mean) for old, new in values if old and new]
    if not distances:
        return "no figures to compare"
    largest = max(distances)
    return f"{len(distances)} figures are the same" if not largest else f"figures differ by up to {largest:.5f}"
