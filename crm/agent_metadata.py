"""The timeouts that resource agents advertise in their meta-data: our own from their declaration, others from where they are installed.

Names in a CIB are somebody else's words: only programs right below Pacemaker's directory of agents are run, for a few seconds at most.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple, Optional

from hafailover.agents import ocf_xml, process
from hafailover.crm import values
from hafailover.crm.install import agents
from lxml import etree

OCF_ROOT = Path("/usr/lib/ocf")
_TIMEOUT = 10.0  # seconds
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}")


class Advertised(NamedTuple):
    """An action as an agent advertises it: the role ("" for any) and the shortest timeout in ms."""

    name: str
    role: str
    timeout: int


Actions = Optional[tuple[Advertised, ...]]


@cache
def actions(agent: str, root: Path = OCF_ROOT) -> Actions:
    """What ``agent`` (ocf:heartbeat:IPaddr2) advertises; None when that is not known here."""
    standard, _, rest = agent.partition(":")
    provider, _, name = rest.partition(":")
    if standard != "ocf" or not _NAME.fullmatch(provider) or not _NAME.fullmatch(name):
        return None
    if provider == "hafailover" and name in agents():
        return parse(ocf_xml.metadata(agents()[name]))
    program = root / "resource.d" / provider / name
    return parse(_run(program, root)) if program.is_file() and os.access(program, os.X_OK) else None


def _run(program: Path, root: Path) -> str:
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "OCF_ROOT": str(root),
        "OCF_RESOURCE_INSTANCE": "meta-data",
        "__OCF_ACTION": "meta-data",
    }
    try:
        done = process.run(str(program), [str(program), "meta-data"], _TIMEOUT, environment, None)
    except OSError:
        return ""
    return done.out if done.rc == 0 and not done.timed_out else ""


def parse(text: str) -> Actions:
    """The actions in meta-data; None when it is none."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(text.strip().encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    found = []
    for element in root.findall("./actions/action"):
        timeout = values.milliseconds(element.get("timeout"))
        if element.get("name") and timeout is not None:
            found.append(Advertised(str(element.get("name")), values.role(element.get("role")), timeout))
    return tuple(found)


def shortest(known: tuple[Advertised, ...], name: str, role: str) -> int | None:
    """The timeout (ms) advertised for ``name`` in ``role``; of several (monitors of different depth) the shortest, None for none."""
    mine = [one for one in known if one.name == name]
    fitting = [one.timeout for one in mine if role == one.role] or [
        one.timeout for one in mine if "" in (role, one.role)
    ]
    return min(fitting, default=None)
