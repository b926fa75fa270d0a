"""The promoted server's resident helper on a real pair: killed or stopped at any moment, it loses no write and lets none wait for ever."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import PATIENCE, lab_of, shell, until
from pair import UNIT, healthy, other, primary, recorded, sql

NAME = "tendtest"
HELPER = "hafailover-mariadb-db-tend.service"
LIMIT = 20 * 1024  # KiB that may stay resident


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        sql(made, primary(made), "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT AUTO_INCREMENT PRIMARY KEY)")
        yield made


def helper(lab: Lab, node: str) -> int:
    """Pid of the helper on ``node``, 0 while none runs."""
    return int(shell(lab, node, f"systemctl show -P MainPID {HELPER}"))


def commit(lab: Lab, node: str) -> subprocess.Popen[str]:
    """Start to insert a row; the process ends with 0 when the write was acknowledged."""
    return lab.popen(node, ["mariadb", "-e", "INSERT INTO proof.rows VALUES ()"], stdin=subprocess.DEVNULL)


def test_it_runs_on_the_primary_alone_and_is_small(lab: Lab) -> None:
    first = primary(lab)
    until("the helper runs", lambda: helper(lab, first))
    assert helper(lab, other(lab, first)) == 0
    resident = int(shell(lab, first, f"awk '/VmRSS/ {{print $2}}' /proc/{helper(lab, first)}/status"))
    assert 1024 < resident < LIMIT


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_of_a_degrade(lab: Lab, seed: int) -> None:
    """The mark comes before the release, whoever carries it out."""
    moment = random.Random(seed)
    healthy(lab)
    first = primary(lab)
    replica = other(lab, first)
    until("the helper runs", lambda: helper(lab, first))
    lab.kill(replica, UNIT, signal.SIGSTOP)
    try:
        write = commit(lab, first)
        for _ in range(3):
            time.sleep(moment.uniform(0.0, 1.0))
            lab.exec(first, ["systemctl", "kill", "--kill-who=main", "--signal=KILL", HELPER])
        assert write.wait(PATIENCE) == 0
        assert recorded(lab, first).sync == {}
        assert recorded(lab, replica) == recorded(lab, first), "every member has the mark when a write is acknowledged"
    finally:
        lab.kill(replica, UNIT, signal.SIGCONT)
    healthy(lab)
    assert primary(lab) == first
    assert replica in recorded(lab, first).sync


def test_stopped_it_is_replaced(lab: Lab) -> None:
    """A helper that holds its lock and does nothing must not keep commits waiting for ever."""
    healthy(lab)
    first = primary(lab)
    replica = other(lab, first)
    pid = until("the helper runs", lambda: helper(lab, first))
    lab.kill(first, HELPER, signal.SIGSTOP)
    lab.kill(replica, UNIT, signal.SIGSTOP)
    # The replica's own monitor restarts it meanwhile; whether the new one acknowledges or is given up first does not matter.
    assert commit(lab, first).wait(PATIENCE) == 0
    until("another helper runs", lambda: helper(lab, first) not in (0, pid))
    healthy(lab)


def test_a_person_who_restarts_replication_ends_the_proof(lab: Lab) -> None:
    """STOP SLAVE, START SLAVE throws away relay log that was acknowledged: the life that was in sync is over."""
    healthy(lab)
    first = primary(lab)
    replica = other(lab, first)
    before = recorded(lab, first).sync[replica]
    sql(lab, replica, "STOP SLAVE; START SLAVE")
    until("another life is in sync", lambda: recorded(lab, first).sync.get(replica, before) != before)
    healthy(lab)


def test_it_ends_with_the_primary_s_role(lab: Lab) -> None:
    healthy(lab)
    first = primary(lab)
    assert lab.exec(first, ["hafailover", "promote", other(lab, first), "--yes"], timeout=PATIENCE).returncode == 0
    until("no helper on the old primary", lambda: helper(lab, first) == 0)
    until("a helper on the new one", lambda: helper(lab, other(lab, first)))
    healthy(lab)
