"""Is the lab as it should be? Reasons from facts: node states and crm_mon's report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hafailover.crm.errors import HafailoverError
from lxml import etree

if TYPE_CHECKING:
    from hafailover.vagrant.lab import Lab


REPORT = ("crm_mon", "--one-shot", "--output-as=xml", "--inactive")
_LAST_WORDS = {
    "failed": ("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"),
    "journal": ("journalctl", "--boot", "--lines=15", "--output=short-precise", "--no-pager"),
}


def problems(lab: Lab) -> list[str]:
    """What keeps ``lab`` from being healthy, one sentence fragment each; empty if it is."""
    found = []
    states = lab.states()
    for name, node in states.items():
        if node.power != "on":
            found.append(f"{name} is {node.power}")
        elif node.cut:
            found.append(f"{name} is cut from the network")
    asked = next((n for n in lab.cluster_nodes if states[n].power == "on" and not states[n].cut), None)
    if asked is None:
        return [*found, "no cluster node is reachable"]
    try:
        answer = lab.exec(asked, REPORT, timeout=15)
    except HafailoverError as error:
        return [*found, str(error)]
    if answer.returncode != 0:
        return [*found, f"Pacemaker on {asked} does not answer yet"]
    return found + judge(answer.stdout, lab.cluster_nodes)


def unformed(lab: Lab) -> list[str]:
    """Why no cluster has formed, a line each: what each member sees of it, what failed there and what was said last."""
    found = []
    for name in lab.cluster_nodes:
        try:
            answer = lab.exec(name, REPORT, timeout=15)
        except HafailoverError as error:
            found.append(f"{name}: {error}")
            continue
        silent = ["Pacemaker does not answer"]
        seen = silent if answer.returncode else membership(answer.stdout, lab.cluster_nodes)
        found += [f"{name}: {what}" for what in seen]
    return [*found, *(line for name in lab.nodes for line in last_words(lab, name))]


def last_words(lab: Lab, node: str) -> list[str]:
    """Which units of a node have failed and what its journal said last, a line each; the node may be about to be cleared away."""
    found = []
    for title, argv in _LAST_WORDS.items():
        try:
            found += [
                f"{node}: {title}: {line.strip()}" for line in lab.exec(node, argv, timeout=30).stdout.splitlines()
            ]
        except HafailoverError as error:
            found.append(f"{node}: {error}")
    return found


def membership(report: str, members: list[str]) -> list[str]:
    """What is wrong with DC, quorum and nodes in a crm_mon XML report; ``members`` are to be online."""
    root = etree.fromstring(report.encode())
    found = []
    dc = root.find("summary/current_dc")
    if dc is None or dc.get("present") != "true":
        found.append("no DC has been elected")
    elif dc.get("with_quorum") != "true":
        found.append("the cluster has no quorum")
    nodes = {node.get("name"): node for node in root.findall("nodes/node")}
    for name in members:
        node = nodes.get(name)
        if node is None or node.get("online") != "true":
            found.append(f"{name} is not online")
        else:
            found += [
                f"{name} is {what}" for what in ("pending", "unclean", "standby", "maintenance") if _true(node, what)
            ]
    return found


def judge(report: str, members: list[str]) -> list[str]:
    """What is wrong in a crm_mon XML report, given the names of the nodes that should be online."""
    root = etree.fromstring(report.encode())
    found = membership(report, members)
    for resource in root.findall("resources//resource"):
        found += _resource(resource)
    for clone in root.findall("resources//clone[@multi_state='true']"):
        if not any(r.get("role") == "Promoted" for r in clone.iter("resource")):
            found.append(f"{clone.get('id')} has no promoted instance")
    for action in root.findall("fence_history/fence_event[@status='pending']"):
        found.append(f"fencing of {action.get('target')} is pending")
    return found


def _true(element: Any, attribute: str) -> bool:
    return bool(element.get(attribute) == "true")


def _resource(resource: Any) -> list[str]:
    name = resource.get("id")
    found = []
    if _true(resource, "failed"):
        found.append(f"{name} has failed")
    elif not _true(resource, "active"):
        # What is meant to be stopped is as it should be; an orphan that does not run is what is left of a look at a node that has no
        # instance of its clone.
        if resource.get("target_role", "Started") != "Stopped" and not _true(resource, "orphaned"):
            found.append(f"{name} is not running")
    elif resource.get("role") in ("Starting", "Stopping", "Promoting", "Demoting") or resource.get("pending"):
        found.append(f"{name} is {resource.get('pending') or resource.get('role')}")
    return found


def resources(lab: Lab) -> list[str]:
    """What Pacemaker runs where, one line per resource, for a person; empty if no node answers."""
    states = lab.states()
    for node in lab.cluster_nodes:
        if states[node].power == "on":
            argv = ["crm_mon", "--one-shot", "--inactive", "--include=none,resources"]
            answer = lab.exec(node, argv, timeout=15)
            if answer.returncode == 0:
                return [line for line in answer.stdout.splitlines() if line.strip()]
    return []
