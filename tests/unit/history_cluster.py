"""Three nodes that keep a history and hand it to one another, and a disk that takes no more: for tests of what comes of it."""

import contextlib
import os
import resource

from hafailover.crm.history import mailbox, records
from hafailover.crm.history.drain import Drain
from hafailover.crm.history.store import Store

NODES = ("db1", "db2", "db3")
KEEP = records.FEWEST


class Attributes:
    """Pacemaker's attribute daemons: what a node publishes is seen by those that it is together with, and ends when they part."""

    def __init__(self):
        self.sides = [set(NODES)]
        self.shown = {node: {} for node in NODES}

    def side(self, node):
        return next(side for side in self.sides if node in side)

    def cut(self, *sides):
        self.sides = [set(side) for side in sides]
        for node in NODES:
            kept = self.side(node)
            self.shown[node] = {name: text for name, text in self.shown[node].items() if name in kept}

    def heal(self):
        everything = {node: self.shown[node][node] for node in NODES if node in self.shown[node]}
        self.sides = [set(NODES)]
        self.shown = {node: dict(everything) for node in NODES}

    def of(self, node):
        return View(self, node)


class View:
    def __init__(self, attributes, node):
        self.attributes, self.node = attributes, node

    def published(self, name):
        assert name == mailbox.ATTRIBUTE
        return dict(self.attributes.shown[self.node])

    def publish(self, name, text):
        assert len(text) <= mailbox.LARGEST
        for other in self.attributes.side(self.node):
            self.attributes.shown[other][self.node] = text


class Cluster:
    """Three nodes with a disk and an inbox each; every look at a clock is a second later, and the clocks do not agree."""

    def __init__(self, base, skews=(0, 0, 0)):
        self.base, self.now = base, 1_700_000_000
        self.skews = dict(zip(NODES, skews))
        self.attributes = Attributes()
        self.count = 0
        for node in NODES:
            os.makedirs(base / node / "inbox", mode=0o770)

    def tick(self, node):
        self.now += 1
        return (self.now + self.skews[node]) * 1_000_000_000

    def tell(self, node, *told):
        for one in told:
            self.count += 1
            text = "".join(f"{key}={value}\0" for key, value in one.items())
            (self.base / node / "inbox" / f"{self.count:08d}").write_text(text)

    def drain(self, node, keep=KEEP):
        view, place = self.attributes.of(node), self.base / node
        return Drain(Store(str(place / "store")), view, node, keep, str(place / "inbox"), lambda: self.tick(node))

    def run(self, node):
        return self.drain(node).once()

    def settle(self, rounds=60):
        for _ in range(rounds):
            states = [self.run(node) for node in NODES]
            if not any(state.missing or state.lagging or state.written for state in states):
                return
        raise AssertionError("they never agree")

    def lists(self):
        return [Store(str(self.base / node / "store")).everything(KEEP) for node in NODES]


def event(number, **more):
    return {"kind": "event", "event": "toy.up", "resource": "toy", "text": f"event {number}", "level": "notice", **more}


def failure(number):
    return {
        "kind": "resource",
        "node": "db1",
        "rsc": "db",
        "task": "monitor",
        "rc": "1",
        "target_rc": "0",
        "desc": f"{number}",
    }


FENCED = {"kind": "fencing", "node": "db1", "task": "reboot", "rc": "0", "desc": "db1 was fenced"}


@contextlib.contextmanager
def nearly_full(size):
    """A disk on which no file can become larger than ``size``: it takes a part of what it is given, and then nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
