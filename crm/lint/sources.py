"""What is looked at: a topology, a CIB, or the running cluster, recognised by what is in it, and where each thing in it is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hafailover.crm import corosync, corosync_conf, generate, local, topology, yamldoc
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.formats import cib, xml_input
from hafailover.crm.lint import Facts
from hafailover.crm.resolved import Resolved

if TYPE_CHECKING:
    from hafailover.crm.corosync_conf import CorosyncConf
    from hafailover.crm.lint.node import NodeFacts
    from hafailover.crm.topology import Topology

TOPOLOGY, CIB, LIVE = "topology", "cib", "live"
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"node ": "crmsh's text", b"primitive ": "crmsh's text", b"property ": "crmsh's text", b"totem": "a corosync.conf",
    b"pcs ": "commands of pcs", b"#!": "a program",
}  # fmt: skip
_NOT_ROOT = "what is on a node only root can see"


@dataclass(frozen=True)
class Place:
    """Where something is written: ``file`` "" when that is no file, line and column from 1, 0 when not known."""

    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Source:
    """What is looked at: its ``kind``, ``name`` for a person, ``facts`` for the rules, its own ``ignores`` (rule → reason)."""

    kind: str
    name: str
    file: str
    facts: Facts
    locate: Callable[[str], Place]
    ignores: Mapping[str, str]


def read(argument: str, node: str | None, corosync_file: str | None) -> Source:
    """The source in the file ``argument`` ("-": standard input). UsageError when it cannot be read, or is none.

    ``node`` is the node that this machine is, "" for none; None: the one of its name. ``corosync_file`` goes with a CIB.
    """
    name = "standard input" if argument == "-" else argument
    file = "" if argument == "-" else argument
    raw = xml_input.content(argument)
    if xml_input.is_xml(raw):
        return _cib(CIB, raw, name, file, _conf(corosync_file), node)
    if corosync_file is not None:
        raise UsageError(f"--corosync goes with a CIB; what corosync.conf becomes of a topology is known ({name})")
    start = raw[:4096].removeprefix(_BOM).lstrip()
    foreign = next((what for begin, what in _FOREIGN.items() if start.startswith(begin)), None)
    if foreign is not None:
        raise UsageError(f"{name}: looks like {foreign}; give a topology, or a CIB as cibadmin --query prints it")
    return _topology(raw, name, file, node)


def live(node: str | None) -> Source:
    """The running cluster as this node sees it. UsageError when there is none here, for there is nothing that was looked at."""
    from hafailover.crm import apply

    try:
        root = apply.live_cib()
    except HafailoverError as error:
        raise UsageError(str(error)) from error
    try:
        conf: CorosyncConf | None = corosync_conf.read()
    except UsageError as error:
        conf, why = None, str(error)
    else:
        why = ""
    return _read_cib(LIVE, root, "the running cluster", "", conf, node, {"corosync": why} if why else {})


def _conf(file: str | None) -> CorosyncConf | None:
    return None if file is None else corosync_conf.read(file)


# -- topologies --------------------------------------------------------------------------------------------------------------------


def _topology(raw: bytes, name: str, file: str, node: str | None) -> Source:
    if len(raw) > yamldoc.MAX_BYTES:
        raise UsageError(f"{name}: is larger than {yamldoc.MAX_BYTES // 1024} KiB, which no topology is")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}:{line}: is neither XML nor UTF-8 text (byte 0x{raw[error.start]:02x})") from error
    document = yamldoc.parse(text, name)
    wanted = topology.parse(document)
    where, missing = this_node(wanted.nodes, node, name)
    facts = of_topology(wanted, None if where is None else _gathered(where), missing)
    ignores = wanted.data.get("lint", {}).get("ignore", {})
    return Source(TOPOLOGY, name, file, facts, _Written(document, wanted, file).place, ignores)


def of_topology(wanted: Topology, node: NodeFacts | None = None, missing: Mapping[str, str] | None = None) -> Facts:
    """Everything that there is to look at in a topology: also what generate and render make of it."""
    made = generate.configuration(wanted)
    conf = corosync_conf.parse(corosync.text(wanted), "corosync.conf")
    return Facts(wanted, node, made, Resolved(made), conf, missing=missing or {})


class _Written:
    """Where a topology says something: a dotted key, or the id of what generate makes of it."""

    def __init__(self, document: yamldoc.Document, wanted: Topology, file: str) -> None:
        self._document, self._wanted, self._file = document, wanted, file

    def place(self, where: str) -> Place:
        """The place of the longest part of ``where`` that is written."""
        path = self._path(where) or self._made(where)
        line, column = self._document.where(path)
        return Place(self._file, line, column)

    def _path(self, where: str) -> tuple[str | int, ...]:
        path: list[str | int] = []
        data, rest = self._document.data, where
        while isinstance(data, (dict, list)) and rest:
            if isinstance(data, list):
                index, _, after = rest.removeprefix("[").partition("]") if rest.startswith("[") else ("", "", "")
                if not index.isdecimal() or int(index) >= len(data):
                    break
                data, rest = data[int(index)], after.removeprefix(".")
                path.append(int(index))
                continue
            fitting = [str(key) for key in data if rest == str(key) or rest.startswith((f"{key}.", f"{key}["))]
            if not fitting:
                break
            key = max(fitting, key=len)
            data, rest = data[key], rest[len(key) :].removeprefix(".")
            path.append(key)
        return tuple(path)

    def _made(self, where: str) -> tuple[str | int, ...]:
        """The key that an element of the CIB, or a setting of corosync.conf, comes from."""
        if where.startswith("fence-"):
            target = max((name for name in self._wanted.nodes if _begins(where[6:], name)), key=len, default=None)
            return ("fencing",) if target is None else ("nodes", target, "fence")
        for section, names in (("services", self._wanted.services), ("vips", self._wanted.vips)):
            owner = max((name for name in names if _begins(where, name)), key=len, default=None)
            if owner is not None:
                return (section, owner)
        if where.startswith("corosync.conf"):
            return ("quorum",) if "quorum" in self._wanted.data else ("cluster",)
        return ("nodes", where) if where in self._wanted.nodes else ("cluster",)


def _begins(where: str, name: str) -> bool:
    return where == name or where.startswith((f"{name}-", f"{name} ", f"{name}."))


# -- CIBs --------------------------------------------------------------------------------------------------------------------------


def _cib(kind: str, raw: bytes, name: str, file: str, conf: CorosyncConf | None, node: str | None) -> Source:
    return _read_cib(kind, cib.parse(raw, name), name, file, conf, node, {})


def _read_cib(
    kind: str,
    root: Any,
    name: str,
    file: str,
    conf: CorosyncConf | None,
    node: str | None,
    missing: Mapping[str, str],
) -> Source:
    made = cib.read(root)
    resolved = Resolved(made)
    where, lacking = this_node(resolved.nodes, node, name) if kind == LIVE or node else (None, {})
    why = {
        "topology": "it looks at a topology, and this is a CIB",
        "corosync": "no corosync.conf was given (--corosync FILE)",
        "node": "it looks at a node, and this is a file",
        **lacking,
        **missing,
    }
    facts = Facts(None, None if where is None else _gathered(where), made, resolved, conf, kind == LIVE, why)
    return Source(kind, name, file, facts, _Lines(root, file).place, {})


class _Lines:
    """Where a CIB says something: the line of the element with that id, or of the nvpair of that name."""

    def __init__(self, root: Any, file: str) -> None:
        self._root, self._file = root, file

    @cached_property
    def _known(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for element in self._root.iter():
            if isinstance(element.tag, str) and element.sourceline:
                for key in ("id", "name", "uname"):
                    if element.get(key):
                        found.setdefault(element.get(key), int(element.sourceline))
        return found

    def place(self, where: str) -> Place:
        """The line of ``where``, as far as it names an element."""
        if not self._file:
            return Place()
        words = (where, where.partition(" ")[0], where.rpartition(".")[2], where.rpartition(" ")[2])
        return Place(self._file, next((self._known[one] for one in words if one in self._known), 0))


# -- this node ---------------------------------------------------------------------------------------------------------------------


def this_node(nodes: Mapping[str, object], given: str | None, name: str) -> tuple[str | None, dict[str, str]]:
    """The node that this machine is, None when it is none of them or may not look, and then why."""
    from hafailover.crm.schema import unknown

    if given and given not in nodes:
        raise UsageError(f"{name}: {unknown('node', given, nodes)}")
    here = given or local.named_here(list(nodes))
    if here is None:
        return None, {"node": "this machine is none of the nodes"}
    if os.geteuid() == 0:
        return here, {}
    if given:
        raise UsageError("what listens on a node, and what its firewall drops, only root can see; run it as root")
    return None, {"node": f"{_NOT_ROOT}, and this is not root (on {here})"}


def _gathered(name: str) -> NodeFacts:
    from hafailover.crm.lint import node

    return node.gather(name)


def relative(file: str) -> str:
    """A file's name as others know it: below the working directory without it."""
    try:
        return Path(file).absolute().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return file
