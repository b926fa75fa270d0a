"""Take back one change of a configuration and nothing else: a comparison of three CIBs, element by element.

Elements are known by their id. What the change did not touch stays as it is now, to the letter: standby, bans, other people's resources,
and above all what the agents have noted since; an older note of who was primary would let the wrong server be promoted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hafailover.crm import applied
from hafailover.crm.change import WORDS, Change, described, differing, sentence, shown
from hafailover.crm.edits.mask import HIDDEN
from hafailover.crm.pacemaker_options import WRITTEN_BY_PACEMAKER
from lxml import etree

RESOURCES = ("primitive", "group", "clone", "master", "bundle", "template")
_CONSTRAINTS = ("rsc_location", "rsc_colocation", "rsc_order", "rsc_ticket")
# What an operator sets and takes back without anybody calling it a change of the configuration.
_HANDS = frozenset({"maintenance-mode", "maintenance", "target-role", "is-managed", "stop-all-resources", "standby"})
Skip = Callable[[Any], bool]


@dataclass(frozen=True)
class Reverted:
    """The element cib without the change, what that takes, and what somebody has changed since where the change was, in sentences."""

    tree: Any
    changes: tuple[Change, ...]
    conflicts: tuple[str, ...]


def revert(live: Any, before: Any, after: Any, force: bool = True) -> Reverted:
    """Take back in a copy of the element cib ``live`` what made ``after`` of ``before``; where somebody was at the same place since, it is
    told as a conflict, and what was ``before`` comes back only with ``force``."""
    tree = copy.deepcopy(live)
    work = _Work(_not_ours, force)
    work.element(before.find("configuration"), after.find("configuration"), tree.find("configuration"))
    return Reverted(tree, tuple(work.changes), tuple(work.conflicts))


def since(after: Any, live: Any) -> tuple[Change, ...]:
    """What somebody has changed from ``after`` to ``live`` (elements cib), but for what operators and agents do from day to day."""
    return _between(_daily, after, live)


def between(old: Any, new: Any) -> tuple[Change, ...]:
    """What :func:`revert` may have changed from ``old`` to ``new`` (elements cib)."""
    return _between(_not_ours, old, new)


def _between(skip: Skip, old: Any, new: Any) -> tuple[Change, ...]:
    work = _Work(skip)
    scratch = copy.deepcopy(old).find("configuration")
    work.element(new.find("configuration"), old.find("configuration"), scratch)
    return tuple(work.changes)


def _not_ours(element: Any) -> bool:
    """Nodes and their attributes, the agents' notes, and what Pacemaker itself writes."""
    if not isinstance(element.tag, str):
        return True
    if element.tag == "nodes":
        return True
    if element.tag == "cluster_property_set" and (element.get("id") or "").startswith("hafailover-"):
        return True
    return element.tag == "nvpair" and element.get("name") in WRITTEN_BY_PACEMAKER and _in(element, "crm_config")


def _daily(element: Any) -> bool:
    if _not_ours(element) or (element.tag == "nvpair" and element.get("name") in _HANDS):
        return True
    if element.tag in ("meta_attributes", "cluster_property_set"):
        return len(element) > 0 and all(_daily(child) for child in element)
    return element.tag in _CONSTRAINTS and (element.get("id") or "").startswith("cli-")


def _lasting(element: Any) -> Any:
    """A copy without what operators set from day to day inside of it."""
    found = copy.deepcopy(element)
    for inner in list(found.iterdescendants()):
        if inner.getparent() is not None and _daily(inner):
            inner.getparent().remove(inner)
    return found


def _in(element: Any, tag: str) -> bool:
    return any(above.tag == tag for above in element.iterancestors())


