"""A replica that holds what its primary does not: found, barred, reported with its GTIDs, and healthy again after a repair."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, shell, until
from pair import assert_same, healthy, other, published, recorded, sql, standing

NAME = "divergetest"
TABLE = "proof.rows"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        sql(
            made,
            primary(made),
            f"CREATE DATABASE proof; CREATE TABLE {TABLE} (id INT PRIMARY KEY); INSERT INTO {TABLE} VALUES (1)",
        )
        yield made


def primary(lab: Lab) -> str:
    return recorded(lab, lab.data_nodes[0]).primary


INSERT = f"INSERT INTO {TABLE} SELECT MAX(id) + 1 FROM {TABLE}"
OWN = "0-{replica}-[0-9]+"  # a GTID that the replica made
# case: what is done (on "R", the replica, or "P", the primary), what a person then reads of the replica, and the GTIDs published
CASES = {
    "a write on the replica while it replicates": (["R", INSERT], "DIVERGED: holds .*, which did not come from the primary", OWN),
    "the same number from two servers": (["R", INSERT, "P", INSERT], "DIVERGED: holds .*out-of-order", OWN),
    "the same number, and nobody strict": (
        ["R", "SET GLOBAL gtid_strict_mode=OFF; INSERT INTO proof.rows VALUES (900)", "P", INSERT, "P", INSERT],
        "DIVERGED: holds .*, which did not come from the primary", OWN,
    ),
    "a write while replication is stopped": (["R", f"STOP SLAVE; {INSERT}"], "DIVERGED: holds .*, which .* does not", OWN),
    "a write in another domain": (["R", f"SET gtid_domain_id=7; {INSERT}"], "DIVERGED: holds 7-", "7-{replica}-1"),
    # After a crash its recovery as a replica would remove the write: nobody has acknowledged it.
    "a write, then a restart": (["R", INSERT, "R!", "kill $(pidof mariadbd)"], "DIVERGED: holds .*, which .* does not", OWN),
    "a position that the primary never reached": (
        ["R", "STOP SLAVE; SET GLOBAL gtid_slave_pos='0-{primary}-99999'"], "DIVERGED: holds .*99999", "0-{primary}-99999",
    ),
    "tables and no history": (
        ["R", "STOP SLAVE; RESET SLAVE ALL; RESET MASTER; SET GLOBAL gtid_slave_pos=''"],
        "DIVERGED: holds tables but no GTID history", "unknown",
    ),
    "a primary whose log was reset": (
        ["P", f"{INSERT}; RESET MASTER; {INSERT}"], "DIVERGED: holds .*, which .* does not", "0-[0-9]+-[0-9]+",
    ),
    "a filter": (
        ["R", "STOP SLAVE; SET GLOBAL replicate_ignore_table='proof.other'; START SLAVE"], "Replicate_Ignore_Table=proof.other", "none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_divergence_is_found_barred_and_reported(lab: Lab, case: str) -> None:
    steps, said, gtids = CASES[case]
    first = primary(lab)
    replica = other(lab, first)
    epoch = recorded(lab, first).epoch
    ids = {"primary": first[-1], "replica": replica[-1]}
    try:
        for who, what in zip(steps[::2], steps[1::2]):
            node = replica if who[0] == "R" else first
            if who.endswith("!"):
                shell(lab, node, what)
            else:
                sql(lab, node, what.format(**ids))
        until(f"it reads {said}", lambda: re.search(said, standing(lab, first, replica)))
        pattern = gtids.format(**ids)
        until(f"{pattern} is published", lambda: re.fullmatch(rf"({pattern}|,)+", published(lab, replica, "diverged")))
        done = lab.exec(first, ["hafailover", "promote", replica, "--yes"], timeout=100)
        assert done.returncode == 3, done.stdout + done.stderr
        assert (primary(lab), recorded(lab, first).epoch) == (first, epoch)
    finally:
        repair(lab, first, replica)
    healthy(lab)
    until("nothing is reported any more", lambda: published(lab, replica, "diverged") == "none")
    assert_same(lab, TABLE)


def repair(lab: Lab, first: str, replica: str) -> None:
    """Make the replica's rows the primary's by hand, and then its history: what a person may do who knows what differs."""
    rows = sql(lab, first, f"SELECT CONCAT('(', GROUP_CONCAT(id SEPARATOR '),('), ')') FROM {TABLE}")
    state = sql(lab, first, "SELECT @@global.gtid_binlog_state")
    position = sql(lab, first, "SELECT @@global.gtid_binlog_pos")
    script = (
        f"STOP SLAVE; SET sql_log_bin=0; DELETE FROM {TABLE}; INSERT INTO {TABLE} VALUES {rows}; SET GLOBAL replicate_ignore_table=''; "
        f"RESET MASTER; SET GLOBAL gtid_binlog_state='{state}'; SET GLOBAL gtid_slave_pos='{position}'; SET GLOBAL gtid_strict_mode=ON; "
        "RESET SLAVE ALL"
    )
    # Again when the server is just starting, or the agent, which sees the rows mended, has it follow in the middle of this.
    until("it is repaired", lambda: lab.exec(replica, ["mariadb"], input=script).returncode == 0)


def test_a_gap_in_the_numbers_is_no_divergence(lab: Lab) -> None:
    first = primary(lab)
    sql(lab, first, f"SET gtid_seq_no=5000; {INSERT}; {INSERT}")
    assert_same(lab, TABLE)
    assert healthy(lab)
    assert [published(lab, node, "diverged") for node in (other(lab, first),)] == ["none"]


def test_a_primary_that_lost_its_role_and_regained_it_has_not_diverged(lab: Lab) -> None:
    first = primary(lab)
    second = other(lab, first)
    for old, new in ((first, second), (second, first)):
        sql(lab, old, INSERT)
        shell(lab, old, "kill -9 $(pidof mariadbd)")
        until(f"{new} is recorded", lambda new=new: primary(lab) == new)
        healthy(lab)
        sql(lab, new, INSERT)
        until(f"{old} is not called diverged", lambda old=old: published(lab, old, "diverged") == "none")
        assert_same(lab, TABLE)
