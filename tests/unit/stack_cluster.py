"""A cluster of a few lines on which a stack is on its way, and what stands in for its database."""

import re
import signal
from collections import namedtuple
from dataclasses import replace

import pytest
from hafailover.crm import local, stack_move, stack_run, switchover_case
from hafailover.crm.stack import Mover, Stack
from hafailover.crm.stack_checks import Plan
from hafailover.crm.stack_preferences import Preferences
from hafailover.crm.stack_run import StackRun
from hafailover.crm.switchover import Check
from hafailover.crm.switchover_run import Outcome
from status_samples import status as recorded
from test_switchover_run import Clock

CONTENT = Mover("content", "", ("disk", "server"), "content")
FILES = Mover("files", "", ("files",), "content")
APP = Mover("app", "", ("app",), "app")
VIP = Mover("vip", "", ("vip",), "db-clone")
STACK = Stack((CONTENT, FILES, APP, VIP), {"db-clone": "db"}, {"mq-clone": "runs on several nodes at a time"})
HERE = {"content": "db1", "files": "db1", "app": "db1", "vip": "db1"}


class Cluster:
    """Two nodes. ``script``: seconds after the first preference → what happens then. What is preferred arrives after ``takes`` seconds."""

    def __init__(self, clock, script, takes=4.0):
        self.clock, self.script, self.takes = clock, sorted(script.items()), takes
        clock.passes = self.live
        self.at = dict.fromkeys(("disk", "server", "files", "app", "vip"), "db1")
        self.lost, self.failures, self.answers, self.quorum, self.refuses = set(), [], True, True, False
        self.stuck, self.bars = set(), {}
        self.preferred, self.since, self.asked = {}, 0.0, None
        self.changes = []

    def fail(self, resource="app", node="db2", rc="1"):
        self.failures.append(
            f'<failure op_key="{resource}_start_0" node="{node}" exitstatus="error" exitreason="no such file" exitcode="{rc}" '
            f'call="{len(self.failures) + 7}"/>'
        )
        self.stuck.add(resource)

    def degrade(self):
        self.fail(rc="190")
        self.stuck.clear()

    def interrupt(self):
        signal.raise_signal(signal.SIGINT)

    def lose(self):
        self.lost.add("db2")
        self.at = {name: "db1" if node == "db2" else node for name, node in self.at.items()}

    def vanish(self):
        self.answers = False

    def live(self):
        while self.asked is not None and self.script and self.clock.now - self.asked >= self.script[0][0]:
            for event in self.script.pop(0)[1]:
                event(self)
        if self.preferred and self.clock.now - self.since >= self.takes:
            for name, node in self.preferred.items():
                along = {"content": ("disk", "server", "files")}.get(name, (name,))
                for one in along:
                    if node not in self.lost and (one not in self.stuck or node == "db1"):
                        self.at[one] = node

    def run(self, argv, timeout=None, input=None):
        if not self.answers:
            return local.Result(102, "", "Connection refused")
        if argv[0] == "crm_node":
            return local.Result(0, "1" if self.quorum else "0", "")
        if argv[0] == "crm_mon":
            return local.Result(0, self.mon(), "")
        assert argv[0] == "cibadmin", argv
        if self.refuses:
            return local.Result(62, "", "cibadmin: no quorum")
        if "--modify" in argv:
            rsc = re.findall(r'rsc="([^"]+)"', input)
            self.preferred = dict(zip(rsc, re.findall(r'value="([^"]+)"', input)))
            self.since = self.clock.now
            self.asked = self.clock.now if self.asked is None else self.asked
            self.changes.append(dict(self.preferred))
        else:
            self.preferred = {}
            self.changes.append({})
        return local.Result(0, "", "")

    def mon(self):
        nodes = "".join(
            f'<node name="{n}" online="{str(n not in self.lost).lower()}" {self.bars.get(n, "")}/>'
            for n in ("db1", "db2")
        )
        there = "".join(
            f'<resource id="{name}" role="Started" active="true" managed="true"><node name="{node}"/></resource>'
            for name, node in self.at.items()
        )
        return (
            f"<pacemaker-result><nodes>{nodes}</nodes><resources>{there}</resources>"
            f"<failures>{''.join(self.failures)}</failures></pacemaker-result>"
        )


Database = namedtuple("Database", "name clone primary")


