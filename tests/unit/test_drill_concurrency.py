"""The rule for concurrent writers: it must find every planted overlap and never accuse an orderly handover."""

from __future__ import annotations

from hafailover.crm.drill.concurrency import concurrent_pairs, overlapping, reigns
from hafailover.crm.drill.ledger import ACKNOWLEDGED, REFUSED, UNKNOWN, Attempt
from hypothesis import given
from hypothesis import strategies as st

SERVERS = {"db1": 1, "db2": 2, "db3": 3}
READ_ONLY = 1290


def accept(server: int, start: float, end: float, writer: str = "client") -> Attempt:
    return Attempt(writer, int(start * 1e6), start, end, ACKNOWLEDGED, server, None, None)


def refuse(node: str, start: float, end: float, code: int = READ_ONLY) -> Attempt:
    return Attempt(node, int(start * 1e6), start, end, REFUSED, SERVERS[node], code, "")


def pairs(attempts: list[Attempt], off=()) -> set[tuple[int, int]]:
    return concurrent_pairs(reigns(attempts, SERVERS, off))


def test_an_orderly_handover_is_not_concurrent():
    assert pairs([accept(1, 0, 1), accept(1, 2, 3), accept(2, 4, 5), accept(2, 6, 7)]) == set()


def test_b_between_two_writes_of_a_is_concurrent():
    assert pairs([accept(1, 0, 1), accept(2, 2, 3), accept(1, 4, 5)]) == {(1, 2)}


def test_interleaved_reigns_are_concurrent():
    assert pairs([accept(1, 0, 1), accept(2, 1.5, 2), accept(1, 3, 4), accept(2, 5, 6)]) == {(1, 2)}


def test_overlapping_answers_at_the_handover_prove_nothing():
    assert pairs([accept(1, 0, 1), accept(1, 2, 5), accept(2, 3, 4)]) == set()


def test_there_and_back_with_a_refusal_between_is_two_reigns():
    assert pairs([accept(1, 0, 1), refuse("db1", 1.5, 1.6), accept(2, 2, 3), accept(1, 4, 5)]) == set()


def test_a_refusal_before_b_does_not_excuse_a_second_reign_inside_b():
    history = [accept(1, 0, 1), refuse("db1", 1.5, 1.6), accept(2, 2, 3), accept(1, 4, 5), accept(2, 6, 7)]
    assert pairs(history) == {(1, 2)}


def test_a_time_out_does_not_prove_that_a_server_stopped_accepting():
    history = [accept(1, 0, 1), refuse("db1", 1.5, 1.6, code=2013), accept(2, 2, 3), accept(1, 4, 5)]
    assert pairs(history) == {(1, 2)}


def test_a_refusal_by_another_node_excuses_nobody():
    assert pairs([accept(1, 0, 1), refuse("db2", 1.5, 1.6), accept(2, 2, 3), accept(1, 4, 5)]) == {(1, 2)}


def test_a_refusal_that_overlaps_a_write_does_not_end_the_reign():
    assert pairs([accept(1, 0, 1), refuse("db1", 0.5, 1.6), accept(2, 2, 3), accept(1, 4, 5)]) == {(1, 2)}


def test_a_node_that_was_off_begins_a_new_reign():
    history = [accept(1, 0, 1), accept(2, 2, 3), accept(1, 4, 5)]
    assert pairs(history, off=[(1.5, "db1")]) == set()
    assert pairs(history, off=[(1.5, "db2")]) == {(1, 2)}


def test_unknown_outcomes_count_for_nobody():
    unknown = Attempt("db1", 9, 2.0, 3.0, UNKNOWN, 1, 2013, "")
    assert pairs([accept(2, 0, 1), unknown, accept(2, 4, 5)]) == set()


def test_three_servers_are_compared_in_pairs():
    history = [accept(server, start, start + 0.1) for start in (0.0, 1.0) for server in (1, 2, 3)]
    assert pairs(history) == {(1, 2), (1, 3), (2, 3)}


@st.composite
def orderly(draw):
    """Reigns strictly one after another; each write is measured with an error in both directions, inside its reign or out."""
    now, history, last = 0.0, [], 0
    for server in draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=6)):
        if server == last:
            continue
        if last:
            history.append(refuse(f"db{last}", now + 10.0, now + 10.1))
            now += 30.0
        last = server
        for step in draw(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=5)):
            now += step
            early, late = draw(st.floats(0, 4.0)), draw(st.floats(0, 4.0))
            history.append(accept(server, now - early, now + late))
        now += 4.0
    return history


@given(orderly())
def test_no_false_alarm_whatever_the_measuring_error(history):
    assert pairs(history) == set()


@given(orderly(), st.data())
def test_a_planted_write_by_another_server_inside_a_reign_is_found(history, data):
    found = [reign for reign in reigns(history, SERVERS, ()) if reign.earliest_end + 0.01 < reign.latest_start]
    if found:
        reign = data.draw(st.sampled_from(found))
        middle = (reign.earliest_end + reign.latest_start) / 2
        planted = accept(9, middle, middle)
        assert (reign.server, 9) in pairs([*history, planted])


@given(orderly())
def test_no_pair_is_reported_for_one_server_with_itself(history):
    assert all(one.server != other.server for one, other in overlapping(reigns(history, SERVERS, ())))
