"""A run as a picture: what is drawn is what the ledger says."""

from __future__ import annotations

from hafailover.crm.drill.ledger import ACKNOWLEDGED, CLIENT, REFUSED, UNKNOWN, Attempt
from hafailover.crm.drill.strips import JOINED, PIECES, segments, story
from hypothesis import given, settings
from hypothesis import strategies as some

OUTCOMES = (ACKNOWLEDGED, REFUSED, UNKNOWN)


def attempt(end, outcome=ACKNOWLEDGED, writer=CLIENT, start=None):
    return Attempt(
        writer, int(min(end, 1e9) * 1000), end - 0.01 if start is None else start, end, outcome, 1, None, None
    )


def test_a_silence_is_a_hole():
    found = segments([attempt(at / 10) for at in [*range(20), *range(50, 70)]], 0.0, 0.0, 10.0)
    assert [(one.outcome, one.answers) for one in found] == [(ACKNOWLEDGED, 20), (ACKNOWLEDGED, 20)]
    assert found[0].end < 2.0 < 4.9 < found[1].start + 0.1


def test_a_slow_pace_is_no_hole():
    assert len(segments([attempt(at * JOINED * 0.9) for at in range(50)], 0.0, 0.0, 10.0)) == 1


def test_of_several_answers_at_once_the_acknowledgement_is_shown():
    both = [attempt(1.0, REFUSED), attempt(1.001, ACKNOWLEDGED), attempt(1.002, UNKNOWN)]
    [found] = segments(both, 0.0, 0.0, 10.0)
    assert (found.outcome, found.answers) == (ACKNOWLEDGED, 3)


@settings(max_examples=60, deadline=None)
@given(some.lists(some.tuples(some.floats(0, 100), some.sampled_from(OUTCOMES)), max_size=200))
def test_every_answer_is_in_one_segment_and_there_are_never_too_many(answers):
    found = segments([attempt(at, outcome) for at, outcome in answers], 0.0, 0.0, 101.0)
    assert sum(one.answers for one in found) == len(answers)
    assert len(found) <= PIECES
    assert all(one.start < one.end for one in found)
    assert all(before.end <= after.start + 1e-3 for before, after in zip(found, found[1:]))
    for at, _ in answers:
        assert any(one.start - 2e-3 <= at <= one.end + 2e-3 for one in found)


def test_the_close_look_has_everything_that_happened_and_the_whole_has_all():
    attempts = [attempt(100 + at / 10) for at in range(-100, 2000)] + [attempt(103.0, REFUSED, "db1")]
    made = story(attempts, 100.0, [4.0, None, 7.0], ["db1", "db2"])
    assert (made["close"]["from"], made["close"]["to"]) == (-2.0, 10.0)
    assert made["whole"]["from"] < -9 and made["whole"]["to"] > 199
    assert list(made["close"]["writers"]) == [CLIENT, "db1", "db2"]
    assert made["close"]["writers"]["db2"] == [] and made["close"]["writers"]["db1"][0][2] == REFUSED


def test_without_writers_there_is_no_story():
    assert story([], 0.0, [], ["db1"]) == {}
    assert story([attempt(float("inf"), UNKNOWN, start=1.0)], 0.0, [], ["db1"]) == {}
