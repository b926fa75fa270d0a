"""Where a simulation begins: a topology, a saved CIB, or the live cluster."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hafailover.crm import apply, generate, local, simulate_quorum, simulate_state, topology
from hafailover.crm.formats import cib, xml_input
from hafailover.crm.simulation import Scene
from hafailover.crm.topology import Topology

_TIMEOUT = 10.0
# Corosync's own defaults.
_COEFFICIENT, _CONSENSUS = 650, 1.2
_RUNS_EVERYWHERE = "all nodes are there, and everything runs where it should"


def read(path: Path) -> Scene:
    """The scene of the file at ``path``, a topology or a CIB, whatever its name; UsageError when it is neither."""
    raw = xml_input.content(str(path))
    return of_cib(cib.parse(raw, str(path)), str(path)) if xml_input.is_xml(raw) else of_topology(topology.load(path))


def of_topology(wanted: Topology) -> Scene:
    """The cluster that ``wanted`` describes, with everything running."""
    state = simulate_state.running(cib.tree(generate.configuration(wanted)))
    source = f"{wanted.file}, on paper: no cluster was asked"
    return Scene(
        state.cib,
        wanted.name,
        source,
        simulate_quorum.of_topology(wanted),
        detection(wanted),
        (_RUNS_EVERYWHERE, *state.assumed),
    )


def of_cib(root: Any, file: str) -> Scene:
    """The cluster in the element cib ``root``: as its status says, or with everything running when it has none."""
    if simulate_state.has_status(root):
        return Scene(root, _name(root), f"{file}, as it was when it was saved", None, None, ())
    state = simulate_state.running(root)
    source = f"{file}, on paper: it has no status"
    return Scene(state.cib, _name(root), source, None, None, (_RUNS_EVERYWHERE, *state.assumed))


def live() -> Scene:
    """The cluster on this node, as it is now; HafailoverError when none runs here."""
    root = apply.live_cib()
    names = {node.get("id"): node.get("uname") for node in root.iterfind("configuration/nodes/node")}
    votes = None
    if local.installed("corosync-quorumtool"):
        votes = simulate_quorum.of_quorumtool(local.run(["corosync-quorumtool", "-s", "-i"], _TIMEOUT).out, names)
    return Scene(
        root,
        _name(root),
        f"the live cluster at {time.strftime('%H:%M:%S')}; nothing is changed",
        votes,
        _running_token(),
        (),
    )


def _name(root: Any) -> str:
    pair = root.find("configuration/crm_config/cluster_property_set/nvpair[@name='cluster-name']")
    return (pair.get("value") if pair is not None else None) or "this cluster"


def detection(wanted: Topology) -> float:
    """The most that Corosync takes to form a membership without a lost node: token and consensus, in s."""
    times = wanted.detection
    coefficient = _COEFFICIENT if times.token_coefficient is None else times.token_coefficient
    token = times.token + max(len(wanted.nodes) - 2, 0) * coefficient
    return (token + (times.consensus or token * _CONSENSUS)) / 1000


def _running_token() -> float | None:
    """The same as Corosync runs with now; None when it does not say."""
    if not local.installed("corosync-cmapctl"):
        return None
    total = 0
    for key in ("token", "consensus"):
        result = local.run(["corosync-cmapctl", "-g", f"runtime.config.totem.{key}"], _TIMEOUT)
        value = result.out.rpartition("=")[2].strip()
        if result.rc or not value.isdigit():
            return None
        total += int(value)
    return total / 1000
