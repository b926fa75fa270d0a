"""What holds up a queue, and what does not: events of others, errors that are no event's fault, one refusal after the other."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hafailover.crm.pacemaker import PacemakerError
from hafailover.hooks.alerts import config, event, peers, sending, worker
from hafailover.hooks.alerts.config import Recipient
from hafailover.hooks.alerts.sending import Refused
from hafailover.hooks.alerts.spool import Spool

_NOBODY = 65534


@pytest.fixture
def ours():
    """A spool that belongs to another user than root, in a place that it may enter."""
    root = Path(tempfile.mkdtemp())
    spool = Spool(str(root))
    spool.make()
    for path in (root, *root.iterdir()):
        os.chown(path, _NOBODY, _NOBODY)
    yield spool
    shutil.rmtree(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave what is root's")
@pytest.mark.skipif(Path("/proc/sys/fs/protected_hardlinks").read_text() != "1\n", reason="links are not protected")
def test_an_event_of_roots_is_delivered_and_holds_up_nobody(ours):
    at = time.time() - 60
    for number in (1, 2):
        path = Path(ours.inbox) / f"{at:.0f}.{number}.1.1"
        path.write_text(f"kind=node\0at={at:.0f}\0desc={number}\0end=1\0")
        os.utime(path, (at, at))
    os.chown(path, _NOBODY, _NOBODY)
    os.seteuid(_NOBODY)
    try:
        first, second = ours.arrived()
        with pytest.raises(PermissionError):
            os.link(f"{ours.inbox}/{first.name}", f"{ours.root}/state/link")
        for one in (first, second):
            assert list(ours.hang(one.name, ["a", "b"])) == ["a", "b"]
            assert list(ours.hang(one.name, ["a"])) == []
            ours.taken(one.name)
        assert ours.queued("a") == ours.queued("b") == [first.name, second.name]
        assert ours.read("b", first.name) == first
        assert not ours.waiting() and not os.listdir(f"{ours.root}/state")
    finally:
        os.seteuid(0)


class Sender:
    """Refuses the events for which ``refuses`` says so."""

    def __init__(self, refuses) -> None:
        self.refuses, self.tried, self.got = refuses, [], []

    def send(self, told) -> None:
        self.tried.append(told["description"])
        if self.refuses(told["description"]):
            raise Refused("no")
        self.got.append(told["description"])

    def close(self) -> None:
        return


def working(tmp_path, count: int) -> worker.Worker:
    """A worker with ``count`` events, whose turns are taken by hand."""
    spool = Spool(str(tmp_path))
    spool.make()
    at = time.time() - 60
    for number in range(count):
        name = f"{at:.0f}.{number:06d}.1.1"
        (tmp_path / "inbox" / name).write_text(f"kind=resource\0at={at:.0f}\0desc={number}\0end=1\0")
        list(spool.hang(name, ["hook"]))
        spool.taken(name)
    recipient = Recipient("hook", "syslog", frozenset(), 100, 3600.0, 2.0, {})
    others = type("Peers", (), {"publish": lambda *_, **__: None})()
    return worker.Worker(spool, config.NOTHING, recipient, others, lambda level, text: None)


def turns(one: worker.Worker, most: int = 1000) -> None:
    for _ in range(most):
        if one.idle:
            return
        one.retry()
        one._turn()


def test_one_event_that_is_refused_is_given_up_at_the_third_attempt(tmp_path, monkeypatch):
    sender = Sender(lambda said: said in ("1", "3"))
    monkeypatch.setattr(sending, "sender", lambda recipient: sender)
    one = working(tmp_path, 5)
    turns(one)
    assert sender.tried == ["0", "1", "1", "1", "2", "3", "3", "3", "4"]
    assert (one._state.delivered, one._state.refused, one._state.dropped) == (3, 2, 2)


def test_who_refuses_everything_is_given_few_events_to_refuse(tmp_path, monkeypatch):
    # A chat that answers 400 because its webhook was removed: it is put right, and most events are still there.
    refuses = [True]
    sender = Sender(lambda said: refuses[0])
    monkeypatch.setattr(sending, "sender", lambda recipient: sender)
    one = working(tmp_path, 12)
    turns(one, 60)  # an hour, when each waits for a minute
    assert len(set(sender.tried)) <= 5
    refuses[0] = False
    turns(one)
    assert len(sender.got) >= 7
    assert sender.got == sorted(sender.got, key=int)


def test_a_sender_that_cannot_be_made_costs_no_event(tmp_path, monkeypatch):
    def broken(recipient):
        raise SyntaxError("half an upgrade")

    monkeypatch.setattr(sending, "sender", broken)
    one = working(tmp_path, 2)
    for _ in range(10):
        one.retry()
        with pytest.raises(SyntaxError):  # the thread says so, and tries on
            one._turn()
    sender = Sender(lambda said: False)
    monkeypatch.setattr(sending, "sender", lambda recipient: sender)
    turns(one)
    assert sender.got == ["0", "1"]


def test_what_waits_for_another_node_makes_room_before_what_nobody_else_has(tmp_path):
    one = working(tmp_path, 170)
    names = list(one._pending)
    one._held = dict.fromkeys(names[:150])
    del one._pending[:150]
    one._make_room()
    assert (list(one._held), one._pending) == (names[70:150], names[150:])
    assert one._state.dropped == 70
    assert sorted(os.listdir(tmp_path / "queue/hook"), key=event.order) == names[70:]
    one._held = {}
    del one._pending[:]
    one._pending.extend(names[:150])
    one._make_room()
    assert one._pending == [names[0], *names[51:150]]


# -- the other nodes -----------------------------------------------------------------------------------------------------


def test_a_cluster_that_hangs_does_not_hold_up_each_delivery(monkeypatch):
    one = peers.Peers("db1", "hook", since=lambda: 0.0)
    asked = []

    class Hangs:
        def __getattr__(self, name):
            def ask(*_):
                asked.append(name)
                now[0] += 10.0
                raise PacemakerError("it takes too long")

            return ask

    now = [1000.0]
    monkeypatch.setattr(peers.time, "monotonic", lambda: now[0])
    one._pacemaker = Hangs()
    lost = event.parse("n", b"kind=node\0node=db2\0desc=lost\0end=1", 5.0)
    began = now[0]
    for _ in range(20):  # deliveries of a tenth of a second
        now[0] += 0.1
        assert one.verdict(lost) == peers.DELIVER
        one.settled(lost)
        one.publish(5.0)
    assert asked == ["view"]
    assert now[0] - began < 13
    now[0] += 20
    one.publish(5.0)
    assert asked == ["view", "publish"]


def test_a_clock_that_was_ahead_does_not_speak_for_what_comes():
    one = peers.Peers("db1", "hook", since=lambda: 0.0)
    said = []
    one._pacemaker = type("Pacemaker", (), {"publish": lambda _, name, value: said.append(peers.read(value))})()
    later = time.time() + 3600
    one.settled(event.parse("n", f"kind=node\0at={later:.0f}\0node=db3\0desc=lost\0end=1".encode(), later))
    one.publish(0.0, now=True)
    assert said[0].upto < time.time() + 1


def test_a_node_has_not_passed_its_own_loss():
    lost = event.parse("n", b"kind=node\0at=9100\0node=db1\0desc=lost\0end=1", 9100.0)
    other = event.parse("n", b"kind=node\0at=9100\0node=db3\0desc=lost\0end=1", 9100.0)
    view = peers.View({"db1": 1, "db2": 2}, {"db1": peers.Published(9990.0, 0, 9950.0, 0, {})})
    # It was cut off and came back without a restart; db2 could not tell of it meanwhile.
    assert peers.verdict("db2", lost, view, 10_000.0) == peers.DELIVER
    assert peers.verdict("db2", other, view, 10_000.0) == peers.SETTLED
    told = peers.View(view.members, {"db1": peers.Published(9990.0, 0, 9950.0, 0, {lost.same(): 9101.0})})
    assert peers.verdict("db2", lost, told, 10_000.0) == peers.SETTLED
