from __future__ import annotations

import io
import json

import pytest
from hafailover.crm.drill.ledger import (
    ACKNOWLEDGED,
    CLIENT,
    REFUSED,
    UNKNOWN,
    Attempt,
    Ledger,
    acknowledgements,
    gaps,
    last_try,
)
from hypothesis import given
from hypothesis import strategies as st


def begin(seq: int, when: float) -> str:
    return json.dumps({"seq": seq, "begin": when})


def end(seq: int, when: float, outcome: str = ACKNOWLEDGED, server: int = 1) -> str:
    return json.dumps({"seq": seq, "end": when, "outcome": outcome, "server": server, "code": None, "error": None})


def acks(*times: float, server: int = 1) -> list[Attempt]:
    return [Attempt(CLIENT, int(t * 1000), t - 0.001, t, ACKNOWLEDGED, server, None, None) for t in times]


def test_an_attempt_has_the_time_at_which_it_left_and_the_time_of_its_answer():
    ledger = Ledger()
    assert ledger.record(CLIENT, begin(1, 10.0)) is None
    attempt = ledger.record(CLIENT, end(1, 10.5))
    assert attempt == Attempt(CLIENT, 1, 10.0, 10.5, ACKNOWLEDGED, 1, None, None)
    assert ledger.attempts() == [attempt]


def test_an_attempt_whose_writer_was_killed_is_unknown_not_forgotten():
    ledger = Ledger()
    ledger.record("db1", begin(7, 10.0))
    [attempt] = ledger.attempts()
    assert (attempt.writer, attempt.seq, attempt.outcome) == ("db1", 7, UNKNOWN)


def test_sequence_numbers_go_on_after_a_writer_that_was_killed():
    ledger = Ledger()
    assert ledger.next_seq("db1") == 1
    ledger.record("db1", begin(1, 1.0))
    ledger.record("db1", end(1, 1.1, REFUSED))
    ledger.record("db1", begin(2, 2.0))
    assert ledger.next_seq("db1") == 3
    assert ledger.next_seq("db2") == 1


def test_every_line_is_copied_with_its_writer():
    copy = io.StringIO()
    ledger = Ledger(copy)
    ledger.record("db1", begin(1, 1.0))
    assert json.loads(copy.getvalue()) == {"writer": "db1", "seq": 1, "begin": 1.0}


def test_a_line_that_is_no_record_is_an_error():
    with pytest.raises(ValueError):
        Ledger().record(CLIENT, "Traceback (most recent call last):")


@given(st.lists(st.tuples(st.sampled_from(["client", "db1"]), st.sampled_from([ACKNOWLEDGED, REFUSED, UNKNOWN, None]))))
def test_every_begun_attempt_is_accounted_for_exactly_once(script):
    ledger = Ledger()
    for seq, (writer, outcome) in enumerate(script):
        ledger.record(writer, begin(seq, float(seq)))
        if outcome:
            ledger.record(writer, end(seq, seq + 0.5, outcome))
    found = {(attempt.writer, attempt.seq): attempt.outcome for attempt in ledger.attempts()}
    assert found == {(writer, seq): outcome or UNKNOWN for seq, (writer, outcome) in enumerate(script)}
    assert len(ledger.attempts()) == len(script)


def test_the_gap_lies_around_the_fault_and_the_first_write_counts_from_it():
    before, after = acks(1.0, 1.01, 1.04, 1.05), acks(2.0, 2.01, server=2)
    measured = gaps(before + after, fault=1.06, new_server=2)
    assert measured.baseline == pytest.approx(0.03)
    assert measured.fault == pytest.approx(0.95)
    assert measured.first_write == pytest.approx(0.94)


def test_writes_that_the_old_primary_still_acknowledged_are_no_first_write():
    history = acks(1.0, 1.1, 1.2) + acks(3.0, server=2)
    assert gaps(history, fault=1.05, new_server=2).first_write == pytest.approx(1.95)


def test_a_restart_in_place_ends_with_the_longest_gap():
    measured = gaps(acks(1.0, 1.01, 1.02, 9.0, 9.01), fault=1.015, new_server=1)
    assert measured.first_write == pytest.approx(9.0 - 1.015)
    assert measured.fault == pytest.approx(7.98)


def test_a_stall_while_the_old_primary_rejoins_is_told_apart():
    history = acks(1.0) + acks(2.0, 2.01, 10.0, 15.0, server=2)
    measured = gaps(history, fault=1.5, new_server=2)
    assert measured.fault == pytest.approx(1.0)
    assert measured.later == pytest.approx(7.99)


def test_no_write_after_the_fault_is_no_number():
    assert gaps(acks(1.0, 1.01), fault=2.0, new_server=2) == (pytest.approx(0.01), None, None, None, None)


@given(st.lists(st.floats(0, 100), min_size=2, unique=True), st.floats(0, 100))
def test_a_gap_is_never_shorter_than_the_silence_after_the_fault(times, fault):
    history = acks(*sorted(times), server=2)
    measured = gaps(history, fault, new_server=2)
    after = [t for t in times if t > fault]
    assert (measured.fault is None) == (not after)
    if after:
        assert measured.fault >= min(after) - fault - 1e-9


def test_acknowledgements_are_the_clients_own_in_the_order_of_the_answers():
    late, early = acks(2.0)[0], acks(1.0)[0]
    refused = late._replace(outcome=REFUSED)
    probe = early._replace(writer="db1")
    assert acknowledgements([late, refused, probe, early]) == [early, late]


def test_it_is_known_when_the_longest_silence_began():
    found = gaps(acks(1.0, 1.9, 2.2, 5.0, 5.1), fault=2.0, new_server=1)
    assert found.fault == pytest.approx(2.8) and found.begun == pytest.approx(0.2)


def test_a_silence_that_nothing_ends_is_one():
    history = acks(1.0, 1.01, 2.5, 2.6)
    tries = [*history, Attempt(CLIENT, 9, 9.0, float("inf"), UNKNOWN, None, None, None)]
    assert last_try(tries) == 9.0 and last_try(tries, "db1") is None
    assert gaps(history, 1.015, 1).fault == pytest.approx(1.49)
    kept = gaps(history, 1.015, 1, last_try(tries))
    assert max(kept.fault, kept.later) == pytest.approx(6.4)
    moved = gaps([*acks(1.0), *acks(2.5, 2.6, server=2)], 1.015, 2, last_try(tries))
    assert (moved.fault, moved.later) == (pytest.approx(1.5), pytest.approx(6.4))
    assert gaps(history, 1.015, 1, 2.55) == gaps(history, 1.015, 1), "an attempt that was answered later is none"


class Full(io.StringIO):
    """A disk with no room."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_takes_the_copy_and_not_the_account():
    ledger = Ledger(Full())
    ledger.record("db1", begin(1, 1.0))
    assert ledger.record("db1", end(1, 1.1)) is not None
    assert [one.outcome for one in ledger.attempts()] == [ACKNOWLEDGED]
    assert "No space left" in ledger.close() and Ledger(io.StringIO()).close() == ""
    with open("/dev/full", "w") as full:  # what is only found out at the end
        late = Ledger(full)
        late.record("db1", begin(1, 1.0))
        assert "No space left" in late.close()
