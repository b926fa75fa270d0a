"""The key ``hooks`` of a topology: programs that are run when the primary of a database changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hafailover.agents.mariadb import hooks
from hafailover.crm import schema
from hafailover.crm.schema import Problem, Schema, boolean, choice, duration, mapping, milliseconds, text

if TYPE_CHECKING:
    from hafailover.crm.topology import Topology

_EVENTS = {
    hooks.PRE_PROMOTE: "run before a server is opened for writing",
    hooks.POST_PROMOTE: "run when a server has been opened for writing",
    hooks.POST_DEMOTE: "run when a server has been closed for writing",
}


def _hooks(description: str) -> Schema:
    one = mapping(
        "A program.",
        {
            "name": text("its name, in status and logs", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"),
            "command": {
                "type": "array",
                "items": {"type": "string", "pattern": r"^[^\x00-\x1f\x7f]*$", "expect": "text"},
                "minItems": 1,
                "maxItems": 50,
                "description": "the program, an absolute path, and its arguments; no shell reads them",
                "expect": "a list such as [/usr/local/sbin/repoint, --now]",
            },
            "critical": boolean("whether its failure is the promotion's too (docs/hooks.md)"),
            "timeout": duration("how long it may take; then it is killed, with what it has started", default="5s"),
            "on": choice(
                "the node whose role changes, or all nodes of the service", ["primary", "all"], default="primary"
            ),
            "service": text("the database service; each when not given", pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"),
        },
        ["name", "command", "critical"],
    )
    return {
        "type": "array",
        "items": one,
        "maxItems": 20,
        "default": [],
        "description": description,
        "expect": "a list of hooks",
    }


SCHEMA: Schema = mapping(
    "Programs that are run when the primary of a database changes.",
    {
        name: _hooks(f"{words}, in order: a list of name, command, critical, timeout, on, service")
        for name, words in _EVENTS.items()
    },
    default={},
)


@dataclass(frozen=True)
class Hook:
    """A hook of an event; ``timeout`` in ms, ``service`` None for each."""

    event: str
    index: int
    name: str
    command: tuple[str, ...]
    critical: bool
    timeout: int
    on: str
    service: str | None


def build(data: Mapping[str, Any]) -> tuple[Hook, ...]:
    """The hooks in the filled-in mapping ``hooks``, in order."""
    return tuple(
        Hook(
            event,
            index,
            one["name"],
            tuple(one["command"]),
            one["critical"],
            milliseconds(one["timeout"]),
            one["on"],
            one.get("service"),
        )
        for event in _EVENTS
        for index, one in enumerate(data.get(event, ()))
    )


def problems(topology: Topology) -> Iterator[Problem]:
    """What is wrong with the hooks of ``topology``."""
    databases = [name for name, service in topology.services.items() if service.type == "mariadb"]
    seen: set[tuple[str, str]] = set()
    total: dict[tuple[str, str], int] = {}
    for hook in topology.hooks:
        here = ("hooks", hook.event, hook.index)
        if (hook.event, hook.name) in seen:
            yield Problem((*here, "name"), f"{hook.name} is the name of another {hook.event} hook too")
        seen.add((hook.event, hook.name))
        program = hook.command[0]
        if schema.problems(program, schema.path("")):
            yield Problem((*here, "command", 0), "must be the absolute path of a program: no PATH is searched")
        if not 100 <= hook.timeout <= hooks.LONGEST * 1000:
            yield Problem((*here, "timeout"), f"must be between 100ms and {hooks.LONGEST:g}s")
        if not databases:
            yield Problem(here, "there is no service of type mariadb whose primary could change")
        elif hook.service and hook.service not in databases:
            yield Problem((*here, "service"), schema.unknown("database service", hook.service, databases))
        for name in [hook.service] if hook.service else databases:
            total[hook.event, name] = total.get((hook.event, name), 0) + hook.timeout
            if hook.event == hooks.PRE_PROMOTE and total[hook.event, name] > hooks.BEFORE * 1000:
                yield Problem(
                    (*here, "timeout"),
                    f"makes the pre-promote hooks of {name} take up to {total[hook.event, name] / 1000:g}s, in which nobody can write: "
                    f"{hooks.BEFORE:g}s is the most",
                )
