"""What a scenario does to a real cluster: in words for who has to agree, and what it needs of the node where it is run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from hafailover.crm.drill.actions import Step
from hafailover.crm.drill.scenario import Scenario


class Means(NamedTuple):
    """What can be done from ``here``: on which nodes programs can be run, whose servers can be administered, which nodes a working device
    fences, and how many links each node has."""

    here: str
    runs_on: frozenset[str]
    administers: frozenset[str]
    fences: frozenset[str]
    links: Mapping[str, int]


_WORDS = {
    "kill": "kill -9 the database server on {node}",
    "stop-cluster": "stop Pacemaker and Corosync on {node} in good order",
    "power-off": "switch {node} off by its fence device: everything that runs on it dies at once",
    "cut": "cut {node} off from all other members, until it is fenced",
    "cut-link": "drop Corosync's packets on link {link} of {node}",
    "switchover": "move the primary role to {node}",
}
_RESTORED = {
    "kill": "the cluster itself starts the server of {node} again, as a replica",
    "stop-cluster": "start Corosync and Pacemaker on {node} again",
    "power-off": "switch {node} on again by its fence device",
    "cut": "take the cut back (the node itself does so after 180 s), switch {node} on again if it is off",
    "cut-link": "put link {link} of {node} back (the node itself does so after 180 s)",
}

_BACK = ("rejoined", "settled")


def breaks(scenario: Scenario, roles: Mapping[str, str]) -> list[str]:
    """A sentence for each thing that will be broken, with the names of nodes."""
    return [_filled(_WORDS[step.action], step, roles) for step in scenario.steps if step.action in _WORDS]


def restores(scenario: Scenario, roles: Mapping[str, str]) -> list[str]:
    """A sentence for each thing that puts it right again."""
    return [_filled(_RESTORED[step.action], step, roles) for step in scenario.steps if step.action in _RESTORED]


def _filled(words: str, step: Step, roles: Mapping[str, str]) -> str:
    node = str(step.parameters.get("node"))
    return words.format(node=roles.get(node, node), link=step.parameters.get("link", ""))


def patient(scenario: Scenario, seconds: float) -> Scenario:
    """The scenario with as long for a node to come back: a real machine may need minutes before it even begins to boot."""
    steps = [
        Step(step.action, {**step.parameters, "within": f"{round(seconds)}s"})
        if step.action == "wait" and step.parameters["until"] in _BACK
        else step
        for step in scenario.steps
    ]
    return replace(scenario, steps=steps)


def moves(scenario: Scenario) -> bool:
    """Whether another node is to be the primary afterwards."""
    return scenario.expect.primary == "moved"


def needs_fencing(scenario: Scenario) -> bool:
    """Whether a fence device has to do something for it."""
    return any(step.action in ("power-off", "cut") for step in scenario.steps)


def takes_member(scenario: Scenario) -> bool:
    """Whether the others have to do without a node, and its vote, for a while."""
    return any(step.action in ("power-off", "cut", "stop-cluster") for step in scenario.steps)


def against(scenario: Scenario, roles: Mapping[str, str], means: Means) -> list[str]:
    """Why it cannot be run here, each with what would help; empty if it can."""
    found = list(dict.fromkeys(_against(scenario.steps, roles, means)))
    primary = roles["primary"]
    if primary not in means.administers:
        found.append(
            f"its schema has to be made on {primary}: run it there, let root in from {means.here} by ssh, or give --defaults-file with an "
            "administrator's account for the port of the database"
        )
    return found


def _against(steps: Sequence[Step], roles: Mapping[str, str], means: Means) -> Iterable[str]:
    elsewhere = "run it on another node"
    for step in steps:
        name = str(step.parameters.get("node", ""))
        node = roles.get(name, name)
        if step.action in ("wait", "hold", "write", "switchover"):
            if name.startswith("replica") and node == name:
                yield f"there is no {name}"
            continue
        if name in ("primary", "replica", "replica2") and node == name:
            yield f"there is no {name}"
        elif step.action in ("kill", "stop-cluster", "cut-link") and node not in means.runs_on:
            yield f"{step.action} needs a program to be run on {node}: run it there, or let root in from {means.here} by ssh"
        elif step.action in ("power-off", "cut") and node == means.here:
            yield f"{step.action} would take the power of {node}, and this drill with it: {elsewhere}"
        elif step.action == "cut" and node not in means.runs_on:
            yield f"cut needs a program to be run on {node}: let root in from {means.here} by ssh"
        elif step.action in ("power-off", "cut") and node not in means.fences:
            yield f"no fence device that works covers {node}"
        elif step.action == "cut-link" and means.links.get(node, 0) < 2:
            yield f"{node} has only one link: cutting it would have the node fenced"
