"""Asking Corosync through its library: what the callers get where nobody answers. What it says is seen on a lab."""

import time

from hafailover.crm import corosync_quorum
from hafailover.crm.corosync_quorum import Quorum
from hafailover.crm.pacemaker import Membership, Pacemaker


class Connection:
    """One whose library hangs, or fails, or answers."""

    made = 0

    def __init__(self):
        type(self).made += 1

    def ask(self):
        return Membership(True, frozenset({"1", "2"}))


class Hanging(Connection):
    def ask(self):
        time.sleep(5)


class Failing(Connection):
    def ask(self):
        raise OSError("libquorum: error 2")


def test_the_connection_is_kept(monkeypatch):
    monkeypatch.setattr(corosync_quorum, "_Connection", Connection)
    quorum = Quorum()
    assert quorum.ask() == quorum.ask() == Membership(True, frozenset({"1", "2"}))
    assert Connection.made == 1


def test_a_library_that_hangs_is_asked_once(monkeypatch):
    monkeypatch.setattr(corosync_quorum, "_Connection", Hanging)
    monkeypatch.setattr(corosync_quorum, "_PATIENCE", 0.05)
    quorum = Quorum()
    assert quorum.ask() is None
    begun = time.monotonic()
    assert [quorum.ask() for _ in range(100)] == [None] * 100
    assert time.monotonic() - begun < 2


def test_where_there_is_no_library_the_program_is_asked(monkeypatch):
    monkeypatch.setattr(corosync_quorum, "_LIBRARY", "libquorum.so.none")
    asked = []

    def run(argv, timeout=None, input=None):
        asked.append(argv[0])
        return type("Result", (), {"out": "Quorate: Yes\nNodeid Votes\n1 1\n", "err": "", "rc": 0})

    assert Pacemaker(run, members=Quorum().ask).membership() == Membership(True, frozenset({"1"}))
    assert asked == ["corosync-quorumtool"]


def test_a_library_that_fails_is_no_error(monkeypatch):
    monkeypatch.setattr(corosync_quorum, "_Connection", Failing)
    assert Quorum().ask() is None
