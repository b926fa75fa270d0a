"""What a person has to look at: a decision after a total outage, and a tail that cannot be removed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, until
from pair import healthy, other, primary, promoted, recorded, rows, sql, standing, writing
from test_start import boot, leave_a_tail, rung, servers, waiters

NAME = "outagetest"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        sql(made, primary(made), "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)")
        yield made


def test_the_old_primary_chosen_by_a_person_stays_primary_when_its_successor_returns(lab: Lab) -> None:
    """MS→XM→write→XX→SX, then the decision for S, then M returns."""
    first = primary(lab)
    successor = other(lab, first)
    leave_a_tail(lab, first, 100)
    assert writing(lab, successor, 101).wait(120) == 0
    # As many marks and promotions as the successor may have written while the other was away.
    lab.exec(successor, ["cibadmin", "--modify", "--xml-text", '<cib admin_epoch="admin_epoch+=50"/>'], check=True)
    lab.exec(successor, ["sync"], check=True)
    lab.power_off(successor, hold=True)
    boot(lab, first)
    until("it says for whom it waits", lambda: f"waiting for {successor}" in standing(lab, first, first))

    done = lab.exec(first, ["hafailover", "promote", first, "--accept-data-loss", "--yes"], timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"unknown: {successor}" in done.stdout
    until(f"{first} is promoted", lambda: promoted(lab, first) == first)
    assert writing(lab, first, 102).wait(120) == 0
    entry = recorded(lab, first)

    boot(lab, successor)
    until("the successor is found to have diverged", lambda: "DIVERGED" in standing(lab, first, successor))
    assert promoted(lab, first) == first
    assert recorded(lab, successor).forced == entry.forced, "the returning node's copy has not won"
    assert rows(lab, first) == {100, 102}, "nobody acknowledged 100, but it may be the only copy"
    assert rows(lab, successor) == {101}, "its data is kept"
    assert rung(lab, successor) == "quarantine"


def test_a_tail_that_cannot_be_removed_is_kept_and_reported(lab: Lab) -> None:
    """A write to a table without transactions comes after one with: the server refuses to recover as a replica."""
    first = primary(lab)
    successor = other(lab, first)
    sql(lab, first, "CREATE TABLE proof.loose (id INT PRIMARY KEY) ENGINE=MyISAM")
    lab.cut(first)
    try:
        write = writing(lab, first, 100)
        until("the first write waits", lambda: waiters(lab, first) == "1")
        loose = lab.popen(first, ["mariadb", "-e", "INSERT INTO proof.loose VALUES (1)"], stdin=subprocess.DEVNULL)
        state = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'INSERT%'"
        until("the second one is written, too", lambda: sql(lab, first, state) == "2")
        lab.power_off(first, hold=True)
        assert (write.wait(60), loose.wait(60)) != (0, 0)
    finally:
        lab.heal(first)
    until(f"{successor} is promoted", lambda: promoted(lab, successor) == successor)
    boot(lab, first)
    until("it is found to have diverged", lambda: "DIVERGED" in standing(lab, successor, first))
    log = lab.exec(first, ["journalctl", "-b", "-q", "-t", "hafailover-mariadb"], timeout=60).stdout
    assert "the tail cannot be removed" in log
    assert rung(lab, first) == "quarantine"
    assert len(servers(lab, first)) == 1
    assert promoted(lab, successor) == successor
    assert rows(lab, successor) == set()