class Answering:
    """A status that has every database that is asked for."""

    def service(self, name):
        return Database(name, f"{name}-clone", "")


class Role:
    """The databases' part: what a switchover makes of each, and who is primary. ``later``: how it goes with all but the first.

    ``against``: what the check ``named`` says of it, the first ``looks`` times.
    """

    def __init__(self, ends="done", against=(), ends_back="done", later=None, named="lag", looks=1 << 30):
        self.named, self.looks = named, looks
        self.primaries, self.ends, self.against, self.ends_back = {}, ends, against, ends_back
        self.later = later or ends
        self.asked, self.hooks, self.against_hooks = [], [], {}
        self.events = {}  # "before db2", "after db2" (the hooks), "address" (it is looked for in the network) → what happens then

    def started(self, *of):
        """A cluster that is acting is waited for."""

    def happens(self, what):
        for event in self.events.pop(what, ()):
            event()

    def examine(self, run, facts, node, choose, accept):
        name = choose(Answering()).name
        self.looks -= 1
        against = self.against if node == "db2" and self.looks >= 0 else ()
        checks_ = tuple(Check(self.named, False, says) for says in against)
        primary = self.primaries[name]
        return switchover_case.Case(
            recorded("healthy"), Database(name, f"{name}-clone", primary), checks_, (), primary == node
        )

    def perform(self, case, node, timeout):
        self.asked.append(node)
        name = case.service.name
        there = self.ends if name == next(iter(self.primaries)) else self.later
        result = there if node == "db2" else self.ends_back
        if result == "done":
            self.primaries[name] = node
        primary = "" if result == "incomplete" else self.primaries[name]
        left = ("the database is neither here nor there",) if result == "incomplete" else ()
        return Outcome(result, primary, f"{name}: {result}", left, (), 1.0, "")


@pytest.fixture
def going(monkeypatch):
    """Calls ``go(script, …)``: (outcome, cluster, role, names of the steps)."""
    clock = Clock()
    for module in (stack_move, stack_run, switchover_case):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(Preferences, "_watch", lambda self: None)
    monkeypatch.setattr(stack_run, "gather", lambda run, *_: None)

    def go(script, role=None, moves=(CONTENT, APP), services=("db-clone",), timeout=30.0, **options):
        role = role or Role()
        cluster = Cluster(clock, script, **options)
        monkeypatch.setattr(stack_run.stack_addresses, "misplaced", lambda *of: role.happens("address"))
        base = recorded("healthy")
        monkeypatch.setattr(stack_run, "gather_idle", role.started)
        monkeypatch.setattr(switchover_case, "examine", role.examine)
        role.primaries = {clone.partition("-")[0]: "db1" for clone in services}

        def perform(run, case, node, timeout):
            ended = role.perform(case, node, timeout)
            if "db" in role.primaries:
                cluster.at["vip"] = role.primaries["db"]
            return ended

        monkeypatch.setattr(StackRun, "_perform", perform)
        monkeypatch.setattr(stack_run.switchover_facts, "credentials", lambda service: (None, "none"))

        class Hooks:
            def __init__(self, run, status, service, node, login, say):
                self.node = node

            def before(self):
                role.hooks.append(f"before {self.node}")
                role.happens(role.hooks[-1])
                return role.against_hooks.get(self.node, [])

            def after(self, outcome):
                role.hooks.append(f"after {self.node}")
                role.happens(role.hooks[-1])
                return outcome

        monkeypatch.setattr(stack_run, "PlannedHooks", Hooks)

        def now(facts):
            found = [
                base.services[0]._replace(name=name, clone=f"{name}-clone", primary=primary)
                for name, primary in role.primaries.items()
            ]
            return base._replace(services=tuple(found))

        monkeypatch.setattr(stack_run, "read", now)
        told = []
        databases = {clone: Database(clone.partition("-")[0], clone, "db1") for clone in services}
        wanted = Plan("db2", replace(STACK, databases=databases or STACK.databases), HERE, moves, databases, ())
        run = StackRun(
            cluster.run, base, wanted, frozenset(), False, (), lambda step: told.append(step.name), told.append, print
        )
        return run.perform(timeout, 30.0), cluster, role, told

    return go


C = Cluster
GONE = [{"content": "db2", "app": "db2"}, {}]
BACK = [{"content": "db1", "app": "db1"}, {}]
