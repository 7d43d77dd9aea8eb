"""The soak finds what it is there to find."""

import numpy as np
import pytest

from benchmarks import load
from benchmarks.disturbances import Passed, Phase
from benchmarks.soak_report import are_right, judge_phases
from benchmarks.versions import Publisher

STEADY, KILLED = Passed(Phase("steady", 1), 0, 10, ()), Passed(Phase("killed", 1, may_reset=True), 10, 20, (11,))


@pytest.fixture
def publisher(tmp_path):
    """Version 1 is served from the start; 2 appears at 4 s, and is known to be served at 6 s."""
    return Publisher(tmp_path, tmp_path, "", published={1: -1.0, 2: 4.0}, served={1: -0.5, 2: 6.0})


def record(sent, received, outcome):
    return [sent, sent, received, outcome]


@pytest.mark.parametrize(
    ("sent", "received", "version", "right"),
    [
        (1, 2, 1, True),
        (3.9, 4.1, 2, True),
        (3.8, 3.9, 2, False),
        (5.9, 6.5, 1, True),
        (6.1, 6.5, 1, False),
        (6.1, 6.5, 2, True),
        (6.1, 6.5, 3, False),
        (1, 2, load.WRONG, False),
    ],
)
def test_an_answer_is_right_for_a_version_that_was_current_when_asked_or_answered(
    publisher, sent, received, version, right
):
    assert are_right(np.array([record(sent, received, version)]), publisher).tolist() == [right]


def complaints(publisher, *records):
    [steady, killed] = judge_phases(np.array(records), [STEADY, KILLED], publisher)
    return steady.complaints() + killed.complaints()


def test_right_answers_and_deliberate_refusals_are_no_complaint(publisher):
    good = [record(1, 1.1, 1)] * 99
    assert complaints(publisher, *good, record(1, 1.1, -503)) == []


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (load.WRONG, "steady: 1 wrong answers"),
        (2, "steady: 1 wrong answers"),
        (-500 - load.BARE, "steady: 1 answers that are neither good nor a 503 or 429 with Retry-After"),
        (-503 - load.BARE, "steady: 1 answers that are neither good nor a 503 or 429 with Retry-After"),
        (-500, "steady: 1 answers that are neither good nor a 503 or 429 with Retry-After"),
        (load.REFUSED, "steady: 1 requests refused"),
        (load.RESET_REUSED, "steady: 1 requests reset on a kept connection"),
        (load.CUT, "steady: 1 requests cut in the answer"),
    ],
)
def test_what_must_not_be_is_a_complaint(publisher, outcome, sentence):
    good = [record(1, 1.1, 1)] * 99
    assert complaints(publisher, *good, record(1, 1.1, outcome)) == [sentence]


def test_resets_are_allowed_where_processes_are_killed(publisher):
    # Asked in the phase before, and reset by the kill.
    assert complaints(publisher, record(1, 1.1, 1), record(9.9, 11.1, load.RESET_REUSED)) == []


def test_refusing_everything_is_a_complaint(publisher):
    assert complaints(publisher, *[record(1, 1.1, -503)] * 10) == ["steady: only 0 of 10 answers are good"]


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome"),
    [
        (200, {}, b'{"predictions": [[7006.0], [7001.0]]}', 7),
        (200, {}, b'{"predictions": [[7006.0], [8001.0]]}', load.WRONG),
        (200, {}, b'{"predictions": [[7001.0], [7006.0]]}', load.WRONG),
        (200, {}, b'{"predictions": [[7006.0]]}', load.WRONG),
        (200, {}, b"{", load.WRONG),
        (503, {b"retry-after": b"1"}, b"", -503),
        (503, {}, b"", -1503),
    ],
)
def test_an_answer_tells_its_version(status, headers, body, outcome):
    assert load.read_outcome(load.Question(b"", (6, 1)), status, headers, body) == outcome