class _Work:
    def __init__(self, skip: Skip, force: bool = True) -> None:
        self.changes: list[Change] = []
        self.conflicts: list[str] = []
        self._skip, self._force = skip, force

    def element(self, before: Any, after: Any, live: Any) -> None:
        """Bring ``live`` from ``after`` to ``before``, where the two differ."""
        self._attributes(before, after, live)
        was, became, now = (self._children(one) for one in (before, after, live))
        for key in [*became, *(one for one in was if one not in became)]:
            old, new, found = was.get(key), became.get(key), now.get(key)
            if old is None:
                self._taken_away(new, found)
            elif new is None:
                self._put_back(old, found, live, was, now)
            elif found is not None:
                self.element(old, new, found)
            elif not same(old, new):
                self.conflicts.append(f"{_named(new)} was changed, and somebody has removed it since")
        self._order(was, became, live)

    def _say(self, element: Any, change: Change) -> None:
        # The record of what hafailover has set goes along; nobody wants to read it.
        if not any(one.get("id") == applied.RECORD for one in (element, *element.iterancestors())):
            self.changes.append(change)

    def _children(self, element: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for child in element:
            if self._skip(child):
                continue
            key = (child.tag, child.get("id"))
            number = 0
            while key in found:  # an id that is there twice, or none
                number += 1
                key = (child.tag, child.get("id"), number)  # type: ignore[assignment]
            found[key] = child
        return found

    def _attributes(self, before: Any, after: Any, live: Any) -> None:
        for name in sorted({*before.attrib, *after.attrib}):
            was, became, now = before.get(name), after.get(name), live.get(name)
            if was == became or now == was:
                continue
            if now != became:
                self.conflicts.append(f"{_named(live)} was changed, and somebody has changed it again since")
                if not self._force:
                    continue
            self._say(live, _changed(live, name, now, was))
            if was is None:
                live.attrib.pop(name, None)
            else:
                live.set(name, was)

    def _taken_away(self, new: Any, found: Any) -> None:
        if found is None:
            return
        if not same(_lasting(new), _lasting(found)):
            self.conflicts.append(f"{_named(new)} was added, and somebody has changed it since")
            if not self._force:
                return
        self._say(found, Change("remove", _named(found), _detail(found), _owner(found)))
        found.getparent().remove(found)

    def _put_back(self, old: Any, found: Any, live: Any, was: dict[Any, Any], now: dict[Any, Any]) -> None:
        if found is not None:
            if same(old, found):
                return
            self.conflicts.append(f"{_named(old)} was removed, and somebody has added another one since")
            if not self._force:
                return
            live.remove(found)
        new = copy.deepcopy(old)
        keys = list(was)
        place = keys.index(next(key for key in keys if was[key] is old))
        # A neighbour that is there already says where; the order of a group's members and of attribute sets matters.
        ahead = [now[key] for key in keys[:place] if key in now and now[key].getparent() is live]
        if ahead:
            ahead[-1].addnext(new)
        else:
            live.insert(0, new)
        now[keys[place]] = new
        self._say(old, Change("add", _named(old), _detail(old), _owner(old)))

    def _order(self, was: dict[Any, Any], became: dict[Any, Any], live: Any) -> None:
        now = self._children(live)
        common = [key for key in was if key in became]
        if common == [key for key in became if key in was] or live.tag not in ("group", "resource_set"):
            return
        before = [key for key in was if key in now]
        ours = [key for key in now if key in set(before)]
        if ours == before:
            return
        places = [live.index(now[key]) for key in ours]
        for key in ours:
            live.remove(now[key])
        for place, key in zip(places, before):
            live.insert(place, now[key])
        name = live.get("id") or live.tag
        self.changes.append(
            Change("change", f"order of the group {name}", " ".join(str(key[1]) for key in before), name)
        )


def same(one: Any, other: Any) -> bool:
    """Whether two elements say the same."""
    return bytes(etree.tostring(one, method="c14n", with_tail=False)) == bytes(
        etree.tostring(other, method="c14n", with_tail=False)
    )


def _owner(element: Any) -> str:
    for one in (element, *element.iterancestors()):
        if one.tag in RESOURCES:
            return str(one.get("id"))
    return ""


def _named(element: Any) -> str:
    if element.tag in RESOURCES:
        return described(element)
    owner = _owner(element)
    of = f" of {owner}" if owner else ""
    if element.tag == "nvpair":
        around = element.getparent()
        kind = around.tag if around is not None else ""
        section = next((one.tag for one in element.iterancestors() if one.tag in WORDS and one.tag != kind), kind)
        return f"{WORDS.get(kind if owner else section, kind)} {element.get('name')}{of}"
    if element.tag == "op":
        every = "" if element.get("interval") in (None, "0") else f" every {element.get('interval')}"
        return f"operation {element.get('name')}{every}{of}"
    name = f" {element.get('id')}" if element.get("id") else ""
    return f"{WORDS.get(element.tag, element.tag)}{name}{of}"


def _detail(element: Any) -> str:
    if element.tag == "nvpair":
        return shown(element.get("name") or "", element.get("value"))
    if element.tag in _CONSTRAINTS:
        return sentence(element)
    pairs = (pair for pair in element.iter("nvpair") if not (pair.getparent().get("id") or "").startswith("applied-by"))
    return " ".join(f"{pair.get('name')}={shown(pair.get('name') or '', pair.get('value'))}" for pair in pairs)


def _changed(element: Any, name: str, old: Any, new: Any) -> Change:
    if element.tag == "nvpair" and name == "value":
        return Change("change", _named(element), differing(element.get("name") or "", old, new), _owner(element))
    # Where an alert is sent may be a secret in any form: who knows the address of a chat writes there.
    if element.tag == "recipient" and name == "value":
        return Change("change", _named(element), f"{name} {HIDDEN} → (another one)", _owner(element))
    return Change(
        "change", _named(element), f"{name} {differing(name, old or 'unset', new or 'unset')}", _owner(element)
    )
