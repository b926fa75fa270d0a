"""StackStorm's units, as people put them into a cluster one by one."""

from __future__ import annotations

import re
from typing import Any

from hafailover.agents.st2.names import ACTIVE, SINGLETON, base
from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.resolved import Resource

_AGENT = re.compile(r"(?:systemd|service|lsb|upstart):(st2[A-Za-z0-9_.@:-]*)\Z")
_RUNNERS = re.compile(r"st2actionrunner(@.*)?\Z")
_WHAT = (
    "one resource for all units of a kind, which also asks st2api, st2auth and st2stream by HTTP, restarts single units in place, has the "
    "workers begin anew when broker, database or content did, and lets running actions finish before a stop"
)


def read(draft: Draft) -> None:
    """One service for what runs on every node, one for what must run once."""
    every: list[tuple[str, Resource]] = []
    once: list[tuple[str, Resource]] = []
    for one in draft.resolved.resources.values():
        match = _AGENT.match(one.agent) if one.kind == "primitive" and one.id not in draft.anchors else None
        top = draft.resolved.resources[one.top]
        if match is None or top.kind == "bundle":
            continue
        unit = match[1][: -len(".service")] if match[1].endswith(".service") else match[1]
        cloned = top.kind == "clone"
        if base(unit) in SINGLETON or (base(unit) not in ACTIVE and not cloned):
            once.append((unit, one))
            if cloned:
                text = f"{findings.visible(unit, 60)} runs on every node in the source, and does everything twice; it will run once"
                draft.notes.add(findings.BECOMES, one.id, text)
        else:
            every.append((unit, one))
            if not cloned:
                text = f"{findings.visible(unit, 60)} runs on one node in the source; it will run on every node, as StackStorm allows"
                draft.notes.add(findings.BECOMES, one.id, text)
    _service(draft, "workers", every, ACTIVE, "active-active")
    _service(draft, "single", once, SINGLETON, "singleton")


def _service(draft: Draft, name: str, found: list[tuple[str, Resource]], whole: tuple[str, ...], word: str) -> None:
    if not found:
        return
    units = list(dict.fromkeys(unit for unit, _ in found))
    # However many runners there are, they are instances of one template.
    complete = {base(unit) for unit in units} == set(whole)
    options: dict[str, Any] = {"type": "stackstorm", "units": word if complete else units}
    tops = list(dict.fromkeys(one.top for _, one in found))
    ons = [draft.where(one.id, one.top) for _, one in found]
    if all(ons) and ons[0]:
        options["on"] = ons[0]
    parts = [one for _, one in found]
    parts += [draft.resolved.resources[top] for top in tops if _whole(draft, top, parts)]
    taken = draft.service(name, options, *parts)
    result = f"{taken}-clone" if word == "active-active" else taken
    for one in parts:
        draft.renames[one.id] = result
        if one.kind == "primitive":
            draft.renames[one.id] = taken
            draft.becomes(one, "ocf:hafailover:st2", _WHAT)
    draft.inside |= (
        {(left.id, right.id) for left in parts for right in parts if left is not right} if len(parts) <= 64 else set()
    )


def _whole(draft: Draft, top: str, parts: list[Resource]) -> bool:
    """Whether everything in ``top`` is one of ``parts``."""
    ids = {one.id for one in parts}
    inside = draft.resolved.primitives_of(top)
    return top not in ids and bool(inside) and all(one.id in ids for one in inside)


def accounts(draft: Draft) -> None:
    """StackStorm needs an account of the broker it comes after; which one, is not in a CIB."""
    for service in draft.services.values():
        for reference in (*service.get("after", ()), *filter(None, [service.get("with")])):
            broker = draft.services.get(reference.partition(".")[0], {})
            if service["type"] == "stackstorm" and broker.get("type") == "rabbitmq" and "users" not in broker:
                broker["users"] = {"st2": {}}
                text = "StackStorm's account at the broker is not in a CIB; st2 is assumed"
                draft.notes.add(
                    findings.ASSUMED, reference, text, f"put its password into the file {reference}-st2 in secrets_dir"
                )
