"""Which nodes the cluster has and which it is to have: what has to be done, and why it must not. Pure.

Corosync takes its node list from a file on each node, and reads it again when it is told to (``corosync-cfgtool -R``, which reaches all
nodes at once). Seen with Corosync 3.1.7: when one member still has the old file and a new node runs, the membership is formed anew
every few seconds and never settles; when the quorum device gets other votes or another algorithm, its daemon ends itself, and its
votes are gone until it is back. The rules below keep apply out of both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

# As corosync-qdevice-tool names them.
_ALGORITHMS = {"Fifty-Fifty split": "ffsplit", "LMS": "lms"}
STOP = "systemctl disable --now corosync-qdevice pacemaker corosync"


@dataclass(frozen=True)
class Member:
    """One entry of Corosync's node list."""

    name: str
    id: int
    links: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What the topology makes: members by name, the section quorum as Corosync's keys and values, and the device's votes (0: none)."""

    members: Mapping[str, Member]
    quorum: Mapping[str, str]
    device_votes: int
    two_node: bool
    file: str


@dataclass(frozen=True)
class Facts:
    """What is there.

    running, quorum: what Corosync works with now. configured: nodes in the CIB. seen: those that have ever joined. online: those that
    are full members now. unclean: those that may still run although they are lost. written: whether this machine's corosync.conf is
    the topology's. shown: members that have shown the same of theirs.
    """

    running: Mapping[str, Member]
    quorum: Mapping[str, str]
    configured: frozenset[str]
    seen: frozenset[str]
    online: frozenset[str]
    unclean: frozenset[str]
    written: bool
    shown: frozenset[str]


@dataclass(frozen=True)
class Steps:
    """What is to be done before the configuration: have Corosync read its file, await ``added``, take ``removed`` out of Pacemaker.

    ``leaving``: those of ``removed`` that Corosync still counts. The others are only remembered: the controllers of Pacemaker 2.1.5 keep a
    removed node in mind until they are restarted, and list it again, as offline, when the membership changes.
    """

    reload: bool = False
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.reload or self.added or self.removed)

    def sentences(self) -> list[str]:
        """What would be done, for a person."""
        said = ["have Corosync read corosync.conf again on all nodes"] if self.reload else []
        said += [f"wait until {name} has joined" for name in self.added]
        return said + [f"remove node {name} from Pacemaker" for name in self.removed]


def steps(wanted: Wanted, facts: Facts) -> Steps:
    """What has to be done so that the cluster has the nodes of the topology."""
    there = set(facts.running)
    added = tuple(name for name in wanted.members if name not in there or name not in facts.seen | facts.online)
    removed = tuple(sorted((there | facts.configured) - set(wanted.members)))
    differs = there != set(wanted.members) or (facts.written and dict(facts.quorum) != dict(wanted.quorum))
    return Steps(differs, added, removed, tuple(name for name in removed if name in there))


def refusal(wanted: Wanted, facts: Facts, todo: Steps) -> str | None:
    """Why ``todo`` must not be done now, and what to do first; None when it may."""
    new = [name for name in wanted.members if name not in facts.running]
    if new and todo.removed:
        return f"{_these(new)} is to be added and {_these(todo.removed)} removed: do one after the other, each with its own apply"
    reason = _removal(facts, todo.removed) or _other_identity(wanted, facts, todo.reload)
    if reason or not todo.reload:
        return reason
    return _not_written(wanted, facts, new) or _quorum(wanted, facts, new)


def _removal(facts: Facts, removed: tuple[str, ...]) -> str | None:
    running = [name for name in removed if name in facts.online]
    if running:
        return (
            f"{_these(running)} is no longer in the topology and still runs in the cluster: move away what must go on (hafailover promote "
            f"another node, crm_standby -N {running[0]} -v on), then there: {STOP}"
        )
    lost = [name for name in removed if name in facts.unclean]
    if lost:
        return f"{_these(lost)} is lost, and nobody knows that it is off: switch it off, then stonith_admin --confirm {lost[0]}"
    return None


def _other_identity(wanted: Wanted, facts: Facts, reload: bool) -> str | None:
    """Also when Corosync has nothing to read again: services get the addresses too, and look for their peers at a mistyped one."""
    owners = {member.id: name for name, member in facts.running.items()}
    for name, member in wanted.members.items():
        there = facts.running.get(name)
        if there and there.id != member.id:
            return f"{name} has the id {there.id} in the running cluster and {member.id} in the topology; ids stay as they are"
        owner = owners.get(member.id, name)
        if owner != name:
            return f"the id {member.id} of {name} is that of {owner} in the running cluster; give {name} one of its own"
        if there and (_moved(there, member) or (reload and there.links != member.links)):
            have, want = ", ".join(there.links), ", ".join(member.links)
            return (
                f"the addresses of {name} differ{' too' if reload else ''} ({have} in the running cluster, {want} in the topology); "
                "change them apart from the nodes, with a restart of Corosync"
            )
    return None


def _moved(there: Member, member: Member) -> bool:
    """Whether a link has another address; what is written as a name in a file made by hand may be the same one."""
    for old, new in zip(there.links, member.links):
        try:
            if ipaddress.ip_address(old) != ipaddress.ip_address(new):
                return True
        except ValueError:
            continue
    return False


def _not_written(wanted: Wanted, facts: Facts, new: list[str]) -> str | None:
    install = f"hafailover render {wanted.file} --install"
    what = f"{_these(new)} is not in Corosync's node list yet, and " if new else ""
    if not facts.written:
        return (
            f"{what}this machine's /etc/corosync/corosync.conf is not what the topology makes: on every node, {install}"
        )
    members = [name for name in wanted.members if name in facts.running]
    down = [name for name in members if name not in facts.online]
    if down:
        return (
            f"{what}{_these(down)} is not online, so it may come back with another corosync.conf, with which the membership "
            "would never settle: start it first"
        )
    silent = [name for name in members if name not in facts.shown]
    if silent:
        return (
            f"{what}{_these(silent)} has not shown that its corosync.conf is what the topology makes, and with two different ones the "
            f"membership would never settle: there, {install} (it also shows a file that was right already)"
        )
    return None


def _quorum(wanted: Wanted, facts: Facts, new: list[str]) -> str | None:
    """The device's votes are not counted on: its daemon ends itself when they change, and comes back later, or not."""
    have = len([name for name in wanted.members if name in facts.online])
    need = 1 if wanted.two_node else (len(wanted.members) + wanted.device_votes) // 2 + 1
    if have >= need:
        return None
    device = f" and {wanted.device_votes} of the quorum device" if wanted.device_votes else ""
    lost = (
        f"with {len(wanted.members)} votes of nodes{device}, {need} make a quorum, and {have} nodes are online: until more have joined the "
        "cluster could lose its quorum and stop everything"
    )
    if wanted.device_votes and have >= len(wanted.members) // 2 + 1:
        return (
            f"{lost}. Take quorum.device out of the topology for this step, and put it back when all nodes are members"
        )
    return f"{lost}. Add fewer nodes at a time" if len(new) > 1 else lost


def awaited(name: str, in_corosync: bool, file: str) -> str:
    """What is missing until ``name`` is a member, and what to do there."""
    if in_corosync:
        return f"Corosync on {name} is there, its Pacemaker has not joined (there: systemctl enable --now pacemaker)"
    return (
        f"{name} has not joined (there: hafailover render {file} --install; systemctl enable --now corosync pacemaker)"
    )


def other_algorithm(said: str, wanted: str) -> str | None:
    """The algorithm with which the device's daemon works, from ``corosync-qdevice-tool -s``, when it is not the one ``wanted``."""
    found = next((line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("Algorithm:")), "")
    works = _ALGORITHMS.get(found)
    return works if works and works != wanted else None


def _these(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names)
