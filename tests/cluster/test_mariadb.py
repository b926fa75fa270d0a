"""ocf:hafailover:mariadb on a real pair: what no scenario can see. Faults under load are the scenarios' (test_scenarios.py)."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from hafailover.agents.mariadb import journal
from hafailover.crm import topology as topologies
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab

NAME = "mariadb"
UNIT = "hafailover-mariadb-db.service"
PATIENCE = 120.0  # seconds; generous, so that a slow machine fails no test


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    Lab.down(NAME)
    try:
        made = Lab.up(NAME, topologies.load(DEFAULT_TOPOLOGY))
        healthy(made)
        sql(made, primary(made), "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)")
        yield made
    finally:
        Lab.down(NAME)


def until(what: str, check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Poll until ``check`` returns something true, and return it."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.3)


def status(lab: Lab, node: str) -> dict[str, Any]:
    done = lab.exec(node, ["hafailover", "status", "-o", "json"], timeout=60)
    return json.loads(done.stdout) if done.stdout else {"healthy": False}


def healthy(lab: Lab) -> dict[str, Any]:
    node = lab.data_nodes[0]
    return until("the cluster is healthy", lambda: (s := status(lab, node))["healthy"] and s)


def primary(lab: Lab) -> str:
    return recorded(lab, lab.data_nodes[0]).primary


def other(lab: Lab, node: str) -> str:
    return next(name for name in lab.data_nodes if name != node)


def recorded(lab: Lab, node: str) -> journal.Journal:
    argv = ["crm_attribute", "-t", "crm_config", "-s", "hafailover-db", "-n", "journal", "-G", "-q"]
    return journal.read(lab.exec(node, argv).stdout.strip())


def sql(lab: Lab, node: str, statement: str, timeout: float = 60) -> str:
    done = lab.exec(node, ["mariadb", "-N", "-B"], timeout=timeout, input=statement)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rows(lab: Lab, node: str) -> set[int]:
    return {int(word) for word in sql(lab, node, "SELECT id FROM proof.rows").split()}


def writing(lab: Lab, node: str, number: int) -> subprocess.Popen[str]:
    """Start to insert one row; the process ends with 0 when the write was acknowledged."""
    return lab.popen(node, ["mariadb", "-e", f"INSERT INTO proof.rows VALUES ({number})"], stdin=subprocess.DEVNULL)


def promoted(lab: Lab, seen_from: str) -> str | None:
    done = lab.exec(seen_from, ["crm_mon", "-1", "-r"], timeout=30)
    line = next((line for line in done.stdout.splitlines() if "Promoted: [" in line and "Un" not in line), "")
    names = line.partition("[")[2].partition("]")[0].split()
    return names[0] if names else None


def assert_same_rows(lab: Lab, expected: set[int]) -> None:
    for node in lab.data_nodes:
        until(f"{node} holds {sorted(expected)}", lambda node=node: rows(lab, node) == expected)


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
