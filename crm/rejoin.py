"""Rejoining a node, as a client of its peer service: what would be done, doing it, and watching it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hafailover.agents.mariadb.cloning import WANTED, link, notes
from hafailover.agents.mariadb.cloning.link import Link, LinkError, PeerRefused
from hafailover.agents.mariadb.cloning.pace import mib
from hafailover.agents.mariadb.replication import Login
from hafailover.crm.errors import DONE, FAILED, INCOMPLETE, REFUSED, HafailoverError, RefusedError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.status import Service
from hafailover.crm.status_facts import gather
from hafailover.crm.status_read import read

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run

SCHEMA = 1
_TELLING = 1 << 20  # bytes after which the rate so far says something about the rest
_RECONNECT = 60.0  # seconds for the peer service to come back when the node is restarted meanwhile
_APPEAR = 120.0  # seconds for an instance that was not started to be cloned instead
_RUNGS = {
    "gtid": "follow by GTID, nothing is copied",
    "clone": "a clone; the old data are removed once it is in sync",
    "quarantine": "a clone; the old data are kept",
    "none": "nothing",
}
UNKNOWN = "unknown"  # it was begun, and the node does not say any more how far it is
INTERRUPTED = "interrupted"  # nobody watches any more; it goes on
EXIT = {
    notes.DONE: DONE, notes.FAILED: FAILED, notes.REFUSED: REFUSED, notes.INCOMPLETE: INCOMPLETE,
    UNKNOWN: FAILED, INTERRUPTED: 130,
}  # fmt: skip


class Node:
    """The peer service of one node of a service."""

    def __init__(self, service: Service, node: str, login: Login) -> None:
        self.service, self.name = service, node
        self._key = link.key(service.name, login.password)

    def call(self) -> Link:
        """Connect; LinkError."""
        return link.connect(self.service.nodes[self.name], self.service.clone_port, self._key)

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """One request, one answer; HafailoverError, RefusedError with the node's own sentence."""
        try:
            with self.call() as peer:
                peer.say({"v": link.VERSION, "do": do, **more})
                return peer.hear()
        except PeerRefused as refused:
            raise RefusedError(str(refused)) from None
        except LinkError as error:
            raise HafailoverError(f"{self.name} cannot be asked: {error}") from None

    def watch(self) -> Iterator[dict[str, Any]]:
        """The worker's progress until it ends; a connection that breaks is made again."""
        lost = 0.0
        while True:
            try:
                with self.call() as peer:
                    peer.say({"v": link.VERSION, "do": "progress"})
                    while True:
                        told = peer.hear()
                        lost = 0.0
                        yield told
                        if told.get("state") in EXIT:
                            return
            except PeerRefused as refused:
                raise HafailoverError(str(refused)) from None
            except LinkError as error:
                lost = lost or time.monotonic()
                if time.monotonic() - lost > _RECONNECT:
                    raise HafailoverError(f"{self.name} cannot be asked any more: {error}") from None
                time.sleep(1)

    def clone_at_start(self, run: Run) -> bool:
        """Have Pacemaker start an instance again whose server does not start, to be cloned instead; whether that has begun.

        False when its server has started after all: then it can be asked as any other.
        """
        pacemaker, wanted = Pacemaker(run), f"hafailover-{self.service.name}-{WANTED}"
        try:
            pacemaker.publish_for(self.name, wanted, "yes")
            pacemaker.clean_up(self.service.name, self.name)
        except PacemakerError as error:
            raise HafailoverError(str(error)) from None
        end = time.monotonic() + _APPEAR
        while time.monotonic() < end:
            # Asked before the worker: one that has begun in between is found by the answer of the second.
            started = self._started(run)
            try:
                with self.call() as peer:
                    peer.say({"v": link.VERSION, "do": "plan", "clone": True})
                    if peer.hear()["under_way"]:
                        return True
            except (LinkError, PeerRefused):
                pass  # it is just being started, or being cleaned up after a start that failed
            else:
                if started:
                    # Pacemaker was starting it when it was asked, too late for that start to see it. Left there, the permission would
                    # be for a failure some day.
                    with contextlib.suppress(PacemakerError):
                        pacemaker.publish_for(self.name, wanted, "no")
                    return False
            time.sleep(1)
        raise HafailoverError(f"{self.name} was not cloned within {_APPEAR:.0f} s: see hafailover status")

    def _started(self, run: Run) -> bool:
        """Whether Pacemaker has the instance as started, and does nothing with it now."""
        try:
            services = read(gather(run)).services
        except HafailoverError:
            return False
        found = next((one.instance(self.name) for one in services if one.name == self.service.name), None)
        return found is not None and found.role == "Unpromoted" and not found.pending


def lines(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A plan as rows for a person."""
    yield "rung", _RUNGS.get(plan["rung"], plan["rung"])
    yield "why", plan["why"]
    if plan["lost"]:
        yield "given up", f"{', '.join(plan['lost'])}: kept in the old data, and nowhere else"
    if "donor" in plan:
        rate = f" at up to {mib(plan['rate'])}/s, about {duration(plan['seconds'])}" if plan["rate"] else ""
        yield "from", f"{plan['donor']}, {mib(plan['size'])}{rate}"
        yield "space", f"{mib(plan['needed'])} needed beside the old data, {mib(plan['free'])} free"
    for path in plan["quarantine"]:
        yield "kept", f"{path} (--discard-old removes it)"


def pace(told: dict[str, Any]) -> str:
    """How fast a clone goes and how long it will take, of what the node tells; "" where nothing is copied."""
    total = told.get("total", 0)
    if not total:
        return ""
    done, rate = told["done"], told["rate"]
    left = f", {duration((total - done) / rate)} left" if done > _TELLING and rate and done < total else ""
    return f"{mib(rate)}/s{left}"


def duration(seconds: float) -> str:
    """Seconds for a person: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def as_json(service: str, node: str, result: str, plan: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    """What ``-o json`` prints."""
    return {
        "schema": SCHEMA,
        "service": service,
        "node": node,
        "result": result,
        "exit_code": EXIT.get(result, DONE),
        "plan": plan,
        "last": last,
    }
