"""Look at the cluster's nodes, and carry out what :mod:`members` says."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hafailover.crm import corosync, local, members, simulate
from hafailover.crm.errors import HafailoverError, IncompleteError
from hafailover.crm.members import Facts, Member, Steps, Wanted
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.service import service_types
from hafailover.crm.topology import Topology

COROSYNC_CONF = Path("/etc/corosync/corosync.conf")
_ATTRIBUTE = "hafailover-corosync-conf"
_TIMEOUT = 30.0
# Corosync refuses a reload while it forms a membership, which takes it a few seconds; Pacemaker's daemons take as long to begin.
_PATIENCE = 15.0
_LOOK_EVERY = 0.5


def show_file() -> None:
    """Let the other members know which corosync.conf this machine has; nothing when the cluster does not run here."""
    if local.installed("attrd_updater"):
        argv = ["attrd_updater", "-p", "-n", _ATTRIBUTE, "-U", _digest(COROSYNC_CONF.read_bytes())]
        local.run(argv, timeout=10)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wanted(topology: Topology) -> Wanted:
    """What ``topology`` asks for."""
    device = topology.quorum.device
    return Wanted(
        {node.name: Member(node.name, node.id, node.links) for node in topology.nodes.values()},
        corosync.quorum_keys(topology),
        corosync.device_votes(device, topology) if device else 0,
        topology.quorum.two_node,
        topology.file,
    )


def _shown() -> Mapping[str, str]:
    """The digest of its corosync.conf that each member has shown; HafailoverError when the attribute daemon does not answer in time.

    Pacemaker's daemons come one after the other: a CIB that answers is no sign of the others.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return Pacemaker(local.run).published(_ATTRIBUTE)
        except PacemakerError as error:
            if time.monotonic() > end:
                raise HafailoverError(str(error)) from None
        time.sleep(_LOOK_EVERY)


def look(topology: Topology, live: Any) -> Facts:
    """The facts, with ``live`` the element cib; HafailoverError when Corosync or Pacemaker does not answer."""
    unames = {int(node.get("id")): node.get("uname") for node in _full(live.iterfind("configuration/nodes/node"))}
    keys = _cmap("nodelist.") | _cmap("quorum.")
    running = {member.name: member for member in _nodes(keys, unames)}
    text = corosync.text(topology).encode()
    nodes = simulate.nodes()
    shown = _shown()
    written = COROSYNC_CONF.exists() and COROSYNC_CONF.read_bytes() == text
    here = running_here(keys, running)
    return Facts(
        running=running,
        quorum={key: value for key, value in keys.items() if key.startswith("quorum.")},
        configured=frozenset(unames.values()),
        seen=frozenset(state.get("uname") for state in live.iterfind("status/node_state")),
        online=frozenset(node.name for node in nodes if node.online),
        unclean=frozenset(node.name for node in nodes if node.unclean),
        written=written,
        shown=frozenset(
            [*(name for name, digest in shown.items() if digest == _digest(text)), *([here] if written else [])]
        ),
    )


def _full(nodes: Iterator[Any]) -> Iterator[Any]:
    """Cluster nodes only: a remote node has no Corosync."""
    return (node for node in nodes if node.get("type", "member") in ("member", "normal"))


def _cmap(prefix: str) -> dict[str, str]:
    result = local.run(["corosync-cmapctl", prefix], _TIMEOUT)
    if result.rc != 0 and not result.out:
        raise HafailoverError(
            f"Corosync does not say which nodes it knows: {(result.err or 'no answer').strip().splitlines()[-1]}"
        )
    lines = (line.partition(" = ") for line in result.out.splitlines())
    return {key.split(" ")[0]: value.strip() for key, equals, value in lines if equals}


def _nodes(keys: dict[str, str], unames: dict[int, str]) -> Iterator[Member]:
    positions = sorted({key.split(".")[2] for key in keys if key.startswith("nodelist.node.")}, key=int)
    for position in positions:
        prefix = f"nodelist.node.{position}."
        number = int(keys.get(f"{prefix}nodeid", "0"))
        links = [keys[key] for key in sorted(keys) if key.startswith(f"{prefix}ring") and key.endswith("_addr")]
        # Without a name in corosync.conf it is known by what Pacemaker calls it.
        yield Member(
            keys.get(f"{prefix}name") or unames.get(number, links[0] if links else position), number, tuple(links)
        )


def running_here(keys: dict[str, str], running: dict[str, Member]) -> str:
    """The name of this node in Corosync's running list, or ""."""
    position = keys.get("nodelist.local_node_pos", "0")
    number = int(keys.get(f"nodelist.node.{position}.nodeid", "0"))
    return next((name for name, member in running.items() if member.id == number), "")


