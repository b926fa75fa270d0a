"""What a seed breaks: a pure function from the seed and the shape of the lab to faults, the same on every machine.

Each fault depends on the seed and its own number alone, so that one can be replayed without those before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from hafailover.crm.drill.actions import Step, undo
from hafailover.crm.drill.oracle import Expectation
from hafailover.crm.drill.scenario import Scenario

T = TypeVar("T")

PRIMARY, REPLICA, SECOND, QUORUM = "primary", "replica", "replica2", "quorum"
_WITHIN = "240s"
_SHOWS_MS = 2000
# Of eight faults three are two at once, one takes everybody's power, the others come alone.
_MIX = ("two", "two", "two", "outage", "one", "one", "one", "one")
_HOLDS_MS = (200, 700, 1500, 3000, 5000, 8000, 12000)
_APART_MS = (0, 50, 200, 500, 1000, 2000, 3000)
_PAUSED_DAEMONS = (
    "corosync",
    "pacemakerd",
    "pacemaker-based",
    "pacemaker-attrd",
    "pacemaker-execd",
    "pacemaker-controld",
)
_KILLED_DAEMONS = (*_PAUSED_DAEMONS, "pacemaker-fenced", "pacemaker-schedulerd")

KINDS = (
    *("kill-server", "pause-server", "cut", "power-off", "stop-replication", "fill", "kill-helper", "pause-helper"),
    *("kill-daemon", "pause-daemon", "restart-daemon", "quorum-device", "request"),
)
"""Everything that may happen to a node. Some are chosen more often, because they come in more variants."""


class Shape(NamedTuple):
    """What of a lab the plan depends on: the number of its replicas (1 or 2), and whether there is a quorum device."""

    replicas: int
    device: bool

    @property
    def servers(self) -> tuple[str, ...]:
        """The roles that have a database."""
        return (PRIMARY, REPLICA, SECOND)[: 1 + self.replicas]


class Act(NamedTuple):
    """One thing that breaks: its kind, the step that breaks it, and for how long it stays broken (ms)."""

    kind: str
    step: Step
    hold: int

    @property
    def node(self) -> str:
        """The role that it strikes."""
        return str(self.step.parameters["node"])


class Fault(NamedTuple):
    """One entry of a plan: acts that begin ``apart`` ms after each other."""

    seed: int
    number: int
    acts: Sequence[Act]
    apart: int

    @property
    def kind(self) -> str:
        """The kinds of its acts, as the counts are grouped."""
        if len(self.acts) > 1 and all(act.kind == "power-off" for act in self.acts):
            return "outage"
        return "+".join(sorted(act.kind for act in self.acts))


class _Dice:
    """Choices by hash: the standard generator may draw differently in another version of Python."""

    def __init__(self, *key: object) -> None:
        self._key = "/".join(map(str, key))
        self._drawn = 0

    def choose(self, options: Sequence[T]) -> T:
        self._drawn += 1
        drawn = hashlib.sha256(f"{self._key}/{self._drawn}".encode()).digest()
        return options[int.from_bytes(drawn[:8], "big") % len(options)]


def fault(seed: int, number: int, shape: Shape, without: frozenset[str] = frozenset()) -> Fault:
    """Return fault ``number`` (from 1) of ``seed``. ``without``: kinds that this lab cannot have; others keep their place."""
    dice = _Dice("hafailover", seed, number, shape.replicas, int(shape.device))
    mix = dice.choose(_MIX)
    apart = dice.choose(_APART_MS)
    if mix == "outage":
        hold = dice.choose(_HOLDS_MS)
        order = _shuffled(dice, shape.servers)
        # Each comes back in its own time, so that any of them may be the first.
        acts = [_act("power-off", node, dice, hold=hold + dice.choose(_HOLDS_MS)) for node in order]
        return Fault(seed, number, acts, apart)
    first = _drawn(dice, shape, without)
    if mix == "one":
        return Fault(seed, number, [first], apart)
    while True:
        second = _drawn(dice, shape, without)
        if forbidden(first, second) is None:
            return Fault(seed, number, [first, second], apart)


def forbidden(first: Act, second: Act) -> str | None:
    """Say why ``second`` must not follow ``first`` in one fault, or None.

    No pair here can destroy data that a person would have to bring back: every act is undone, and nothing wipes a disk.
    """
    if first.step == second.step:
        return "it has happened already"
    if first.kind == second.kind == "request":
        return "a switchover is under way"
    if first.node != second.node:
        return None
    if QUORUM in (first.node, second.node):
        return "the quorum device is lost already"
    if first.kind == "power-off":
        return "the node is off"
    if first.kind == "stop-replication" and second.kind == "request":
        return "a replica that does not replicate cannot be asked for"
    if {first.kind, second.kind} in ({"pause-server", "stop-replication"}, {"pause-server", "kill-server"}):
        return "a paused server does nothing that it is told"
    return None


def _drawn(dice: _Dice, shape: Shape, without: frozenset[str]) -> Act:
    while True:
        kind = dice.choose(KINDS)
        node = dice.choose(shape.servers)
        if kind in without or (kind == "quorum-device" and not shape.device):
            continue
        if kind in ("stop-replication", "request") and node == PRIMARY:
            node = REPLICA
        if kind in ("kill-helper", "pause-helper"):
            node = PRIMARY
        return _act(kind, node, dice)


def _act(kind: str, node: str, dice: _Dice, hold: int | None = None) -> Act:
    hold = dice.choose(_HOLDS_MS) if hold is None else hold
    if kind == "quorum-device":
        action = dice.choose(("cut", "power-off", "kill", "pause"))
        return Act(kind, _step(action, QUORUM, process="corosync-qnetd"), hold)
    if kind in ("cut", "power-off", "stop-replication", "fill", "request"):
        return Act(kind, _step(kind, node), hold)
    action, _, what = kind.partition("-")
    if action == "restart":
        return Act(kind, _step("restart", node, unit=dice.choose(("pacemaker", "corosync"))), hold)
    if what == "daemon":
        what = dice.choose(_KILLED_DAEMONS if action == "kill" else _PAUSED_DAEMONS)
    return Act(kind, _step(action, node, process=what), hold)


def _step(action: str, node: str, process: str = "", unit: str = "") -> Step:
    parameters: dict[str, object] = {"node": node}
    if action == "power-off":
        parameters["hold"] = True
    if action in ("kill", "pause"):
        parameters["process"] = process
    if action == "kill":
        parameters["signal"] = "KILL"
    if action == "restart":
        parameters["unit"] = unit
    if action in ("kill", "pause", "stop-replication", "fill", "restart"):
        # What an earlier act of the same fault has ended, or had fenced, cannot be struck again.
        parameters["optional"] = True
    return Step(action, parameters)


def _shuffled(dice: _Dice, items: Sequence[T]) -> list[T]:
    left, order = list(items), []
    while left:
        order.append(left.pop(left.index(dice.choose(left))))
    return order


def scenario(fault: Fault) -> Scenario:
    """Return the steps that carry out a fault: break, undo each act in its time, and wait until all is well again."""
    due: list[tuple[int, int, Sequence[Step]]] = []
    for index, act in enumerate(fault.acts):
        begins = index * fault.apart
        due.append((begins, 2 * index, [act.step]))
        if undo(act.step):
            due.append((begins + act.hold, 2 * index + 1, undo(act.step)))
    steps, now = [_pause(1000)], 0
    for when, _, these in sorted(due, key=lambda entry: entry[:2]):
        if when > now:
            steps.append(_pause(when - now))
            now = when
        steps += these
    # What was struck last shows a moment later: before that, all looks well.
    steps += [_pause(_SHOWS_MS), Step("wait", {"until": "settled", "node": PRIMARY, "within": _WITHIN}), _pause(1000)]
    return Scenario(
        f"{fault.seed}/{fault.number} {fault.kind}", describe(fault), steps, Expectation("any", None, "unchanged")
    )


def _pause(ms: int) -> Step:
    return Step("write", {"for": f"{ms}ms"})


def describe(fault: Fault) -> str:
    """Return the fault in one line: what, where, for how long."""
    words = []
    for index, act in enumerate(fault.acts):
        what = act.step.parameters.get("process") or act.step.parameters.get("unit") or ""
        begins = f" after {index * fault.apart / 1000:g} s" if index and fault.apart else ""
        ends = f" for {act.hold / 1000:g} s" if undo(act.step) else ""
        words.append(" ".join(filter(None, [act.step.action, act.node, str(what)])) + begins + ends)
    return ", ".join(words)
