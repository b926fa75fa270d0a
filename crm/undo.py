"""Take back a change of the configuration that hafailover made on this node: which one, whether that is safe, and the plan for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from hafailover.crm import applied, apply, undo_store
from hafailover.crm.apply import Plan
from hafailover.crm.apply_outcome import HalfDoneError, UncertainError
from hafailover.crm.change import WORDS, constrained
from hafailover.crm.errors import IncompleteError, RefusedError, UsageError
from hafailover.crm.formats import cib
from hafailover.crm.model import Configuration
from hafailover.crm.revert import RESOURCES, Reverted, between, revert, same, since
from hafailover.crm.schema import unknown
from hafailover.crm.undo_store import MADE, PENDING, UNCERTAIN, VERSION, Damaged, Entry

_LATE = 120.0  # seconds after which a change without an answer does not come any more; Pacemaker itself gives up then
_SHOWN = 8  # other people's changes that are listed


@dataclass(frozen=True)
class Taken:
    """The kept changes that are taken back, each for itself: the newest first, for what others did between two of them is not ours."""

    entries: tuple[Entry, ...]

    @property
    def number(self) -> int:
        """The number of the oldest one."""
        return self.entries[-1].number

    @property
    def what(self) -> str:
        """What was done, for people."""
        first = self.entries[-1]
        return first.what if len(self.entries) == 1 else f"everything since {first.number} ({first.what})"

    @property
    def cluster(self) -> str:
        """The name of the cluster to which it was done."""
        return self.entries[0].cluster

    def __str__(self) -> str:
        return str(replace(self.entries[0], number=self.number, what=self.what))


def settled(entry: Entry, live: Any, now: float) -> Entry | None:
    """``entry`` after a look at the element cib ``live``: a pending or uncertain one is made when it is in there, for as much of it as is
    in, and None when it is not and, at the Unix time ``now``, does not come any more."""
    if entry.state == MADE or not _same_cluster(entry, live):
        return entry
    taken = revert(live, entry.before, entry.after, force=False).tree
    if _differ(taken, live):
        if not _differ(revert(live, entry.after, entry.before, force=False).tree, live):
            return replace(entry, state=MADE)
        return replace(entry, before=taken, after=live, state=MADE)
    # A patch names the version that it is made for: once that is over, the cluster refuses it.
    over = _version(live) > _version(entry.before) or now - entry.when > _LATE
    return None if entry.state == PENDING or over else entry


def settle(live: Any) -> list[Entry | Damaged]:
    """What is kept, after what others left unfinished was compared with the element cib ``live`` and completed or dropped. Only for who
    holds the lock: the pending one may be somebody's who is at it."""
    found: list[Entry | Damaged] = []
    for entry in undo_store.entries():
        now = settled(entry, live, time.time()) if isinstance(entry, Entry) else entry
        if now is None:
            undo_store.forget(cast(Entry, entry))
        elif now is not entry and isinstance(now, Entry):
            found.append(undo_store.became(cast(Entry, entry), now.before, now.after))
        else:
            found.append(now)
    return found


def close(entry: Entry, error: BaseException, look: Callable[[], Any]) -> None:
    """Note what became of the pending ``entry`` after ``error``; ``look`` reads the live element cib. HafailoverError when it cannot."""
    if isinstance(error, RefusedError):
        undo_store.forget(entry)
        return
    if isinstance(error, HalfDoneError):
        undo_store.became(entry, error.made.before, error.made.after, UNCERTAIN if error.uncertain else MADE)
        return
    if isinstance(error, UncertainError):
        entry = undo_store.became(entry, error.made.before, error.made.after, UNCERTAIN)
    live = look()
    if isinstance(error, IncompleteError):
        # Part of it is in.
        undo_store.became(entry, revert(live, entry.before, entry.after, force=False).tree, live)
        return
    now = settled(entry, live, time.time())
    if now is None:
        undo_store.forget(entry)
    elif now is not entry:
        undo_store.became(entry, now.before, now.after)


def _name(live: Any) -> str:
    pair = live.find("configuration/crm_config/cluster_property_set/nvpair[@name='cluster-name']")
    return "" if pair is None else pair.get("value") or ""


def _same_cluster(entry: Entry, live: Any) -> bool:
    name = _name(live)
    return not (name and entry.cluster and name != entry.cluster)


def _version(tree: Any) -> tuple[int, ...]:
    return tuple(int(tree.get(key) or 0) for key in VERSION)


def _differ(one: Any, other: Any) -> bool:
    return not same(one.find("configuration"), other.find("configuration"))


