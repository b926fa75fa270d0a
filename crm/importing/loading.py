"""What the loader says about a draft: ties that cannot be are taken out, and a topology to compare with is made of what loads.

The loader is asked about the mapping itself and for all it has to say at once, so that the rounds are few however large the cluster is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hafailover.crm import topology, yamldoc
from hafailover.crm.errors import UsageError
from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.topology import Topology

_TIES = ("after", "with", "follows")
_PARTS = ("from", "tomcats")  # options that name another service, without which there is nothing to serve
_ROUNDS = 16
_ALL = 1_000_000
ANY = "any"
"""The interface of an address that cannot be found because the links are invented; it is in no comparison."""


@dataclass(frozen=True)
class Said:
    """What the loader says about one place."""

    path: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class StandIn:
    """``topology`` is None when nothing helped; ``removed`` is what was left out ("services.db"), ``invented`` node → address."""

    topology: Topology | None
    removed: list[str]
    invented: dict[str, str]


def data(draft: Draft) -> dict[str, Any]:
    """The draft as the mapping of a topology."""
    found: dict[str, Any] = {"version": 1}
    for key in ("lab", "cluster"):
        if key in draft.head:
            found[key] = draft.head[key]
    found["nodes"] = draft.nodes
    for key in ("fencing", "quorum"):
        if key in draft.head:
            found[key] = draft.head[key]
    if draft.vips:
        found["vips"] = draft.vips
    if draft.services:
        found["services"] = draft.services
    if "history" in draft.head:
        found["history"] = draft.head["history"]
    return found


def said(written: Mapping[str, Any], most: int = _ALL) -> list[Said]:
    """What the loader says about this mapping."""
    return _examined(written, most)[1]


def _examined(written: Mapping[str, Any], most: int = _ALL) -> tuple[Topology | None, list[Said]]:
    try:
        made, found = topology.examined(yamldoc.Document("topology", "", written, {}), most)
    except UsageError as error:
        return None, [Said((), str(error))]
    return made, [Said(tuple(map(str, one.path)), one.message) for one in found]


def with_links(draft: Draft) -> tuple[dict[str, Any], dict[str, str]]:
    """The mapping with an invented link for each node that has none, and these links."""
    written = copy.deepcopy(data(draft))
    invented: dict[str, str] = {}
    for number, (name, node) in enumerate(written["nodes"].items()):
        if not node.get("links"):
            invented[name] = _invented(number)
            node["links"] = [invented[name]]
    return written, invented


def settle(draft: Draft) -> None:
    """Take out of the draft the ties that a topology cannot have, each with the loader's own reason."""
    for _ in range(_ROUNDS):
        ties = [one for one in said(with_links(draft)[0]) if set(one.path) & set(_TIES)]
        if not [one for one in _last_first(ties) if _untie(draft, one)]:
            return


def settle_fencing(draft: Draft) -> None:
    """Take out of the fence devices what the loader does not take, each with its own reason; SBD is left to a person."""
    for _ in range(_ROUNDS):
        written = {key: value for key, value in with_links(draft)[0].items() if key not in ("vips", "services")}
        found = said(written)
        # What is wrong with a whole device may come of a parameter of it that is wrong, too.
        if not [one for one in found if _unfence(draft, one, whole=False)] and not [
            one for one in found if _unfence(draft, one, whole=True)
        ]:
            return


def _unfence(draft: Draft, problem: Said, whole: bool) -> bool:
    """Take one parameter of a fence device, or the ``whole`` device, out of the draft, and say so; whether it was there."""
    path = problem.path
    if path[:1] == ("fencing",):
        holder, key, name, inner = draft.head, "fencing", "fencing", path[1:2]
    elif path[:1] == ("nodes",) and path[2:3] == ("fence",) and path[1] in draft.nodes:
        holder, key, name, inner = draft.nodes[path[1]], "fence", f"nodes.{path[1]}.fence", path[3:4]
    else:
        return False
    device = holder.get(key)
    if device is None or "sbd" in device:
        return False
    if whole == bool(inner and inner[0] in device and inner[0] != "agent"):
        return False
    if not whole:
        del device[inner[0]]
        text = f"{findings.visible(inner[0], 60)} {problem.message}; it is not in the topology"
    else:
        del holder[key]
        text = f"the device is not in the topology: it {problem.message}"
    draft.notes.add(findings.LEFT_OUT, name, text)
    return True


