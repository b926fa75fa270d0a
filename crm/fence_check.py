"""Parameters of fence devices that their agents would not take, by what each agent says of itself where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hafailover.crm import fence_agents
from hafailover.crm.fence_agents import Metadata
from hafailover.crm.schema import Problem
from hafailover.crm.topology import refusal
from hafailover.crm.topology_fencing import FENCE_SECRETS
from hafailover.crm.yamldoc import Path_

if TYPE_CHECKING:
    from hafailover.crm.topology import Fence, Topology


def problems(
    topology: Topology, metadata: Callable[[str], Metadata | None] = fence_agents.metadata
) -> Iterator[Problem]:
    """What is wrong with the fence devices of ``topology``; of agents that are not installed here only what Pacemaker itself reads.

    An agent ignores a parameter that it does not know, and that it cannot log in is found out when a node should be switched off.
    Names that an agent calls deprecated still work and are left to lint.
    """
    for path, fence in _fences(topology):
        known = metadata(fence.agent)
        # As they reach the agent: a secret as the name of a program that prints it.
        given = {
            FENCE_SECRETS[key] if value.startswith("file:") else key: value for key, value in fence.parameters.items()
        }
        written = {FENCE_SECRETS[key]: key for key, value in fence.parameters.items() if value.startswith("file:")}
        if known is None:
            known, given = Metadata(fence.agent, {}), {key: given[key] for key in given if key.startswith("pcmk")}
        for wrong in fence_agents.problems(known, given):
            if wrong.kind != "deprecated":
                key = written.get(wrong.parameter, wrong.parameter)
                missing = "is missing: " if wrong.kind == "missing" else ""
                # Not its value: a misspelt password is an unknown parameter, too.
                yield Problem((*path, key), f"{missing}{wrong.text}", at_key=True, secret=True)


def notes(topology: Topology, metadata: Callable[[str], Metadata | None] = fence_agents.metadata) -> Iterator[str]:
    """What could not be checked: sentences."""
    for agent in dict.fromkeys(fence.agent for _, fence in _fences(topology)):
        if metadata(agent) is None:
            yield f"{agent} is not installed here: its parameters are unchecked"


def _fences(topology: Topology) -> Iterator[tuple[Path_, Fence]]:
    """Every fence device whose parameters somebody wrote, and its path."""
    if topology.fencing and not topology.sbd:
        yield ("fencing",), topology.fencing
    for node in topology.nodes.values():
        if node.fence:
            yield ("nodes", node.name, "fence"), node.fence


def check(topology: Topology) -> None:
    """UsageError that shows every problem in the topology's file, when there is one."""
    wrong = list(problems(topology))
    if wrong:
        raise refusal(topology, wrong)
