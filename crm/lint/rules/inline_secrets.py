"""Rules about secrets that stand where many can read them. No rule ever says one: a parameter is named, its value is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hafailover.crm.lint import ERROR, WARNING, Facts, Found, rule
from hafailover.crm.lint.cluster import is_fence_device, primitives
from hafailover.crm.lint.paste import command, commands, is_id
from hafailover.crm.model import AttributeSet
from hafailover.crm.resolved import Resource
from hafailover.crm.resolved_xml import element
from hafailover.crm.secret_names import has_password, is_inline, is_whole
from hafailover.crm.topology_fencing import FENCE_SECRETS

# Their key is the number of a reservation, which every node may know.
_NO_SECRET_KEY = frozenset({"stonith:fence_scsi", "stonith:fence_mpath"})
_DEPTH = 20


@rule(
    "secret-in-cib",
    WARNING,
    code="L33",
    needs=("resolved",),
    remedy="let the agent read it from a program or a file (password_script, credentials), or Pacemaker (cibsecret), and change it: it was "
    "seen",
    why="the CIB is on every node, in its backups and in every report sent to a mailing list, and each member of haclient reads it",
)
def secret_in_cib(facts: Facts) -> Iterator[Found]:
    """A password or another secret is a parameter of a resource, written in plain."""
    if facts.topology is not None:
        return  # it would have to stand there first, which is a rule of its own
    own = _own(facts)
    for one in primitives(facts.cluster):
        for name, value in one.params.items():
            if not is_inline(name, value) or (name == "key" and one.agent in _NO_SECRET_KEY):
                continue
            yield Found(one.id, f"{name} {_what(name, value)}", _moved(one, name) or _stashed(own, one, name))
    for section, xml in facts.cluster.configuration.others:
        # Alerts have parameters too; of other sections Pacemaker makes no use.
        for pair in _pairs(xml) if section == "alerts" else ():
            name, value = str(pair.get("name", "")), str(pair.get("value", ""))
            if is_inline(name, value):
                where = next((str(one.get("id", "")) for one in pair.iterancestors("recipient", "alert")), section)
                yield Found(where, f"{name} of an alert {_what(name, value)}", _told(where, name))
        for one in _elements(xml, "recipient") if section == "alerts" else ():
            if is_inline("", str(one.get("value", ""))):
                where = str(one.get("id", section))
                yield Found(where, "the address of an alert holds a secret", _told(where, "the address"))


def _what(name: str, value: str) -> str:
    if has_password(value):
        return "holds a secret in a URL"
    return (
        "is a secret, written in plain"
        if is_whole(name, value)
        else "has a secret among its settings, written in plain"
    )


def _told(where: str, name: str) -> str:
    """What to do about an alert: its agent says how it reads a file."""
    return (
        f"# {where}: let the alert's agent read {name} from a file with mode 0600 on each node, and take it out of the CIB:\n"
        + (command("crm", "configure", "edit"))
    )


def _pairs(xml: str) -> list[Any]:
    """The nvpairs in an element of the CIB that the model has no type for."""
    return _elements(xml, "nvpair")


def _elements(xml: str, tag: str) -> list[Any]:
    found = element(xml)
    return [] if found is None else list(found.iter(tag))


def _moved(one: Resource, name: str) -> str:
    """How a fence device reads it from a program instead."""
    script = FENCE_SECRETS.get(name)
    if script is None or not is_fence_device(one):
        return ""
    param = ("crm", "resource", "param", one.id)
    program = f"/etc/hafailover/{one.id}-{name}"
    both = command(*param, "set", script, program), command(*param, "delete", name)
    return " && ".join(both) if all(both) else ""


def _stashed(own: set[tuple[str, str]], one: Resource, name: str) -> str:
    """How Pacemaker itself keeps it in a file of root's on each node, also for agents that can read none."""
    if not is_id(one.id) or not name.isprintable():
        return ""
    if (one.id, name) not in own:
        # It would be hidden in the resource, and stay where it comes from.
        where = "a template, a set that others share, or what is around it"
        return f"# {name} comes from {where}: put it into {one.id} itself, then: {command('cibsecret', 'stash', one.id, name)}"
    return commands(
        f"# {one.id} is restarted; every node must be up and let root in by ssh. Then set a new secret with cibsecret set:",
        command("cibsecret", "stash", one.id, name),
    )


def _own(facts: Facts) -> set[tuple[str, str]]:
    """(resource, parameter) of what is written in the resource itself."""
    return {
        (found.id, pair.name)
        for found in facts.cluster.configuration.primitives()
        for child in found.children
        if isinstance(child, AttributeSet) and child.kind == "instance_attributes"
        for pair in child.pairs
        if pair.value is not None
    }


@rule(
    "secret-in-topology",
    ERROR,
    code="L33b",
    remedy="put it into a file in secrets_dir with mode 0600 and write file:NAME",
    why="the topology lies on every node and in a repository, readable by everybody",
)
def secret_in_topology(facts: Facts) -> Iterator[Found]:
    """The topology has a password or another secret in plain."""
    for place, name in _inline(facts.wanted.data, (), 0):
        where = ".".join(place)
        # What a server is told word for word cannot be a reference.
        verbatim = {"options", "definition"} & set(place)
        yield Found(where, "is a secret, written in plain", "" if verbatim else f"{name}: file:{'-'.join(place[-3:])}")


def _inline(data: Any, place: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each key below ``place`` whose value is a secret."""
    if depth > _DEPTH:
        return
    if isinstance(data, Mapping):
        for key, value in data.items():
            here = (*place, str(key))
            if isinstance(value, (str, int)) and not isinstance(value, bool):
                # A number has a unit or counts something, except where the name leaves no doubt.
                inline = (
                    is_inline(str(key), value)
                    if isinstance(value, str)
                    else is_inline(str(key), str(value)) and _sure(str(key))
                )
                if inline and not _is_time(here):
                    yield here, str(key)
            else:
                yield from _inline(value, here, depth + 1)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            if isinstance(value, str) and has_password(value):
                yield (*place, str(index)), str(index)
            else:
                yield from _inline(value, (*place, str(index)), depth + 1)


def _sure(name: str) -> bool:
    return re.search(r"(pass|password|passwd|passphrase)\d*$", name.lower()) is not None


def _is_time(place: tuple[str, ...]) -> bool:
    """cluster.detection.token is how long a node may be silent."""
    return place[:2] == ("cluster", "detection")
