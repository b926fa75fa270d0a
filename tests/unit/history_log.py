"""Records of a cluster as its nodes would have written them, for tests of what is made of them."""

from hafailover.crm.history import records
from hafailover.crm.history.entries import entries
from hafailover.crm.history.records import Record

BEGAN = 1_767_225_600


class Log:
    """Records of some nodes, each written at a second after BEGAN."""

    def __init__(self):
        self.made = []
        self.numbers = {}

    def add(self, at, writer, kind, behind=0.0, **facts):
        number = self.numbers[writer] = self.numbers.get(writer, 0) + 1
        moment = round((BEGAN + at) * 1e6)
        name = f"{writer}~aaaa"
        self.made.append(Record(name, number, moment, moment - round(behind * 1e6), kind, records.facts(facts)))
        return self

    def op(self, at, node, resource, task, rc=0, **more):
        return self.add(at, node, "resource", node=node, rsc=resource, task=task, rc=rc, target_rc=0, **more)

    def event(self, at, node, event, text="", resource="db", **more):
        return self.add(at, node, "event", event=event, resource=resource, text=text or event, level="notice", **more)

    def node(self, at, node, desc, *seen_by):
        for number, writer in enumerate(seen_by):
            self.add(at + number / 10, writer, "node", node=node, desc=desc)
        return self

    def fenced(self, at, node, *seen_by, rc=0):
        for number, writer in enumerate(seen_by):
            desc = f"Operation reboot of {node} by {writer}: {'OK' if not rc else 'No such device'}"
            self.add(at + number / 10, writer, "fencing", node=node, task="reboot", rc=rc, desc=desc)
        return self

    def command(self, at, until, command, *more, host="db1", code=0, reason="", says=""):
        token = f"{command}{at}"
        what = " ".join(["hafailover", command, *more])
        self.add(
            at, host, "audit", phase="begin", token=token, command=command, what=what, user="root", sudo="ann", host=host,
            reason=reason,
        )  # fmt: skip
        if until is not None:
            self.add(until, host, "audit", phase="end", token=token, command=command, code=str(code), says=says)
        return self

    def entries(self):
        return entries(self.made)


def started():
    """A pair whose first primary is db1."""
    return (
        Log()
        .op(0, "db1", "db", "start")
        .op(0.2, "db2", "db", "start")
        .event(1, "db1", "promoted", "epoch 1")
        .op(1.3, "db1", "db", "promote")
    )


def failover(log, at=1000):
    log.event(at, "db1", "died", "mariadbd died; db2 may take over, so this node gives up the role")
    log.op(at + 0.3, "db1", "db", "demote").op(at + 0.4, "db1", "vip", "stop")
    log.event(at + 0.8, "db2", "promoted", "writable as primary of epoch 2").op(at + 0.85, "db2", "db", "promote")
    return log.event(at + 1.1, "db2", "vip.up", "192.0.2.10 is here", resource="vip").op(
        at + 1.2, "db2", "vip", "start"
    )


def kinds(found):
    return [entry.kind for entry in found]
