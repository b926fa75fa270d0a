"""One operator at a time: whoever comes second is told, on one node and between nodes."""

import json
import threading
import time

import pytest
from changing import MOVED
from hafailover.crm import apply_lock, undo_store
from hafailover.crm.commands import apply as apply_command
from hafailover.crm.commands import plan as plan_command
from hafailover.crm.errors import HafailoverError, RefusedError
from hafailover.crm.local import Result
from topologies import BASE, invoke


def test_the_slower_of_two_operators_is_told(cluster, file):
    """The configuration is another one when the patch comes: the cluster's own comparison of versions refuses it."""

    def other():
        cluster.change(lambda root: root.find(".//nvpair[@name='ip']").set("value", "10.77.0.200"))

    cluster.before_patch = other
    result = invoke(apply_command.command, file(MOVED), "--yes")
    assert isinstance(result.exception, RefusedError)
    assert "somebody else changed the cluster's configuration at the same time" in str(result.exception)
    assert cluster.value("vip", "ip") == "10.77.0.200"
    assert undo_store.entries() == []  # a change that was not made is not kept


def test_a_second_apply_on_the_same_node_is_told_who_is_at_it(cluster, file):
    with apply_lock.held("apply /etc/other.yml"):
        result = invoke(apply_command.command, file(BASE), "--yes")
    assert isinstance(result.exception, RefusedError)
    assert "is being changed on this node (" in str(result.exception) and "apply /etc/other.yml" in str(
        result.exception
    )
    assert cluster.attributes == {}


def test_an_operator_on_another_node_is_told_of_while_he_lives(cluster):
    over = threading.Event()

    def lives():
        beat = 0
        while not over.wait(0.03):
            beat += 1
            cluster.attributes["db2"] = f"holds|{beat}|eve since 10:00:00: apply x.yml"

    other = threading.Thread(target=lives)
    other.start()
    while "db2" not in cluster.attributes:
        time.sleep(0.01)
    try:
        with (
            pytest.raises(RefusedError, match=r"changed on db2 \(eve since 10:00:00: apply x.yml\)"),
            apply_lock.held("apply"),
        ):
            pass
        assert "db1" not in cluster.attributes
    finally:
        over.set()
        other.join()
    # He is dead now: what he left behind is nobody's lock.
    with apply_lock.held("apply"):
        assert cluster.attributes["db1"].startswith("holds|")
    assert "db1" not in cluster.attributes


@pytest.mark.parametrize(("what", "goes_on"), [("drill kill-primary", True), ("apply drill kill-primary", False)])
@pytest.mark.parametrize("same_node", [True, False])
def test_what_a_drill_asks_for_itself_goes_beside_it(cluster, monkeypatch, what, goes_on, same_node):
    with apply_lock.held(what):
        if not same_node:
            monkeypatch.setattr(apply_lock, "FILE", apply_lock.FILE.with_name("other"))
            cluster.attributes["db0"] = cluster.attributes.pop("db1")
            beats, real = iter(range(1000)), cluster._attribute

            def answer(argv):
                cluster.attributes["db0"] = f"holds|{next(beats)}|eve since 10:00:00: {what}"
                return real(argv)

            monkeypatch.setattr(cluster, "_attribute", answer)
        if goes_on:
            with apply_lock.held_beside_drill("promote db2"):
                assert not any("promote" in value for value in cluster.attributes.values())
        else:
            with pytest.raises(apply_lock.BusyError, match=what), apply_lock.held_beside_drill("promote db2"):
                pass


@pytest.mark.parametrize(("mine", "goes_on"), [("db1", True), ("db3", False)])
def test_of_two_who_ask_at_once_one_goes_on(cluster, mine, goes_on):
    cluster.node = mine
    beat = iter(range(1000))
    real = cluster._attribute

    def answer(argv):
        cluster.attributes["db2"] = f"asks|{next(beat)}|eve since 10:00:00: apply x.yml"
        return real(argv)

    cluster._attribute = answer
    if goes_on:
        with apply_lock.held("apply"):
            pass
    else:
        with pytest.raises(RefusedError), apply_lock.held("apply"):
            pass


class Wire:
    """The attribute daemon, as two nodes with a delay between them see it."""

    def __init__(self, shared, node, delay):
        self.shared, self.node, self.delay = shared, node, delay

    def publish(self, name, value):
        time.sleep(self.delay)
        self.shared[self.node] = value

    def published(self, name):
        time.sleep(self.delay)
        return dict(self.shared)


@pytest.mark.parametrize(("delay", "later"), [(0.03, 0.0), (0.03, 0.01), (0.0, 0.0), (0.03, 0.1), (0.08, 0.05)])
@pytest.mark.parametrize("first", ["n1", "n2"])
def test_of_two_who_really_ask_at_once_exactly_one_holds(monkeypatch, first, delay, later):
    # With a delay of 0.08 s neither sees the other's asking before he holds.
    for name, value in (("_SPREAD", 0.06), ("_DEAD", 0.7), ("_RENEW", 0.2), ("_PATIENCE", 0.5)):
        monkeypatch.setattr(apply_lock, name, value)
    shared, held, told = {}, [], []

    def ask(node, wait):
        time.sleep(wait)
        lock = apply_lock._ClusterLock(f"op-{node}")
        lock._pacemaker, lock._name = Wire(shared, node, delay), lambda: node
        lock._delete = lambda: shared.pop(node, None)
        try:
            lock.take()
        except RefusedError:
            told.append(node)
            return
        held.append(node)
        time.sleep(1.5)
        lock.give_back()

    second = {"n1": "n2", "n2": "n1"}[first]
    threads = [threading.Thread(target=ask, args=one) for one in ((first, 0.0), (second, later))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(told), shared) == (1, 1, {})


def test_an_attribute_daemon_that_begins_a_moment_later_is_waited_for(cluster):
    real, answers = cluster._attribute, [Result(102, "", "no daemon")] * 2
    cluster._attribute = lambda argv: answers.pop() if "-U" in argv and answers else real(argv)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(apply_lock, "_PATIENCE", 5.0)
        with apply_lock.held("apply"):
            assert cluster.attributes["db1"].startswith("holds|")
    assert answers == []


def test_the_lock_is_renewed_while_it_is_held(cluster):
    with apply_lock.held("apply"):
        first = cluster.attributes["db1"]
        end = time.monotonic() + 5
        while cluster.attributes["db1"] == first:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_without_an_attribute_daemon_or_quorum_it_says_so(cluster, file, monkeypatch):
    cluster.quorate = False
    result = invoke(apply_command.command, file(MOVED), "--yes", "--wait=0")
    assert isinstance(result.exception, RefusedError)
    assert str(result.exception).startswith("this part of the cluster has no quorum; nothing was changed")
    shown = invoke(plan_command.command, file(MOVED), "-o", "json")
    assert isinstance(shown.exception, RefusedError)
    assert (
        json.loads(shown.stdout)["refused"] == "this part of the cluster has no quorum; apply would wait for that first"
    )
    cluster._attribute = lambda argv: Result(102, "", "Could not connect to attribute manager")
    result = invoke(apply_command.command, file(MOVED), "--yes")
    assert type(result.exception) is HafailoverError
    assert "the cluster does not answer, nothing was changed" in str(result.exception)


def test_the_operator_is_named_without_what_could_break_a_line(monkeypatch):
    monkeypatch.setenv("SUDO_USER", 'eve"|\n\x1b[31m')
    assert undo_store.operator() == "eve?????31m"
