"""A real cluster as the place of a drill, worked on from one of its nodes."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from hafailover.crm import local, waiting
from hafailover.crm.drill import cutting
from hafailover.crm.drill.reach import Reach
from hafailover.crm.errors import HafailoverError
from hafailover.crm.history import DIRECTORY, drain, records
from hafailover.crm.history.store import Busy, Store
from hafailover.crm.history.words import Step, merged
from hafailover.crm.pacemaker import PacemakerError
from hafailover.crm.status import NOTE, Status
from hafailover.crm.status_facts import GLANCE, gather
from hafailover.crm.status_judge import judge
from hafailover.crm.status_read import read

FENCE_TIMEOUT = 120
"""Seconds that a fence device may take."""
_HISTORY_WITHIN = 8.0  # seconds for what the other nodes have written down
_SAME_FENCING = 3.0  # seconds between two reports of one fencing: Pacemaker's history has whole seconds
_JOURNAL_TIMEOUT = 60.0
_TIME = "__REALTIME_TIMESTAMP"
_TELLING = 0.2  # seconds by which a clock has to differ


class State(NamedTuple):
    """A node's power, as far as it is known, and whether it is cut off."""

    power: str
    cut: bool


class Event(NamedTuple):
    """Something that happened to a node's power."""

    time: float
    node: str
    action: str