def still_needed(topology: Topology, removed: tuple[str, ...]) -> str | None:
    """Why a service of ``topology`` cannot do without one of the nodes ``removed``, or None."""
    pacemaker = Pacemaker(local.run)
    for service in topology.services.values():
        for name in removed:
            try:
                reason = service_types()[service.type].still_needed(service, name, pacemaker.property)
            except PacemakerError as error:
                raise HafailoverError(str(error)) from None
            if reason:
                return reason
    return None


def carry_out(
    topology: Topology, todo: Steps, deadline: float, progress: Callable[[str], None], done: Callable[[str], None]
) -> None:
    """Do ``todo`` until ``deadline`` (monotonic seconds), telling each step that is ``done``; IncompleteError with what is left."""
    if todo.reload:
        _win_over_old_copies()
        _reload()
        done("Corosync has read corosync.conf again on all nodes")
    if todo.added:
        _await(topology, todo.added, deadline, progress, done)
    for name in todo.removed:
        result = local.run(["crm_node", "--force", "--remove", name], _TIMEOUT)
        if result.rc != 0:
            raise IncompleteError(
                f"Corosync does not know {name} any more, but Pacemaker does not let it go: crm_node: "
                f"{(result.err or result.out).strip()}; run hafailover apply again"
            )
        done(f"{name} is removed")


def _win_over_old_copies() -> None:
    """A machine that was in a cluster before brings its copy of the CIB along, and the higher version wins."""
    result = local.run(["cibadmin", "--modify", "--xml-text", '<cib admin_epoch="admin_epoch++"/>'], _TIMEOUT)
    if result.rc != 0:
        raise HafailoverError(f"the cluster's configuration cannot be written: cibadmin: {result.err.strip()}")


def _reload() -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        result = local.run(["corosync-cfgtool", "-R"], _TIMEOUT)
        if result.rc == 0:
            return
        if time.monotonic() >= end:
            said = (result.err or result.out).strip().splitlines()
            raise HafailoverError(
                f"Corosync does not read its configuration again: corosync-cfgtool -R: {said[-1] if said else result.rc}; "
                "nothing else was changed"
            )
        time.sleep(1)


def _await(
    topology: Topology,
    names: tuple[str, ...],
    deadline: float,
    progress: Callable[[str], None],
    done: Callable[[str], None],
) -> None:
    told = ""
    while True:
        online = {node.name for node in simulate.nodes() if node.online}
        missing = [name for name in names if name not in online]
        if not missing:
            break
        ids = _in_corosync()
        waiting = "; ".join(
            members.awaited(name, str(topology.nodes[name].id) in ids, topology.file) for name in missing
        )
        if time.monotonic() >= deadline:
            raise IncompleteError(
                f"Corosync knows the new nodes, the rest of the configuration is as it was: {waiting}. Do that soon (a coordinator that "
                "has never seen a node has it fenced), and run hafailover apply again"
            )
        if waiting != told:
            progress(f"waiting: {waiting}")
            told = waiting
        time.sleep(_LOOK_EVERY)
    for name in names:
        done(f"{name} has joined")


def _in_corosync() -> frozenset[str]:
    """The ids of the nodes that Corosync is together with; none while it forms a membership."""
    try:
        return Pacemaker(local.run).membership().ids
    except PacemakerError:
        return frozenset()


def silent_device(topology: Topology, deadline: float, progress: Callable[[str], None]) -> list[str]:
    """The members on which the quorum device of ``topology`` has no vote by ``deadline`` (monotonic seconds), in sentences."""
    told: list[str] = []
    while True:
        silent = _without_vote(topology)
        if not silent or time.monotonic() >= deadline:
            return silent
        if silent != told:
            progress("waiting: " + "; ".join(silent))
            told = silent
        time.sleep(_LOOK_EVERY)


def _without_vote(topology: Topology) -> list[str]:
    if topology.quorum.device is None:
        return []
    here = local.run(["corosync-qdevice-tool", "-s"], _TIMEOUT) if local.installed("corosync-qdevice-tool") else None
    old = members.other_algorithm(here.out, topology.quorum.device.algorithm) if here else None
    if old:
        return [
            f"corosync-qdevice still works with {old}: it reads its algorithm when it starts (on every node: systemctl restart "
            "corosync-qdevice)"
        ]
    result = local.run(["corosync-quorumtool", "-s", "-i"], _TIMEOUT)
    rows = (line.split() for line in result.out.splitlines())
    flags = {int(row[0]): row[2] for row in rows if len(row) > 2 and row[0].isdigit()}
    return [
        f"the quorum device has no vote on {node.name} (there: systemctl enable corosync-qdevice; systemctl restart corosync-qdevice)"
        for node in topology.nodes.values()
        if node.id in flags and flags[node.id].split(",")[:2] != ["A", "V"]
    ]
