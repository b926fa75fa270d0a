"""The oracle's comparisons: each planted fault must be reported, and nothing else."""

from __future__ import annotations

import pytest
from hafailover.crm.drill.ledger import ACKNOWLEDGED, CLIENT, REFUSED, UNKNOWN, Attempt
from hafailover.crm.drill.oracle import (
    Comparison,
    Expectation,
    Outcome,
    Row,
    Server,
    compare,
    digest,
    disagreements,
    roles,
    unmet,
)
from hypothesis import given
from hypothesis import strategies as st


def attempt(seq: int, outcome: str = ACKNOWLEDGED, writer: str = CLIENT, server: int = 1) -> Attempt:
    return Attempt(writer, seq, seq / 100, seq / 100 + 0.001, outcome, server, None, None)


def server(*rows: Row, read_only: bool = True, position: str = "0-1-9", checksums=None) -> Server:
    return Server(rows, checksums or {}, read_only, read_only, position)


def row(seq: int, writer: str = CLIENT, by: int = 1, row_id: int | None = None) -> Row:
    return Row(row_id or seq, writer, seq, by)


def pair(primary: list[Row], replica: list[Row]) -> dict[str, Server]:
    return {"db1": server(*primary, read_only=False), "db2": server(*replica)}


HEALTHY = [row(1), row(2), row(3)]
TRIED = [attempt(1), attempt(2), attempt(3)]


def test_a_healthy_pair_has_nothing_to_report():
    comparison = compare(TRIED, pair(HEALTHY, HEALTHY), "db1")
    assert comparison == Comparison()
    assert disagreements(comparison, ()) == []


@pytest.mark.parametrize("holder", ["primary", "replica"])
def test_an_acknowledged_row_missing_on_one_server_is_lost(holder):
    servers = pair(HEALTHY[:2], HEALTHY) if holder == "primary" else pair(HEALTHY, HEALTHY[:2])
    comparison = compare(TRIED, servers, "db1")
    assert comparison.lost == {3}
    assert any("1 acknowledged rows are missing: 3" in problem for problem in disagreements(comparison, ()))


def test_a_row_acknowledged_to_a_probe_counts_apart():
    comparison = compare([*TRIED, attempt(1, writer="db2")], pair(HEALTHY, HEALTHY), "db1")
    assert comparison.lost == frozenset()
    assert comparison.probe_lost == {("db2", 1)}
    assert "db2/1" in disagreements(comparison, ())[0]


def test_rows_of_unknown_outcome_may_be_there_or_not():
    tried = [*TRIED, attempt(4, UNKNOWN), attempt(5, UNKNOWN)]
    comparison = compare(tried, pair([*HEALTHY, row(4)], [*HEALTHY, row(4)]), "db1")
    assert disagreements(comparison, ()) == []
    assert comparison.unknown_present == 1


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (row(99), "nobody attempted it"),
        (row(1, row_id=77), "it is there 2 times"),
        (row(4), "the server had refused it"),
    ],
)
def test_a_row_too_many_is_found(planted, reason):
    rows = [*HEALTHY, planted]
    comparison = compare([*TRIED, attempt(4, REFUSED)], pair(rows, rows), "db1")
    assert list(comparison.extra.values()) == [reason]
    assert disagreements(comparison, ())


def test_a_row_that_names_another_server_than_the_one_that_answered_is_found():
    rows = [row(1), row(2), row(3, by=2)]
    comparison = compare(TRIED, pair(rows, rows), "db1")
    assert "server 1 acknowledged it, the row says 2" in comparison.extra.values()


def test_a_replica_with_a_row_of_its_own_differs():
    comparison = compare(TRIED, pair(HEALTHY, [*HEALTHY, row(9)]), "db1")
    assert comparison.differing == {"db2": "4 rows against 3 on the primary, 0 missing, 1 of its own"}
    assert (CLIENT, 9) in comparison.extra


def test_replicas_with_other_content_elsewhere_or_another_position_differ():
    servers = {
        "db1": server(*HEALTHY, read_only=False, checksums={"shop.orders": "1"}),
        "db2": server(*HEALTHY, checksums={"shop.orders": "2"}),
        "db3": server(*HEALTHY, checksums={"shop.orders": "1"}, position="0-1-8"),
    }
    assert compare(TRIED, servers, "db1").differing == {
        "db2": "other content in shop.orders",
        "db3": "position 0-1-8 against 0-1-9 on the primary",
    }


rows_of_a_run = st.lists(st.integers(1, 200), unique=True, min_size=1)


