"""Who delivers what every node has: Pacemaker tells each node of a lost member and of a fencing, and one message is enough.

The member with the lowest id delivers; the others keep their copy until it is settled. Each node publishes, for each recipient, what it has
settled, as a private attribute that goes with the node: the last events by their keys and, since a queue is worked through in order, the
time up to which everything is settled. When the first node is gone, or neither settles nor is seen to try, the next one delivers. So a
death costs a delay, and at worst, between a delivery and its publication, a second delivery with the same key.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from hafailover.agents import proc, process
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.hooks.alerts.event import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

DELIVER, WAIT, SETTLED = "deliver", "wait", "settled"

APART = 10.0  # seconds by which two nodes' times of one event may differ; a node does not come and go twice in it
_GRACE = 60.0  # seconds in which the first node must have shown that it has the event
_ALIVE = 90.0  # seconds for which a node that tries counts as trying
_LOOK = 2.0  # seconds for which a look at the cluster is good
_PAUSE = 20.0  # seconds for which a cluster that does not answer is left alone: each question may hold up the delivery for 10 s
_REMEMBERED = 24  # settled events told by their keys
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Published:
    """What one node says of one recipient; times as Unix time. ``since``: what was before, it cannot have seen. ``holding``: the oldest
    event that it has and has not settled, or 0.
    """

    at: float
    since: float
    upto: float
    holding: float
    keys: Mapping[str, float]

    def covers(self, event: Event, now: float, itself: bool = False) -> bool:
        """Whether that node has settled ``event``. Its times say nothing of ours when its clock is ahead: then its keys alone count.

        ``itself``: the event is about that node, which was not told of its own loss, and so did not pass it.
        """
        at = self.keys.get(event.same())
        if at is not None and (event.kind == "fencing" or abs(at - event.at) <= APART):
            return True
        return not itself and self.at <= now + APART and self.since + APART < event.at < self.upto - APART

    def tries(self, event: Event, now: float) -> bool:
        """Whether that node has ``event``, or is still busy with earlier ones."""
        return now - self.at < _ALIVE and 0 < self.holding <= event.at + APART

    def text(self) -> str:
        """The attribute's value."""
        keys = ",".join(f"{key}:{at:.0f}" for key, at in self.keys.items())
        return f"1 {self.at:.0f} {self.since:.0f} {self.upto:.3f} {self.holding:.3f} {keys}"


def read(text: str) -> Published | None:
    """The opposite of ``Published.text``; None when it is of another version or nonsense."""
    words = text.split(" ")
    try:
        if words[0] != "1":
            return None
        pairs = [pair.partition(":")[::2] for pair in words[5].split(",") if pair]
        at, since, upto, holding = (float(word) for word in words[1:5])
        return Published(at, since, upto, holding, {key: float(when) for key, when in pairs})
    except (ValueError, IndexError):
        return None


@dataclass(frozen=True)
class View:
    """The cluster at one moment. ``members``: node → id."""

    members: Mapping[str, int]
    published: Mapping[str, Published]


def verdict(me: str, event: Event, view: View, now: float) -> str:
    """What this node does with its copy of ``event``. Pure."""
    others = {node: said for node, said in view.published.items() if node != me}
    if any(said.covers(event, now, node == event.fields["node"]) for node, said in others.items()):
        return SETTLED
    first = min(view.members, key=lambda node: (view.members[node], node), default=me)
    if first == me or me not in view.members:
        return DELIVER
    said = others.get(first)
    if (said and said.tries(event, now)) or now - event.at < _GRACE:
        return WAIT
    return DELIVER


class Peers:
    """The other nodes, with regard to one recipient."""

    def __init__(self, me: str, recipient: str, since: Callable[[], float] | None = None) -> None:
        self._me = me
        self._name = f"hafailover-alerts-{recipient}"
        self._pacemaker = Pacemaker(_run, 10.0)
        self._since = since or member_since
        self._settled: deque[tuple[str, float]] = deque(maxlen=_REMEMBERED)
        self._upto = 0.0
        self._view: View | None = None
        self._first = True
        self._looked = -_LOOK
        self._said = 0.0
        self._unsaid = False
        self._rest = 0.0  # monotonic: until then the cluster is not asked

    def verdict(self, event: Event) -> str:
        """DELIVER, WAIT or SETTLED. A cluster that does not answer changes nothing: who was the first node remains it."""
        if time.monotonic() - self._looked >= _LOOK and time.monotonic() >= self._rest:
            self._look()
        if self._view is None:
            return DELIVER if self._first else WAIT
        found = verdict(self._me, event, self._view, time.time())
        members = self._view.members
        self._first = self._me in members and members[self._me] == min(members.values())
        return found

    def _look(self) -> None:
        try:
            seen = self._pacemaker.view("", "")
            said = {node: read(text) for node, text in self._pacemaker.published(self._name).items()}
            self._view = View(
                {node: int(seen.ids.get(node) or 0) for node in seen.joined},
                {node: one for node, one in said.items() if one is not None},
            )
        except (PacemakerError, OSError, ValueError):
            self._view = None
            self._rest = time.monotonic() + _PAUSE
        self._looked = time.monotonic()

    def settled(self, event: Event) -> None:
        """This node has delivered or given up ``event``; published by the next ``publish``."""
        self._settled.append((event.same(), event.at))
        self._upto = max(self._upto, event.at)
        self._unsaid = True

    def publish(self, holding: float, now: bool = False) -> None:
        """Tell the others what is new, and from time to time that this node tries. ``holding`` as in Published."""
        quiet = time.monotonic() - self._said
        if not (self._unsaid and (now or quiet > 0.2)) and not (holding and quiet > _GRACE / 3):
            return
        if time.monotonic() < self._rest:
            return
        keys = dict(self._settled)
        # Nothing of the future is settled: a clock that was ahead, and is right again, must not speak for what comes.
        upto = min(self._upto, time.time(), holding or self._upto)
        value = Published(time.time(), self._since(), upto, holding, keys).text()
        try:
            self._pacemaker.publish(self._name, value)
            self._unsaid = False
        except (PacemakerError, OSError):
            self._rest = time.monotonic() + _PAUSE  # said again
        self._said = time.monotonic()


def member_since() -> float:
    """Since when this node's Pacemaker runs, as Unix time; now, if it does not."""
    for number in os.listdir("/proc"):
        if not number.isdigit():
            continue
        try:
            with open(f"/proc/{number}/comm") as file:
                if not file.read().startswith("pacemaker-contr"):
                    continue
            with open("/proc/uptime") as file:
                up = float(file.read().split()[0])
        except OSError:
            continue
        return time.time() - up + float(proc.started(int(number)) or 0) / os.sysconf("SC_CLK_TCK")
    return time.time()


def _run(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> process.Result:
    path = os.environ.get("HAFAILOVER_PATH") or _PATH
    program = process.find(argv[0], path)
    if program is None:
        raise PacemakerError(f"{argv[0]} is not installed")
    environment = {"PATH": path, "LC_ALL": "C"}
    return process.run(program, argv, timeout or 10.0, {**environment, **_passed_on()}, input)


def _passed_on() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("HAFAILOVER_")}