def chosen(kept: Sequence[Entry | Damaged], number: int | None) -> Taken:
    """The changes from ``number`` to the last one, by default the last one alone; UsageError when it is not kept."""
    if not kept:
        raise RefusedError(
            "nothing is kept on this node that could be taken back; a change is kept on the node where it was made"
        )
    if all(one.number != number for one in kept) and number is not None:
        raise UsageError(unknown("change", number, [str(one.number) for one in kept]))
    wanted = kept[-1:] if number is None else [one for one in kept if one.number >= number]
    for one in wanted:
        if isinstance(one, Damaged):
            raise RefusedError(f"change {one.number} cannot be taken back, nothing was changed: {one.why}")
    return Taken(tuple(one for one in reversed(wanted) if isinstance(one, Entry)))


def reverted(entries: Sequence[Entry], live: Any) -> Reverted:
    """The element cib ``live`` without the changes ``entries``, the newest first; what others did before, between and after them stays.

    RefusedError when something of others would be left that refers to a resource that goes with a change.
    """
    tree = live
    conflicts: list[str] = []
    for entry in entries:
        found = revert(tree, entry.before, entry.after)
        tree = found.tree
        conflicts += found.conflicts
    tree = _without_strays(live, tree)
    # From the one to the other: what two changes did to the same place is one change back.
    return Reverted(tree, between(live, tree), tuple(dict.fromkeys(conflicts)))


def _without_strays(live: Any, tree: Any) -> Any:
    """``tree`` without the bans and preferences of resources that it has no longer and ``live`` has: a move that nobody clears would lie in
    wait for the next resource of that name, and Pacemaker takes no constraint of a resource that is not there."""
    section = tree.find("configuration/constraints")
    gone = _resources(live) - _resources(tree)
    if section is None or not gone:
        return tree
    for constraint in list(section):
        names = constrained(constraint) & gone
        if not names:
            continue
        if not (constraint.get("id") or "").startswith("cli-"):
            what = f"{WORDS.get(constraint.tag, constraint.tag)} {constraint.get('id')}"
            raise RefusedError(
                f"this would remove {', '.join(sorted(names))}, and the {what}, which somebody else has made, refers to it; "
                "nothing was changed. Remove that first"
            )
        section.remove(constraint)
    return tree


def _resources(tree: Any) -> set[str]:
    found = tree.iterfind("configuration/resources//*")
    return {str(one.get("id")) for one in found if one.tag in RESOURCES}


def refuse(taken: Taken, live: Any, despite: bool) -> None:
    """RefusedError when ``taken`` is of another cluster, or somebody has changed the configuration ``live`` since and that is not told."""
    for entry in taken.entries:
        if not _same_cluster(entry, live):
            raise RefusedError(
                f"what is kept here is of the cluster {entry.cluster}, and this is {_name(live)}; nothing was changed"
            )
        if entry.state != MADE:
            raise RefusedError(
                f"change {entry.number} ({entry.what}) is not in, but may still come, for the cluster did not answer it; "
                f"nothing was changed. Wait {_LATE:.0f} s, and see hafailover undo --list"
            )
    found = reverted(taken.entries, live)
    if despite or not found.changes:
        return
    first = taken.entries[-1]
    others = [str(one) for one in since(first.after, reverted(taken.entries[:-1], live).tree)]
    others += found.conflicts
    if not others:
        return
    more = f"\n  and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    listed = "\n  ".join(others[:_SHOWN])
    raise RefusedError(
        f"the configuration was changed since {first.clock} by somebody else or from another node; nothing was changed:\n"
        f"  {listed}{more}\n"
        "--despite-changes takes back only what was done from here, and keeps these"
    )


def plan(taken: Taken, live: Any) -> Plan:
    """The plan that takes ``taken`` back from the element cib ``live``; RefusedError when Pacemaker would not accept the outcome."""
    found = reverted(taken.entries, live)
    made = apply.planned(live, found.tree, found.changes)
    return replace(made, notes=(*made.notes, *found.conflicts))


def again(taken: Taken) -> Callable[[Any], Plan]:
    """The same plan from another element cib, for when the cluster's state has changed meanwhile."""
    return lambda live: plan(taken, live)


def own(tree: Any) -> Configuration:
    """What of the element cib ``tree`` hafailover made, whose running is waited for; others' resources may be stopped on purpose."""
    names = set(applied.read(tree.find("configuration")).resources)
    whole = cib.read(tree)
    return replace(whole, resources=tuple(one for one in whole.resources if getattr(one, "id", None) in names))
