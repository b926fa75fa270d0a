"""Promotion hooks: whether root would run their programs on each node. One that it would not is found at a failover otherwise."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from hafailover.agents.mariadb import hooks
from hafailover.crm.doctor import FAIL, OK, WARN, Result, Seen, text
from hafailover.crm.doctor.here import Here

TITLE = "Promotion hooks"
_MOST = 40  # hooks
_CRITICAL = "it is critical: planned switchovers are refused, or end incomplete, until it can be run"
_OTHER = "nothing is done for this event at a failover"


def read(here: Here) -> dict[str, Any]:
    """``found``: [database, event, hook, program, whether it is critical, what is wrong or ""] of each hook of this node."""
    from hafailover.hooks import trusted

    found: list[list[Any]] = []
    for name, _ in here.databases():
        known = hooks.configured(name)
        for event in hooks.EVENTS:
            for hook in hooks.chosen(known, event, here=True):
                program = str(hook["command"][0])
                found.append([name, event, hook["name"], program, bool(hook["critical"]), trusted.unfit(program) or ""])
    found.sort(key=lambda one: not one[5])  # what is wrong is never among those for which there is no room
    return {"found": found[:_MOST]}


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each hook that would not be run, and one for each node where all would be."""
    yield from seen.untold("programs", "hook-program", "the programs of promotion hooks")
    for node, facts in seen.told("programs").items():
        entries = [one for one in facts.get("found") or () if isinstance(one, list) and len(one) == 6]
        wrong = [one for one in entries if one[5]]
        for name, event, hook, program, critical, why in wrong:
            path = text(program)
            quoted = shlex.quote(path)
            yield Result(
                "hook-program",
                FAIL if critical is True else WARN,
                node,
                f"{path}, hook {text(hook, 60)} of {text(name, 60)} ({text(event, 20)}), {text(why)}",
                _CRITICAL if critical is True else _OTHER,
                f"ls -ld {quoted}; chown root:root {quoted}; chmod 755 {quoted}",
            )
        if entries and not wrong:
            yield Result("hook-program", OK, node, f"the programs of {len(entries)} promotion hooks can be run")