@given(rows_of_a_run, st.data())
def test_any_lost_row_is_found_wherever_it_is_missing(seqs, data):
    whole = [row(seq) for seq in seqs]
    gone = data.draw(st.sampled_from(seqs))
    partial = [item for item in whole if item.seq != gone]
    holders = {"db1": whole, "db2": whole, "db3": whole}
    holders[data.draw(st.sampled_from(["db1", "db2", "db3"]))] = partial
    comparison = compare([attempt(seq) for seq in seqs], {n: server(*rows) for n, rows in holders.items()}, "db1")
    assert comparison.lost == {gone}


@given(rows_of_a_run, st.data())
def test_any_row_too_many_is_found(seqs, data):
    whole = [row(seq) for seq in seqs]
    planted = data.draw(
        st.one_of(st.integers(201, 300).map(row), st.sampled_from(seqs).map(lambda s: row(s, row_id=999)))
    )
    comparison = compare([attempt(seq) for seq in seqs], pair([*whole, planted], [*whole, planted]), "db1")
    assert (planted.writer, planted.seq) in comparison.extra


@given(rows_of_a_run, st.randoms())
def test_a_digest_depends_on_content_not_on_order(seqs, random):
    rows = [row(seq) for seq in seqs]
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert digest(rows) == digest(shuffled)
    assert digest(rows) != digest([*rows[:-1], rows[-1]._replace(server=7)])


def test_concurrent_writers_are_reported_by_pair():
    assert disagreements(Comparison(), [(1, 2)]) == ["servers 1 and 2 accepted writes at the same time"]


def test_roles_at_the_end():
    primary, replica = server(read_only=False), server()
    assert roles({"db1": primary, "db2": replica}, ["db1"]) == []
    assert roles({"db1": primary, "db2": primary}, ["db1"]) == [
        "db2 is not promoted but writable",
        "db2 does not replicate",
    ]
    assert roles({"db1": replica, "db2": replica}, ["db1"]) == ["db1 is promoted but read-only"]
    assert roles({"db1": primary, "db2": replica._replace(replicating=False)}, ["db1"]) == ["db2 does not replicate"]
    assert roles({"db1": replica, "db2": replica}, []) == ["Pacemaker has 0 promoted instances (none), not one"]


@pytest.mark.parametrize(
    ("expected", "outcome", "problems"),
    [
        (Expectation("moved"), Outcome("db1", "db2", frozenset(), []), []),
        (Expectation("moved"), Outcome("db1", "db1", frozenset(), []), ["the primary stayed on db1"]),
        (Expectation("kept"), Outcome("db1", "db2", frozenset(), []), ["the primary moved from db1 to db2"]),
        (Expectation(fenced=frozenset({"db1"})), Outcome("db1", "db2", frozenset(), []), ["db1 was not fenced"]),
        (Expectation(fenced=frozenset()), Outcome("db1", "db2", frozenset({"db1"}), []), ["db1 was fenced needlessly"]),
        (Expectation(), Outcome("db1", "db2", frozenset({"db1"}), ["x"]), []),
        (
            Expectation(rebuilt=frozenset({"a"})),
            Outcome("a", "b", frozenset(), [], rebuilt=frozenset({"b"})),
            ["a was not rebuilt", "b was rebuilt needlessly"],
        ),
        (
            Expectation(order=("fenced", "promoted")),
            Outcome("a", "b", frozenset(), [], phases={"fenced": 1.0, "promoted": 2.0}),
            [],
        ),
        (
            Expectation(order=("fenced", "promoted")),
            Outcome("a", "b", frozenset(), [], phases={"fenced": 2.0, "promoted": 1.5}),
            ["promoted (at 1.500 s) did not come after fenced (at 2.000 s)"],
        ),
        (
            Expectation(order=("fenced", "promoted")),
            Outcome("a", "b", frozenset(), [], phases={"fenced": None, "promoted": 1.5}),
            ["promoted (at 1.500 s) did not come after fenced (never)"],
        ),
        (
            Expectation(reigns=2),
            Outcome("a", "b", frozenset(), [], reigns=3),
            ["3 times a server began to accept writes, not 2 times"],
        ),
        (
            Expectation(configuration="unchanged"),
            Outcome("a", "b", frozenset(), ["x"]),
            ["left in the configuration: x"],
        ),
    ],
)
def test_expectations(expected, outcome, problems):
    assert unmet(expected, outcome) == problems


def test_what_a_replica_misses_that_does_not_replicate_is_a_difference_but_not_lost():
    servers = pair(HEALTHY, HEALTHY[:1])
    servers["db2"] = servers["db2"]._replace(replicating=False)
    comparison = compare(TRIED, servers, "db1")
    assert comparison.lost == frozenset()
    assert "2 missing" in comparison.differing["db2"]
    behind = {**servers, "db2": servers["db2"]._replace(replicating=True, position="0-1-7")}
    assert compare(TRIED, behind, "db1").lost == frozenset()
