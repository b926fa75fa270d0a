"""ocf:hafailover:mariadb on a real pair: what no scenario can see. Faults under load are the scenarios' (test_scenarios.py)."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hafailover.agents.mariadb import journal
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import PATIENCE, lab_of, until
from pair import UNIT, assert_same_rows, healthy, other, primary, promoted, recorded, rows, sql, writing

NAME = "mariadb"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        sql(made, primary(made), "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)")
        yield made


def test_a_replica_that_hangs_is_recorded_stale_before_commits_go_on(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    lab.kill(replica, UNIT, signal.SIGSTOP)
    try:
        write = writing(lab, first, 1)
        assert write.wait(PATIENCE) == 0
        assert recorded(lab, first).sync == {}
        assert recorded(lab, replica) == recorded(lab, first), "every member has the mark when a write is acknowledged"
    finally:
        lab.kill(replica, UNIT, signal.SIGCONT)
    healthy(lab)
    assert primary(lab) == first
    assert replica in recorded(lab, first).sync
    assert_same_rows(lab, rows(lab, first) | {1})


def test_a_primary_without_quorum_acknowledges_nothing(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    held = rows(lab, first)
    lab.cut(first)
    try:
        write = writing(lab, first, 2)
        until(f"{replica} is promoted", lambda: promoted(lab, replica) == replica)
        assert write.wait(PATIENCE) != 0, "the write was acknowledged by a server that was cut off"
    finally:
        lab.heal(first)
        lab.power_on(first)
        lab.await_boot(first)
    healthy(lab)
    # It was not acknowledged, and nobody but the dead server's log ever held it: it must be gone everywhere.
    assert_same_rows(lab, held)


def test_an_old_copy_of_the_journal_does_not_move_the_primary(lab: Lab) -> None:
    first = primary(lab)
    replica = other(lab, first)
    before = recorded(lab, first)
    old = journal.write(before._replace(epoch=before.epoch - 1, primary=replica, sync={}))
    change = (
        '<cib admin_epoch="admin_epoch+=5"><configuration><crm_config><cluster_property_set id="hafailover-db">'
        f'<nvpair id="hafailover-db-journal" name="journal" value="{old}"/>'
        "</cluster_property_set></crm_config></configuration></cib>"
    )
    lab.exec(replica, ["cibadmin", "--modify", "--xml-pipe"], input=change, check=True)
    until("the primary has recorded itself again", lambda: recorded(lab, replica).primary == first)
    healthy(lab)
    assert promoted(lab, replica) == first
    assert recorded(lab, replica).epoch > before.epoch
