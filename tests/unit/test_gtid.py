from __future__ import annotations

import pytest
from hafailover.agents.mariadb import gtid
from hypothesis import given
from hypothesis import strategies as st

GTIDS = st.builds(gtid.Gtid, st.integers(0, 3), st.integers(1, 4), st.integers(1, 1000))
STATES = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(1, 4)), st.integers(1, 1000)).map(
    lambda known: gtid.text(tuple(gtid.Gtid(*key, sequence) for key, sequence in known.items()))
)


@pytest.mark.parametrize("text", ["0-1", "a-1-2", "0-1-2-3", "0--1", "0-1-2;1-2-3", "-1-1-1"])
def test_parse_names_what_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match="is not a GTID"):
        gtid.parse(text)


def test_same_sequence_from_another_server_is_missing() -> None:
    assert gtid.text(gtid.missing("0-1-10", "0-2-10")) == "0-1-10"
    assert gtid.text(gtid.missing("0-1-10", "0-1-9,0-2-10")) == "0-1-10"
    assert gtid.missing("0-1-9,0-2-10", "0-1-9,0-2-11") == ()


def test_same_sequence_from_another_server_is_not_reached() -> None:
    assert not gtid.reached("0-2-10", "0-1-10")
    assert gtid.reached("0-2-11", "0-1-10")
    assert not gtid.reached("", "0-1-10")
    assert gtid.reached("0-1-10", "")


def test_another_domain_is_not_reached() -> None:
    assert not gtid.reached("0-1-10", "0-1-10,1-1-1")


@given(STATES, STATES)
def test_joined_states_contain_both(one: str, other: str) -> None:
    joined = ",".join(part for part in (one, other) if part)
    assert gtid.missing(one, joined) == gtid.missing(other, joined) == ()


@given(STATES)
def test_nothing_is_missing_from_oneself(state: str) -> None:
    assert gtid.missing(state, state) == ()
    assert set(gtid.missing(state, "")) == set(gtid.parse(state))


@given(st.lists(GTIDS, max_size=6).map(lambda some: gtid.latest(gtid.text(tuple(some)))))
def test_a_position_round_trips_and_reaches_itself(position: str) -> None:
    assert gtid.text(gtid.parse(position)) == position
    assert gtid.reached(position, position)
    assert gtid.behind(position, position) == 0
