"""Bring a wanted configuration into a live CIB: everything else in it stays as it is, to the letter.

Works on XML elements, not on the model, because what must survive is also what the model has no name for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hafailover.crm import alerts_section, applied
from hafailover.crm.applied import KINDS, Record
from hafailover.crm.change import WORDS, Change, agent, constrained, described, differing, sentence, shown
from hafailover.crm.errors import RefusedError
from lxml import etree

_RESOURCES = ("primitive", "group", "clone")
_SET_TAGS = {"crm_config": "cluster_property_set", "rsc_defaults": "meta_attributes", "op_defaults": "meta_attributes"}


@dataclass(frozen=True)
class Merged:
    """The new CIB, and how it differs from the live one (the record of the apply itself is not listed)."""

    tree: Any
    changes: tuple[Change, ...]


def merge(live: Any, wanted: Any) -> Merged:
    """Merge the element cib ``wanted`` (of our making) into a copy of the element cib ``live``.

    RefusedError when something of somebody else is in the way.
    """
    return _Merge(copy.deepcopy(live), wanted).run()


class _Merge:
    def __init__(self, tree: Any, wanted: Any) -> None:
        self._tree = tree
        self._live = tree.find("configuration")
        self._wanted = wanted.find("configuration")
        self._before = applied.read(self._live)
        self._after: Record = applied.of(self._wanted)
        self._changes: list[Change] = []
        self._resources = {
            element.get("id"): element for element in self._section("resources").iter(*_RESOURCES, "master", "bundle")
        }

    def run(self) -> Merged:
        for section in applied.SECTIONS:
            self._options(section)
        previous = None
        for resource in self._wanted.find("resources"):
            previous = self._resource(resource, previous)
        self._drop_resources()
        self._constraints()
        before, after = self._before.alerts, self._after.alerts
        for told in alerts_section.merge(self._live, self._wanted, before, before - after):
            self._say(*told)
        self._record()
        return Merged(self._tree, tuple(self._changes))

    def _say(self, action: str, what: str, detail: str = "", resource: str = "") -> None:
        self._changes.append(Change(action, what, detail, resource))

    def _section(self, name: str) -> Any:
        found = self._live.find(name)
        return etree.SubElement(self._live, name) if found is None else found

    # Cluster properties and defaults.
    def _options(self, name: str) -> None:
        wanted = {pair.get("name"): pair for pair in self._wanted.iterfind(f"{name}/*/nvpair")}
        given_up = self._before.sections[name] - set(wanted)
        if not wanted and not given_up:
            return
        section = self._section(name)
        sets = [
            found
            for found in section.iterfind(_SET_TAGS[name])
            if found.get("id") != applied.RECORD and not (found.get("id") or "").startswith("hafailover-")
        ]
        for key, pair in wanted.items():
            found = _find_pair(sets, key)
            if found is None:
                own_id = pair.getparent().get("id")
                target = next((one for one in sets if one.get("id") == own_id), None)
                if target is None:
                    target = etree.SubElement(section, _SET_TAGS[name], id=own_id)
                    sets.append(target)
                target.append(copy.deepcopy(pair))
                self._say("add", f"{WORDS[name]} {key}", shown(key, pair.get("value")))
            else:
                self._set_value(found, pair.get("value"), f"{WORDS[name]} {key}")
        for key in sorted(given_up):
            found = _find_pair(sets, key)
            if found is not None:
                found.getparent().remove(found)
                self._say("remove", f"{WORDS[name]} {key}", f"was {shown(key, found.get('value'))}")

    def _set_value(self, pair: Any, value: str, what: str, resource: str = "") -> None:
        if pair.get("value") != value:
            self._say("change", what, differing(pair.get("name"), pair.get("value"), value), resource)
            pair.set("value", value)

    # Resources.
    def _resource(self, wanted: Any, previous: Any) -> Any:
        """Merge one resource; ``previous`` is the resource after which a new one is put."""
        name = wanted.get("id")
        live = self._resources.get(name)
        if live is None:
            live = self._add_resource(wanted, previous)
        elif live.tag != wanted.tag:
            raise RefusedError(
                f"the cluster has a {live.tag} named {name} where the topology makes a {wanted.tag}; rename one of them"
            )
        elif agent(live) != agent(wanted):
            if name not in self._before.resources:
                raise RefusedError(
                    f"the cluster has a resource {name} ({agent(live)}) that hafailover did not make, and the topology "
                    f"wants {agent(wanted)} under that name; rename one of them"
                )
            self._swap_agent(live, wanted)
        else:
            self._settings(live, wanted)
            for member in wanted.iterchildren(*_RESOURCES):
                self._member(live, member)
            if live.tag == "group":
                self._sort_group(live, [member.get("id") for member in wanted.iterchildren("primitive")])
        return live

    def _swap_agent(self, live: Any, wanted: Any) -> None:
        """Give ``live`` the agent of ``wanted``, with its parameters and operations; what an operator has set about the resource itself
        (target-role, is-managed, utilization) stays, what he has told the old agent is removed, and that is said."""
        name = live.get("id")
        self._say("change", f"resource {name}", f"{agent(live)} → {agent(wanted)}", name)
        ours = self._before.resources.get(name, set())
        for pair in live.iterfind("instance_attributes/nvpair"):
            if f"p:{pair.get('name')}" not in ours:
                was = shown(pair.get("name"), pair.get("value"))
                self._say("remove", f"parameter {pair.get('name')} of {name}", f"was {was}, for the old agent", name)
        for op in live.iterfind("operations/op"):
            if f"op:{op.get('id')}" not in ours:
                self._say("remove", f"operation {op.get('id')} of {name}", "it was the old agent's", name)
        for key in ("class", "provider", "type"):
            live.attrib.pop(key, None)
            if wanted.get(key) is not None:
                live.set(key, wanted.get(key))
        for old in [child for child in live if child.tag in ("instance_attributes", "operations")]:
            live.remove(old)
        for place, new in enumerate(wanted.iterfind("instance_attributes")):
            live.insert(place, copy.deepcopy(new))
        for new in wanted.iterfind("operations"):
            live.append(copy.deepcopy(new))
        self._settings(live, wanted)

    def _add_resource(self, wanted: Any, previous: Any) -> Any:
        new = copy.deepcopy(wanted)
        for member in list(new.iterchildren(*_RESOURCES)):
            existing = self._resources.get(member.get("id"))
            if existing is not None:
                # A resource that stood alone becomes the member of a clone or group: it moves with all it has.
                original = next(one for one in wanted if one.get("id") == member.get("id"))
                if existing.getparent().tag != "resources":
                    raise RefusedError(
                        f"{member.get('id')} is inside {existing.getparent().get('id')} in the cluster, and the topology "
                        f"makes it part of {new.get('id')}; take it out of there first, or rename the service"
                    )
                existing.getparent().remove(existing)
                new.replace(member, existing)
                self._resource(original, None)
        parent = self._section("resources")
        if previous is not None and previous.getparent() is parent:
            previous.addnext(new)
        else:
            parent.append(new)
        for element in new.iter(*_RESOURCES):
            self._resources[element.get("id")] = element
        self._say("add", described(new), _values(new), new.get("id"))
        return new

    def _member(self, live: Any, member: Any) -> None:
        existing = self._resources.get(member.get("id"))
        if existing is not None and existing.getparent() is live:
            self._resource(member, None)
        elif live.tag == "group" and existing is None:
            self._resource(member, None)
            live.append(self._resources[member.get("id")])
        else:
            raise RefusedError(
                f"{live.get('id')} in the cluster does not hold {member.get('id')} as the topology makes it; "
                "somebody has rearranged it, put it back or rename the service"
            )

    def _sort_group(self, live: Any, wanted: list[str]) -> None:
        """Put our members of a group into our order, in the places they hold; others' members stay where they are."""
        ours = [child for child in live if child.get("id") in set(wanted)]
        if [child.get("id") for child in ours] == wanted:
            return
        places = [live.index(child) for child in ours]
        for child in ours:
            live.remove(child)
        for place, name in zip(places, wanted):
            live.insert(place, self._resources[name])
        self._say("change", f"order of the group {live.get('id')}", " ".join(wanted), live.get("id"))

    def _settings(self, live: Any, wanted: Any) -> None:
        name = live.get("id")
        for kind, mark in KINDS.items():
            pairs = {pair.get("name"): pair for pair in wanted.iterfind(f"{kind}/nvpair")}
            given_up = {
                word[2:] for word in self._before.resources.get(name, set()) if word.startswith(f"{mark}:")
            } - set(pairs)
            sets = list(live.iterfind(kind))
            for key, pair in pairs.items():
                found = _find_pair(sets, key)
                what = f"{WORDS[kind]} {key} of {name}"
                if found is not None:
                    self._set_value(found, pair.get("value"), what, name)
                    continue
                target = next((one for one in sets if _plain(one)), None)
                if target is None:
                    target = etree.Element(kind, id=pair.getparent().get("id"))
                    # Sets stand before the operations and members, as Pacemaker writes them.
                    live.insert(len(sets), target)
                    sets.append(target)
                target.append(copy.deepcopy(pair))
                self._say("add", what, shown(key, pair.get("value")), name)
            for key in sorted(given_up):
                found = _find_pair(sets, key)
                if found is not None:
                    found.getparent().remove(found)
                    was = shown(key, found.get("value"))
                    self._say("remove", f"{WORDS[kind]} {key} of {name}", f"was {was}", name)
            for emptied in sets:
                if len(emptied) == 0 and not pairs:
                    live.remove(emptied)
        self._operations(live, wanted)

    def _operations(self, live: Any, wanted: Any) -> None:
        name = live.get("id")
        ops = {op.get("id"): op for op in wanted.iterfind("operations/op")}
        before = {word[3:] for word in self._before.resources.get(name, set()) if word.startswith("op:")}
        there = {op.get("id"): op for op in live.iterfind("operations/op")}
        for op_id, op in ops.items():
            what = f"operation {op.get('name')} every {op.get('interval')} of {name}"
            if op.get("interval") == "0":
                what = f"operation {op.get('name')} of {name}"
            found = there.get(op_id)
            if found is None:
                target = live.find("operations")
                if target is None:
                    target = etree.SubElement(live, "operations")
                target.append(copy.deepcopy(op))
                self._say("add", what, resource=name)
                continue
            for key, value in op.attrib.items():
                if found.get(key) != value:
                    self._say("change", what, f"{key} {found.get(key) or 'unset'} → {value}", name)
                    found.set(key, value)
        for op_id in sorted(before - set(ops)):
            if op_id in there:
                there[op_id].getparent().remove(there[op_id])
                self._say("remove", f"operation {op_id} of {name}", resource=name)

    def _drop_resources(self) -> None:
        gone = set(self._before.resources) - set(self._after.resources)
        elements = [self._resources[name] for name in sorted(gone) if name in self._resources]
        for element in elements:
            strangers = [
                inner.get("id") for inner in element.iter(*_RESOURCES) if inner.get("id") not in self._before.resources
            ]
            if strangers:
                raise RefusedError(
                    f"the topology no longer has {element.get('id')}, but somebody has put {', '.join(strangers)} into it; "
                    "move that out first"
                )
        for element in elements:
            parent = element.getparent()
            if parent is not None:
                parent.remove(element)
            if parent is None or parent.get("id") not in gone:
                self._say("remove", described(element), resource=element.get("id"))
        self._refuse_dangling({element.get("id") for element in elements})

    def _refuse_dangling(self, gone: set[str]) -> None:
        if not gone:
            return
        section = self._section("constraints")
        for constraint in list(section):
            names = constrained(constraint) & gone
            if not names or constraint.get("id") in self._before.constraints:
                continue
            if (constraint.get("id") or "").startswith("cli-"):
                # A ban or preference somebody set by hand has no meaning without its resource.
                section.remove(constraint)
                self._say("remove", f"{WORDS.get(constraint.tag, constraint.tag)} {constraint.get('id')}")
            else:
                raise RefusedError(
                    f"constraint {constraint.get('id')}, which hafailover did not make, refers to "
                    f"{', '.join(sorted(names))}, which the topology no longer has; remove the constraint first"
                )

    # Constraints.
    def _constraints(self) -> None:
        section = self._section("constraints")
        there = {constraint.get("id"): constraint for constraint in section if isinstance(constraint.tag, str)}
        for constraint in self._wanted.find("constraints"):
            name = constraint.get("id")
            what = f"{WORDS[constraint.tag]} {name}"
            found = there.get(name)
            if found is None:
                section.append(copy.deepcopy(constraint))
                self._say("add", what, sentence(constraint))
            elif not _same(found, constraint):
                section.replace(found, copy.deepcopy(constraint))
                self._say("change", what, f"{sentence(found)} → {sentence(constraint)}")
        for name in sorted(self._before.constraints - self._after.constraints):
            if name in there:
                section.remove(there[name])
                self._say("remove", f"{WORDS.get(there[name].tag, there[name].tag)} {name}")

    def _record(self) -> None:
        section = self._section("crm_config")
        new = applied.element(self._after)
        old = section.find(f"cluster_property_set[@id='{applied.RECORD}']")
        if old is None:
            section.append(new)
        elif not _same(old, new):
            section.replace(old, new)


def _plain(found: Any) -> bool:
    """A set that always holds: no rule, and not a reference to another."""
    return found.get("id-ref") is None and found.find("rule") is None


def _find_pair(sets: Iterable[Any], name: str) -> Any:
    for found in sets:
        if _plain(found):
            for pair in found.iterfind("nvpair"):
                if pair.get("name") == name:
                    return pair
    return None


def _values(resource: Any) -> str:
    pairs = resource.iterfind(".//instance_attributes/nvpair")
    return " ".join(f"{pair.get('name')}={shown(pair.get('name'), pair.get('value'))}" for pair in pairs)


def _same(one: Any, other: Any) -> bool:
    if one.tag != other.tag or dict(one.attrib) != dict(other.attrib) or len(one) != len(other):
        return False
    return all(_same(left, right) for left, right in zip(one, other))
