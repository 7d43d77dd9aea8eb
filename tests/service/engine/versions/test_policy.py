"""What to load and what to keep."""

import pytest

from service.engine.interface import Choice
from service.engine.versions.policy import Plan, plan

LATEST, TWO, ALL, ONE_AND_THREE = Choice(), Choice(2), Choice(0), Choice(specific=(1, 3))

CASES = {
    "nothing": ([], LATEST, [], [], [], (), ()),
    "the newest": ([3, 2, 1], LATEST, [], [], [], (3,), ()),
    "the newest beside the old one": ([3, 2], LATEST, [], [2], [], (3,), {2}),
    "the newest in place of the old one": ([3, 2], LATEST, [], [3, 2], [], (), {3}),
    "the next where the newest fails": ([3, 2, 1], LATEST, [], [], [3], (2,), ()),
    "the old one where the newest fails": ([3, 2], LATEST, [], [2], [3], (), {2}),
    "two": ([4, 3, 2], TWO, [], [3, 2], [], (4,), {3, 2}),
    "two, of which one is new": ([4, 3, 2], TWO, [], [4, 3, 2], [], (), {4, 3}),
    "two that load": ([4, 3, 2, 1], TWO, [], [4], [3], (2,), {4}),
    "all": ([3, 2, 1], ALL, [], [2], [1], (3,), {2}),
    "specific": ([3, 2, 1], ONE_AND_THREE, [], [2], [], (3, 1), {2}),
    "specific, of which one is loaded": ([3, 2, 1], ONE_AND_THREE, [], [3, 2], [], (1,), {3}),
    "specific that are not there": ([2], ONE_AND_THREE, [], [2], [], (), {2}),
    "a label beside the newest": ([3, 2, 1], LATEST, [1], [], [], (3, 1), ()),
    "a label keeps": ([3, 2], LATEST, [2], [3, 2], [], (), {3, 2}),
    "a label keeps what vanished": ([3], LATEST, [2], [3, 2], [], (), {3, 2}),
    "a label of a version that is not there": ([3], LATEST, [9], [3], [], (), {3}),
    "a label of a version that fails": ([3, 2], LATEST, [2], [3], [2], (), {3}),
    "a version that vanished": ([2], ALL, [], [3, 2], [], (), {2}),
    "a version that vanished stays until its successor is there": ([2, 1], LATEST, [1], [3, 1], [], (2,), {3, 1}),
    "the last version that vanished": ([], LATEST, [], [3, 2], [], (), {3}),
    "an older version when the newest vanished": ([2], LATEST, [], [3], [], (2,), {3}),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_plan_for(case):
    *situation, load, keep = case
    assert plan(*situation) == Plan(load, frozenset(keep))
