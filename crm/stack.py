"""What of a cluster can be brought to one node, what goes along with what, and what stays where it is. Pure.

A clone that serves on every node has nothing to move. A resource that is tied to another one by a mandatory colocation goes where that
one goes; only what is tied to nothing, the root, is told where to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from hafailover.crm import values
from hafailover.crm.resolved import INFINITY, Resolved, Resource

DATABASE = "ocf:hafailover:mariadb"
_REMOTE = "ocf:pacemaker:remote"


@dataclass(frozen=True)
class Mover:
    """Something that is on one node at a time: a primitive, a group, or the promoted instance of a promotable clone (``role``).

    primitives: what it consists of. root: the id of what it goes with: its own, another mover's, or the clone of a database.
    """

    id: str
    role: str
    primitives: tuple[str, ...]
    root: str

    @property
    def is_root(self) -> bool:
        """Whether it is tied to nothing else."""
        return self.root == self.id

    @property
    def words(self) -> str:
        """Its name for a person."""
        return f"the primary of {self.id}" if self.role else self.id


@dataclass(frozen=True)
class Stack:
    """``databases``: clone → primitive of each database. ``stays``: id → why nothing is moved."""

    movers: tuple[Mover, ...]
    databases: Mapping[str, str]
    stays: Mapping[str, str]

    @cached_property
    def roots(self) -> tuple[Mover, ...]:
        """What has to be told where to be."""
        return tuple(mover for mover in self.movers if mover.is_root)

    def with_root(self, root: str) -> tuple[Mover, ...]:
        """What goes with ``root`` (a mover, or the clone of a database), itself not among it."""
        return tuple(mover for mover in self.movers if mover.root == root and mover.id != root)

    def primitives(self, movers: Iterable[Mover]) -> frozenset[str]:
        """All that ``movers`` consist of."""
        return frozenset(name for mover in movers for name in mover.primitives)


def stack(resolved: Resolved, leave: frozenset[str] = frozenset()) -> Stack:
    """What there is; what is in ``leave`` stays where it is, and with a root all that is tied to it."""
    candidates: dict[str, tuple[str, tuple[str, ...]]] = {}
    databases: dict[str, str] = {}
    stays: dict[str, str] = {}
    for one in resolved.resources.values():
        if one.parent is not None or one.agent.startswith("stonith:"):
            continue
        primitives = tuple(member.id for member in resolved.primitives_of(one.id))
        database = next((member.id for member in resolved.primitives_of(one.id) if member.agent == DATABASE), "")
        if one.id in leave or database in leave:
            stays[one.id] = "is to stay where it is (--leave)"
        elif why := _stays(one, bool(database)):
            stays[one.id] = why
        elif database:
            databases[one.id] = database
        else:
            candidates[one.id] = (values.PROMOTED if one.promotable else "", primitives)
    leaders = {name: _leader(resolved, name, {*candidates, *databases, *stays}) for name in candidates}
    movers = []
    for name, (role, primitives) in candidates.items():
        root = _root(name, leaders)
        if root in stays:
            stays[name] = f"goes with {root}, which stays"
        else:
            movers.append(Mover(name, role, primitives, root))
    return Stack(tuple(movers), databases, stays)


def _stays(one: Resource, database: bool) -> str:
    if one.meta.get("target-role", "").lower() == "stopped":
        return "is switched off (target-role)"
    if one.kind == "bundle":
        return "is a bundle; this command moves none"
    if one.agent == _REMOTE or "remote-node" in one.meta:
        return "is a node by itself, with all that runs on it"
    if one.kind != "clone" or database:
        return ""
    if not one.promotable:
        return "runs on several nodes at a time"
    return "has several primaries at a time" if _several(one) else ""


def _several(one: Resource) -> bool:
    return (one.meta.get("promoted-max") or one.meta.get("master-max") or "1") != "1"


def _leader(resolved: Resolved, name: str, known: set[str]) -> str:
    """What ``name`` is tied to by a mandatory colocation, or "". What is on several nodes binds nothing to one of them."""
    found = list(_leaders(resolved, name, known))
    return next((one for one in found if resolved.resources[one].promotable), found[0] if found else "")


def _leaders(resolved: Resolved, name: str, known: set[str]) -> Iterator[str]:
    for one in resolved.colocations:
        if one.score < INFINITY or one.node_attribute or one.rsc_role == values.UNPROMOTED:
            continue
        if _top(resolved, one.rsc) != name or (one.rsc_role != values.PROMOTED and resolved.resources[name].promotable):
            continue
        leader = _top(resolved, one.with_rsc)
        if leader not in known or leader == name:
            continue
        other = resolved.resources[leader]
        if other.kind != "clone" or (one.with_role == values.PROMOTED and not _several(other)):
            yield leader


def _top(resolved: Resolved, name: str) -> str:
    found = resolved.resources.get(name)
    return name if found is None else found.top


def _root(name: str, leaders: Mapping[str, str]) -> str:
    """The end of the chain of leaders; of a ring the first by name, so that all in it have the same."""
    seen = [name]
    while leaders.get(seen[-1]):
        leader = leaders[seen[-1]]
        if leader in seen:
            return min(seen[seen.index(leader) :])
        seen.append(leader)
    return seen[-1]
