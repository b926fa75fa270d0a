"""What the checks of a node are given: its name, the cluster's configuration, corosync.conf, and a way to run programs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element

from hafailover.crm import corosync_glance
from hafailover.crm.errors import HafailoverError
from hafailover.crm.status_facts import database_resources
from hafailover.crm.status_offline import CIB_ON_DISK
from hafailover.crm.status_xml import pairs, parse

if TYPE_CHECKING:
    from hafailover.crm.local import Result
    from hafailover.crm.pacemaker import Run

TIMEOUT = 5.0
"""Seconds for each program."""
_SOON = 3.0  # seconds for what everything else waits for


class CannotLook(Exception):
    """A check cannot be made; the message says because of what."""


class Here(NamedTuple):
    """This node. ``cib``: the live configuration, or what is on its disk; None when there is neither. ``nodes``: names → link addresses."""

    node: str
    cib: Element | None
    conf: str
    nodes: dict[str, tuple[str, ...]]
    run: Run

    def say(self, *argv: str, timeout: float = TIMEOUT) -> str:
        """What a program printed; CannotLook when it failed."""
        done = self.ask(*argv, timeout=timeout)
        if done.rc != 0:
            said = (done.err or done.out).strip().splitlines()
            raise CannotLook(f"{argv[0]} failed with {done.rc}: {said[-1] if said else 'no message'}")
        return done.out

    def ask(self, *argv: str, timeout: float = TIMEOUT) -> Result:
        """A program's end, whatever it was; CannotLook when it is not there."""
        try:
            return self.run(list(argv), timeout=timeout)  # type: ignore[return-value]
        except HafailoverError as error:
            raise CannotLook(str(error)) from None

    def configuration(self) -> Element:
        """The CIB; CannotLook when there is none."""
        if self.cib is None:
            raise CannotLook("this node has no configuration of a cluster")
        return self.cib

    def databases(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Name and parameters of each database that lives on this node."""
        for _, primitive in database_resources(self.configuration()):
            params = pairs(primitive.find("instance_attributes"))
            if any(entry.partition(":")[0] == self.node for entry in params.get("nodes", "").split()):
                yield primitive.get("id", ""), params


def look(run: Run) -> Here:
    """This node as it is now; nothing of it is needed, so nothing fails."""
    conf = _content(corosync_glance.CONF)
    cib = _live(run)
    nodes: dict[str, tuple[str, ...]] = {}
    for address, name in corosync_glance.link_addresses(conf):
        nodes[name] = (*nodes.get(name, ()), address)
    if cib is not None:
        for one in cib.iterfind("configuration/nodes/node"):
            if one.get("type", "member") in ("member", "normal"):
                nodes.setdefault(one.get("uname", ""), ())
    return Here(_name(run, nodes), cib, conf, nodes, run)


def _live(run: Run) -> Element | None:
    try:
        done = run(["cibadmin", "--query"], timeout=_SOON)
        return parse(done.out) if done.rc == 0 else parse(_content(CIB_ON_DISK))
    except HafailoverError:
        return None


def _name(run: Run, nodes: dict[str, tuple[str, ...]]) -> str:
    host = os.uname().nodename
    named = next((name for name in (host, host.partition(".")[0]) if name in nodes), "")
    if named:
        return named
    try:
        done = run(["crm_node", "-n"], timeout=_SOON)
    except HafailoverError:
        return host
    return done.out.strip() or host


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 22)
    except OSError:
        return ""