def _last_first(found: Iterable[Said]) -> list[Said]:
    """The last of a list first, so that the numbers of the others hold."""
    return sorted(
        found, key=lambda one: (one.path[:3], len(one.path[3:]), [part.zfill(9) for part in one.path[3:]]), reverse=True
    )


def _untie(draft: Draft, problem: Said) -> bool:
    """Take one tie out of the draft, and say so; whether it was there."""
    section, name, key = (*problem.path, "", "", "")[:3]
    entry = getattr(draft, section).get(name) if section in ("vips", "services") else None
    written = _taken(entry, problem.path)
    if written is None:
        return False
    text = f"{key} {findings.visible(written, 80)} is not possible in a topology: {problem.message}"
    draft.notes.add(findings.LEFT_OUT, f"{section}.{name}", text)
    return True


def _taken(entry: dict[str, Any] | None, path: tuple[str, ...]) -> Any:
    """The tie at ``path``, which is in ``entry`` no more; None when there is none."""
    key, index = (*path, "", "", "", "")[2:4]
    if entry is None or key not in _TIES or key not in entry:
        return None
    if key == "after" and index.isdecimal():
        if int(index) >= len(entry["after"]):
            return None
        written = entry["after"].pop(int(index))
        if not entry["after"]:
            del entry["after"]
        return written
    return entry.pop(key)


def stand_in(draft: Draft) -> StandIn:
    """A topology to compare with even where the draft does not load: what is missing is invented, what is wrong is left out."""
    written, invented = with_links(draft)
    removed: list[str] = []
    for _ in range(_ROUNDS):
        made, found = _examined(written)
        if not found:
            return StandIn(made, removed, invented)
        gone: set[str] = set()
        if not [one for one in _last_first(found) if _leave_out(written, one, gone, removed, invented)]:
            break
        _without(written, gone, removed)
    return StandIn(None, removed, invented)


def _leave_out(
    written: dict[str, Any], problem: Said, gone: set[str], removed: list[str], invented: dict[str, str]
) -> bool:
    """Take what is wrong out of ``written``; whether that changed anything. ``gone``: the names of services and addresses."""
    path = problem.path
    section, name, key = (*path, "", "", "")[:3]
    if section == "nodes" and name in written["nodes"]:
        node = written["nodes"][name]
        if key == "links":
            # One link of one kind for all.
            if len(invented) == len(written["nodes"]):
                return False
            for number, (other, about) in enumerate(written["nodes"].items()):
                invented[other] = _invented(number)
                about["links"] = [invented[other]]
            return True
        if key == "fence":
            if node.pop("fence", None) is not None:
                removed.append(f"nodes.{name}.fence")
            return True
        changed = written.get("lab") is not True
        written["lab"] = True
        return changed
    if section in ("vips", "services") and name:
        entry = written.get(section, {}).get(name)
        if entry is None:
            return True  # it is gone already, with another problem
        if section == "vips" and invented and path[-1] == "ip" and entry.get("nic") is None:
            entry["nic"] = ANY
        elif _taken(entry, path) is None:
            del written[section][name]
            gone.add(name)
            removed.append(f"{section}.{name}")
        return True
    if section in ("quorum", "fencing"):
        if written.pop(section, None) is not None:
            removed.append(section)
        return True
    if path[:2] == ("cluster", "detection"):
        return written["cluster"].pop("detection", None) is not None
    return False


def _without(written: dict[str, Any], gone: set[str], removed: list[str]) -> None:
    """Take out the ties to what is ``gone``, and services that are nothing without it: at once, for a chain would take a round each."""
    services = written.get("services", {})
    needing: dict[str, list[str]] = {}
    for name, service in services.items():
        for key in _PARTS:
            if isinstance(service.get(key), str):
                needing.setdefault(service[key], []).append(name)
    waiting = list(gone)
    while waiting:
        for name in needing.get(waiting.pop(), ()):
            if services.pop(name, None) is not None:
                gone.add(name)
                waiting.append(name)
                removed.append(f"services.{name}")
    for entry in (*written.get("vips", {}).values(), *services.values()):
        for key in ("with", "follows"):
            if str(entry.get(key, "")).partition(".")[0] in gone:
                del entry[key]
        if any(one.partition(".")[0] in gone for one in entry.get("after", ())):
            entry["after"] = [one for one in entry["after"] if one.partition(".")[0] not in gone]


def _invented(number: int) -> str:
    return f"198.18.{number // 250 % 250}.{number % 250 + 1}"
