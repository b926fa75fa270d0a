"""A cluster that exists only on paper: every node is there, and everything runs where it should.

Made by letting crm_simulate itself bring a CIB without status up. What agents would have said meanwhile is put in for them: the
promotion scores of a healthy promotable resource, and the node attributes that location rules ask for.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafailover.crm import local
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.formats import cib
from lxml import etree

# What hafailover's own agent gives to a primary, and to a replica that is in sync.
SCORE_FIRST, SCORE_OTHERS = 100, 50
TIMEOUT = 60.0
_ROUNDS = 10
_TRUE = ("true", "on", "yes", "y", "1")


@dataclass(frozen=True)
class State:
    """The element cib with a status, and what had to be assumed for it, in sentences."""

    cib: Any
    assumed: tuple[str, ...]


def full_nodes(root: Any) -> list[str]:
    """The names of the cluster nodes (not of remote ones) in the element cib, in its order."""
    return [
        node.get("uname")
        for node in root.iterfind("configuration/nodes/node")
        if node.get("type", "member") in ("member", "normal") and node.get("uname")
    ]


def has_status(root: Any) -> bool:
    """Whether the element cib says how a cluster is, and not only how it should be."""
    return root.find("status/node_state") is not None


def _start_sbd(root: Any) -> None:
    """Pacemaker notes have-watchdog itself where sbd runs; without it, a watchdog counts as no fencing at all."""
    for group in root.iterfind("configuration/crm_config/cluster_property_set"):
        names = {pair.get("name") for pair in group.iterfind("nvpair")}
        if "stonith-watchdog-timeout" in names and "have-watchdog" not in names:
            id = f"{group.get('id')}-have-watchdog"
            etree.SubElement(group, "nvpair", id=id, name="have-watchdog", value="true")


def running(root: Any) -> State:
    """The element cib ``root`` with everything running; UsageError when Pacemaker's own tools refuse it or it has no nodes."""
    names = full_nodes(root)
    if not names:
        raise UsageError("there are no nodes in this configuration, so nothing can run anywhere")
    known = {node.get("uname") for node in root.iterfind("configuration/nodes/node")}
    root = copy.deepcopy(root)
    for old in root.findall("status"):
        root.remove(old)
    etree.SubElement(root, "status")
    root.set("have-quorum", "1")
    _start_sbd(root)
    root = _simulate(root, [word for name in names for word in ("--node-up", name)])
    assumed = [*_define_attributes(root), *_promotion_scores(root)]
    before = b""
    for _ in range(_ROUNDS):
        root = _simulate(root, [])
        now = bytes(etree.tostring(root.find("status"), method="c14n"))
        if now == before:
            break
        before = now
    # Remote nodes, which crm_simulate adds, have no vote and no Corosync.
    for node in root.findall("configuration/nodes/node"):
        if node.get("uname") not in names and node.get("uname") not in known:
            node.set("type", "remote")
    return State(root, tuple(assumed))


def _simulate(root: Any, options: list[str]) -> Any:
    with tempfile.TemporaryDirectory(prefix="hafailover-") as scratch:
        before, after = Path(scratch, "in.xml"), Path(scratch, "out.xml")
        before.write_bytes(etree.tostring(root))
        argv = [
            "crm_simulate",
            "--xml-file",
            str(before),
            *options,
            "--simulate",
            "--quiet",
            "--save-output",
            str(after),
        ]
        result = local.run(argv, TIMEOUT)
        if result.rc or not after.exists():
            raise refused(result, root)
        return cib.parse(after.read_bytes(), "crm_simulate's output")


def refused(result: local.Result, root: Any) -> HafailoverError:
    """The error for a crm_simulate that failed on the element cib ``root``: what it said, in one line."""
    lines = [line.strip() for line in (result.err or result.out).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines
    written = root.get("crm_feature_set")
    if written and any("inject_node" in line and "assertion" in line for line in lines):
        # Seen with 2.1.5: it may not change a CIB of a newer Pacemaker, not even its own copy, and gives up on an assertion.
        return HafailoverError(
            f"crm_simulate cannot change a copy of this configuration; it is most likely of a newer Pacemaker (crm_feature_set {written}) "
            "than the one installed here: simulate it on a node of its cluster"
        )
    return HafailoverError(f"crm_simulate cannot work with this configuration: {telling[0] if telling else result.rc}")


def set_attribute(root: Any, node: str, name: str, value: str) -> None:
    """Set the transient attribute ``name`` of ``node`` in the element cib's status."""
    for state in root.iterfind("status/node_state"):
        if state.get("uname") != node:
            continue
        around = state.find("transient_attributes")
        if around is None:
            around = etree.SubElement(state, "transient_attributes", id=state.get("id"))
        pairs = around.find("instance_attributes")
        if pairs is None:
            pairs = etree.SubElement(around, "instance_attributes", id=f"status-{state.get('id')}")
        for pair in pairs.iterfind("nvpair"):
            if pair.get("name") == name:
                pair.set("value", value)
                return
        etree.SubElement(pairs, "nvpair", id=f"{pairs.get('id')}-{name}", name=name, value=value)


def attribute(root: Any, node: str, name: str) -> str | None:
    """The transient attribute ``name`` of ``node``, or None."""
    for state in root.iterfind("status/node_state"):
        if state.get("uname") == node:
            for pair in state.iterfind("transient_attributes/instance_attributes/nvpair"):
                if pair.get("name") == name:
                    return str(pair.get("value"))
    return None


def _define_attributes(root: Any) -> Iterator[str]:
    """Agents and pingers set what rules ask to be defined; without it their resources would run nowhere."""
    asked = {
        expression.get("attribute"): None
        for expression in root.iterfind("configuration/constraints//expression[@operation='not_defined']")
        if expression.get("attribute") and not expression.get("attribute").startswith("#")
    }
    known = {pair.get("name") for pair in root.iterfind("configuration/nodes/node/instance_attributes/nvpair")}
    for name in asked:
        if name in known:
            continue
        for node in full_nodes(root):
            set_attribute(root, node, name, "1")
        yield f"the node attribute {name} is set on every node"


def _promotion_scores(root: Any) -> Iterator[str]:
    for clone in root.iterfind("configuration/resources//*"):
        if clone.tag == "master" or (clone.tag == "clone" and promotable(clone)):
            for primitive in clone.iter("primitive"):
                name = primitive.get("id")
                nodes = [node for node in full_nodes(root) if runs(root, name, node)]
                for place, node in enumerate(nodes):
                    set_attribute(root, node, f"master-{name}", str(SCORE_OTHERS if place else SCORE_FIRST))
                if len(nodes) > 1:
                    yield f"every instance of {name} may be promoted (a replica is in sync), {nodes[0]} first"


def promotable(clone: Any) -> bool:
    """Whether the element clone is promotable."""
    pairs = clone.iterfind("meta_attributes/nvpair[@name='promotable']")
    return any((pair.get("value") or "").lower() in _TRUE for pair in pairs)


def runs(root: Any, primitive: str, node: str) -> bool:
    """Whether the status has a successful start (or promotion) of ``primitive`` on ``node``."""
    for state in root.iterfind("status/node_state"):
        if state.get("uname") == node:
            for resource in state.iterfind("lrm/lrm_resources/lrm_resource"):
                if (resource.get("id") or "").partition(":")[0] == primitive:
                    return any(
                        op.get("operation") in ("start", "promote") and op.get("rc-code") == "0"
                        for op in resource.iterfind("lrm_rsc_op")
                    )
    return False