class ClusterPlace:
    """The cluster that this node belongs to. ``look`` says what its status is now.

    ``power_off`` and ``cut`` remember what they did, so that it is taken back in the end whatever happens. ``links``: the addresses of
    each node on all of Corosync's links; ``quorum_hosts``: those outside of the cluster that a node which is cut must not reach either.
    ``offsets``: the seconds by which nodes' clocks are ahead of this one's; what they write down is told by this node's clock.
    ``accepted``: the problems with which somebody has agreed to begin (their ``what``).
    """

    def __init__(
        self,
        status: Status,
        reach: Reach,
        links: Mapping[str, Sequence[str]] | None = None,
        quorum_hosts: Sequence[str] = (),
        look: Callable[[], Status] | None = None,
    ) -> None:
        self.name = status.cluster or "cluster"
        self.here = reach.here
        self.reach = reach
        self.begun = time.time()
        self.offsets: Mapping[str, float] = {}
        self.accepted: frozenset[str] = frozenset()
        self._nodes = {node.name: reach.server.addresses.get(node.name, "") for node in status.nodes}
        self._links = links or {}
        self._quorum_hosts = quorum_hosts
        self._look = look or (lambda: read(gather(local.run, GLANCE)))
        self._off: set[str] = set()
        self._cut: set[str] = set()
        self._events: list[Event] = []

    @property
    def nodes(self) -> Mapping[str, str]:
        """Every node and its address ("" where it holds no database)."""
        return self._nodes

    @property
    def cluster_nodes(self) -> list[str]:
        """The nodes whose journals can be read."""
        return [node for node in self._nodes if self.reach.works_on(node)]

    @property
    def data_nodes(self) -> list[str]:
        """The nodes that can be asked about the cluster: this one first."""
        return [self.here, *sorted(self.reach.by_ssh - {self.here})]

    @property
    def quorum_node(self) -> str | None:
        """Never ours to break."""
        return None

    def states(self) -> dict[str, State]:
        """What this drill has done to the nodes; what others did is not its business."""
        return {node: State("off" if node in self._off else "on", node in self._cut) for node in self._nodes}

    def problems(self) -> list[str]:
        """What ``hafailover status`` says is wrong, and nobody has accepted."""
        found = [problem for problem in judge(self._look()).problems if problem.severity != NOTE]
        return [problem.text for problem in found if problem.what not in self.accepted]

    def exec(
        self, node: str, argv: Sequence[str], timeout: float = 60, input: str | None = None, *, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` on a node as root, here or by ssh."""
        done = self.reach.run(node, argv, timeout, input)
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise HafailoverError(f"{node}: {argv[0]}: {said[-1] if said else f'exit code {done.returncode}'}")
        return done

    def mariadb(
        self, node: str, options: Sequence[str], statements: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the client program against a node's server, by the best account that there is."""
        return self.reach.mariadb(node, options, statements, timeout)

    def administers(self, node: str) -> bool:
        """Whether accounts can be made and removed there."""
        return self.reach.administers(node)

    def know(self, user: str, password: str) -> None:
        """Use the drill's account where there is none that may do more."""
        self.reach.know(user, password)

    def popen(self, node: str, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` on a node."""
        return subprocess.Popen(self.reach.command(node, argv), start_new_session=True, **keywords)

    def probe_popen(self, node: str, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start the program that watches a node's server here: it may lose sight of it, and says so."""
        return self.client_popen(argv, start_new_session=True, **keywords)

    def probe_address(self, node: str, socket: str, port: int) -> Mapping[str, Any]:
        """The socket of this node's own server, the port of all others."""
        if node == self.here:
            return {"unix_socket": socket}
        return {"host": self.reach.server.addresses[node], "port": port}

    def client_popen(self, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` on this node, with the interpreter that has our libraries."""
        return subprocess.Popen([sys.executable, *argv[1:]], **keywords)

    def cut(self, node: str) -> None:
        """Drop everything between a node and the other members and the quorum device, ssh apart."""
        peers = [
            address
            for name, database in self._nodes.items()
            if name != node
            for address in (database, *self._links.get(name, ()))
            if address
        ]
        run = self._runner(node)
        addresses = cutting.resolved(run, list(dict.fromkeys([*peers, *self._quorum_hosts])))
        self._cut.add(node)
        cutting.cut_node(run, addresses)

    def heal(self, node: str) -> None:
        """Take that back. A node that does not answer was fenced meanwhile, and has forgotten it."""
        try:
            cutting.heal(self._runner(node))
        except cutting.StillCut:
            raise
        except HafailoverError:
            pass
        self._cut.discard(node)

    def _runner(self, node: str) -> cutting.Run:
        return lambda argv, input="": self.exec(node, argv, 15.0, input or None, check=True).stdout

    def power_off(self, node: str, *, hold: bool = False) -> None:
        """Have the cluster's own fence device take a node's power; returns when the device says that it is off."""
        self._off.add(node)
        self._stonith("off", node)
        self._events.append(Event(time.time(), node, "off"))

    def power_on(self, node: str) -> None:
        """Have the fence device give it back, unless it has come back by itself, as after a fencing that restarts."""
        if node not in self._off and self._member(node):
            return
        self._stonith("on", node)
        self._events.append(Event(time.time(), node, "on"))
        self._off.discard(node)

    def _stonith(self, action: str, node: str) -> None:
        how = {"off": "--fence", "on": "--unfence"}[action]
        argv = ["stonith_admin", how, node, f"--timeout={FENCE_TIMEOUT}", "--tag=hafailover-drill"]
        done = local.run(argv, FENCE_TIMEOUT + 10)
        if done.rc:
            said = (done.err or done.out).strip().splitlines()
            raise HafailoverError(
                f"the fence device did not switch {node} {action}: {said[-1] if said else f'code {done.rc}'}"
            )

    def await_boot(self, node: str, timeout: float = 60.0) -> None:
        """Wait until Pacemaker runs on a node again."""

        waiting.wait(f"{node} is a member again", timeout, lambda: self._member(node) or None, 0.5)

    def _member(self, node: str) -> bool:
        try:
            found = self._look().node(node)
        except HafailoverError:
            return False
        return found is not None and found.online

    def power_log(self) -> list[Event]:
        """What this drill and the cluster did to the nodes' power since it began."""
        events = [*self._events]
        fenced = [
            Event(step.at, step.node, "off")
            for step in self.history(self.begun)
            if step.name == "fence" and not step.bad
        ]
        with contextlib.suppress(HafailoverError):
            for told in self._look().fencing.events:
                known = told.at is not None and told.at >= self.begun - 1 and told.status == "success"
                if known and told.action in ("off", "reboot"):
                    fenced.append(Event(float(told.at or 0), told.target, "off"))
        for event in fenced:
            near = (one for one in events if one.node == event.node and one.action == "off")
            if not any(abs(one.time - event.time) < _SAME_FENCING for one in near):
                events.append(event)
        return sorted(events)

    def fence_log(self) -> list[tuple[float, str, str]]:
        """The same as fencing."""
        return [(event.time, event.node, event.action) for event in self.power_log()]

    def history(self, since: float) -> list[Step]:
        """What the cluster itself has written down since then (Unix seconds), on all nodes whose records are here."""
        with contextlib.suppress(Busy, PacemakerError, OSError):
            drain.here(DIRECTORY).until_settled(_HISTORY_WITHIN)
        try:
            found = Store(DIRECTORY).everything(drain.limit(DIRECTORY, None))
        except OSError:
            return []
        found = [self._by_our_clock(record) for record in found]
        return [step for step in merged(sorted(found, key=records.place)) if step.at >= since]

    def _by_our_clock(self, record: records.Record) -> records.Record:
        ahead = self._ahead(record.node)
        return record._replace(order=record.at - round(ahead * 1e6)) if ahead else record

    def _ahead(self, node: str) -> float:
        """Not less than what comparing them takes: to correct by that would only add to it."""
        known = self.offsets.get(node, 0.0)
        return known if abs(known) >= _TELLING else 0.0

    def logs(self, node: str, since: float | str | None = None) -> str:
        """A node's journal as text; "" where it cannot be read."""
        if not self.reach.works_on(node):
            return ""
        return self.exec(node, ["journalctl", *_since(since), "--output=short-precise"], _JOURNAL_TIMEOUT).stdout

    def journal(
        self, node: str, since: float | str | None = None, matches: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """A node's journal records; none where it cannot be read or its journal does not last."""
        ahead = self._ahead(node)
        since = since + ahead if isinstance(since, (int, float)) else since
        try:
            text = self.exec(
                node, ["journalctl", *_since(since), "--output=json", "--all", *matches], _JOURNAL_TIMEOUT
            ).stdout
        except HafailoverError:
            return
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if ahead:
                    record[_TIME] = str(int(record[_TIME]) - round(ahead * 1e6))
                yield record

    def tables(self) -> bool:
        """The tables of others are none of a drill's business."""
        return False


def _since(since: float | str | None) -> list[str]:
    if since is None:
        return []
    return [f"--since=@{since:.6f}" if isinstance(since, (int, float)) else f"--since={since}"]


_OFFSET = re.compile(r"^-?\d+(\.\d+)?$")


def clock_offset(place: ClusterPlace, node: str) -> float | None:
    """By how many seconds the clock of ``node`` is ahead of this node's, to about a hundredth; None if its server does not say."""
    before = time.time()
    try:
        done = place.mariadb(node, ["--batch", "--skip-column-names"], "SELECT UNIX_TIMESTAMP(SYSDATE(6))", 5.0)
    except HafailoverError:
        return None
    text = done.stdout.strip()
    return float(text) - (before + time.time()) / 2 if done.returncode == 0 and _OFFSET.match(text) else None
