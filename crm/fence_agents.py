"""What a fence agent says of itself, and what is wrong with a device's parameters by it.

An agent is asked where it is installed, for a few seconds at most; where it is not, nobody knows, and ``metadata`` returns None. Only
programs called fence_* in the system's own directory are run: names in a CIB or a topology are somebody else's words.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hafailover.agents import process
from hafailover.crm import local
from lxml import etree

DIRECTORY = Path("/usr/sbin")
_TIMEOUT = 10.0  # seconds; an agent that asks its device for its own description hangs as long as that
_NAME = re.compile(r"fence_[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")
_STANDARD = frozenset(
    re.findall(
        r"\S+",
        "pcmk_host_argument pcmk_host_map pcmk_host_list pcmk_host_check pcmk_delay_max pcmk_delay_base pcmk_action_limit "
        "priority provides stonith-timeout",
    )
)
_STANDARD_ACTION = re.compile(r"pcmk_(reboot|off|on|list|monitor|status|metadata)_(action|timeout|retries)")
# Pacemaker itself tells the agent what to do, and to which node.
_GIVEN_BY_PACEMAKER = frozenset({"action", "plug", "port", "nodename", "nodeid"})
_BOOLEANS = frozenset(re.findall(r"\S+", "0 1 true false yes no on off"))
_SECONDS = re.compile(r"\d+(\.\d+)?\s*(ms|s|sec|m|min|h)?")


@dataclass(frozen=True)
class Parameter:
    """A parameter of an agent. ``replaced_by``: the name that took the place of a deprecated one, or "". ``choices``: () is any."""

    name: str
    required: bool
    deprecated: bool
    type: str
    default: str | None
    choices: tuple[str, ...] = ()
    replaced_by: str = ""


@dataclass(frozen=True)
class Metadata:
    """What an agent says of itself."""

    agent: str
    parameters: Mapping[str, Parameter]


@dataclass(frozen=True)
class Wrong:
    """Something wrong with a parameter: ``kind`` is unknown, missing, deprecated or value; ``instead`` is the name to write, or ""."""

    kind: str
    parameter: str
    text: str
    instead: str = ""


@cache
def metadata(agent: str, directory: Path = DIRECTORY) -> Metadata | None:
    """What the fence agent called ``agent`` says of itself; None when it is not installed here, or tells nothing that can be read."""
    if not _NAME.fullmatch(agent):
        return None
    program = directory / agent
    said = _run(str(program), ["-o", "metadata"]) if os.access(program, os.X_OK) else None
    if said is None and local.installed("crm_resource"):
        found = process.find("crm_resource", "/usr/sbin:/usr/bin") or ""
        said = _run(found, ["--show-metadata", f"stonith:{agent}"]) if found else None
    return None if said is None else parse(agent, said)


def _run(program: str, arguments: list[str]) -> str | None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}
    try:
        done = process.run(program, [program, *arguments], _TIMEOUT, environment, None)
    except OSError:
        return None
    return done.out if done.rc == 0 and not done.timed_out else None


def parse(agent: str, text: str) -> Metadata | None:
    """The meta-data in ``text``; None when that is none."""
    # Some agents print a warning of an interpreter before it.
    begin = min((at for at in (text.find("<?xml"), text.find("<resource-agent")) if at >= 0), default=-1)
    if begin < 0:
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(text[begin:].strip().encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    found = root.findall("./parameters/parameter")
    if root.tag != "resource-agent":
        return None
    obsolete = {one.get("obsoletes"): one.get("name", "") for one in found if one.get("obsoletes")}
    return Metadata(agent, {one.get("name", ""): _parameter(one, obsolete) for one in found if one.get("name")})


def _parameter(element: Any, obsolete: Mapping[str | None, str]) -> Parameter:
    content = element.find("content")
    name = str(element.get("name"))
    return Parameter(
        name,
        required=_true(element.get("required")),
        deprecated=_true(element.get("deprecated")) or name in obsolete,
        type=str(content.get("type", "string")) if content is not None else "string",
        default=content.get("default") if content is not None else None,
        choices=tuple(str(option.get("value")) for option in element.iter("option") if option.get("value") is not None),
        replaced_by=obsolete.get(name, ""),
    )


def _true(value: str | None) -> bool:
    return value is not None and value.lower() in ("1", "true", "yes")


def is_standard(parameter: str) -> bool:
    """Whether Pacemaker itself understands a parameter of any fence device."""
    return parameter in _STANDARD or _STANDARD_ACTION.fullmatch(parameter) is not None


def problems(known: Metadata, given: Mapping[str, str]) -> Iterator[Wrong]:
    """What is wrong with the parameters of a device, as they reach the agent (a secret as password_script, not as a reference)."""
    for name, value in given.items():
        if is_standard(name):
            continue
        parameter = known.parameters.get(name)
        if parameter is None:
            yield _unknown(known, name)
        elif parameter.deprecated:
            better = parameter.replaced_by
            yield Wrong(
                "deprecated", name, f"is deprecated{f'; {known.agent} calls it {better} now' if better else ''}", better
            )
        else:
            yield from _value(known, parameter, value)
    yield from _missing(known, given)


def _unknown(known: Metadata, name: str) -> Wrong:
    usual = [one.name for one in known.parameters.values() if not one.deprecated]
    allowed = _STANDARD if name.startswith("pcmk") else usual
    near = difflib.get_close_matches(name, sorted(allowed), 1, 0.6)
    hint = f"; did you mean {near[0]}?" if near else ""
    who = "Pacemaker" if name.startswith("pcmk") else known.agent
    return Wrong("unknown", name, f"{who} has no such parameter and would ignore it{hint}", near[0] if near else "")


def _missing(known: Metadata, given: Mapping[str, str]) -> Iterator[Wrong]:
    """Required parameters that nobody gives, under their new name or the old one."""
    supplied = {*_GIVEN_BY_PACEMAKER, given.get("pcmk_host_argument", "")}
    aliases: dict[str, set[str]] = {}
    for one in known.parameters.values():
        if one.replaced_by:
            aliases.setdefault(one.replaced_by, set()).add(one.name)
    for one in known.parameters.values():
        names = {one.name, *aliases.get(one.name, ())}
        if one.required and not one.deprecated and one.default is None and not names & (supplied | set(given)):
            yield Wrong("missing", one.name, f"{known.agent} cannot do without it", one.name)


def _value(known: Metadata, parameter: Parameter, value: str) -> Iterator[Wrong]:
    """A value that the agent would not take."""
    plain = value.strip()
    wanted = ""
    if parameter.type == "boolean" and plain.lower() not in _BOOLEANS:
        wanted = "1 or 0"
    elif parameter.type == "integer" and not re.fullmatch(r"-?\d{1,18}", plain):
        wanted = "a number"
    elif parameter.type == "second" and not _SECONDS.fullmatch(plain):
        wanted = "a number of seconds"
    elif parameter.type == "select" and parameter.choices and plain not in parameter.choices:
        near = difflib.get_close_matches(plain, parameter.choices, 1, 0.6)
        wanted = f"one of {', '.join(parameter.choices)}{f'; did you mean {near[0]}?' if near else ''}"
    if wanted:
        yield Wrong("value", parameter.name, f"is no value that {known.agent} takes: it wants {wanted}")
