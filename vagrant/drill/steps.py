"""Carries out a scenario's steps on the lab and remembers when the fault struck and when the node was back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import database
from hafailover.vagrant.drill.conditions import Conditions
from hafailover.vagrant.drill.scenario import FAULTS, Step
from hafailover.vagrant.drill.stacks import Stack
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.drill.timeline import Power, fenced_nodes
from hafailover.vagrant.lab import Lab

# The wrappers first: they would start the server again. (The kernel keeps 15 characters of a program's name.)
SERVER_PROGRAMS = ("mariadbd-safe", "mysqld_safe", "mariadbd", "mysqld", "drill-null")

_POLL = 0.25
_REJOIN_WITHOUT_REPAIR = 60.0  # seconds; agents that cannot repair a replica have given up by then
_EXEC_TIMEOUT = 15.0


class Steps:
    """One run's steps. ``roles`` maps primary, replica and quorum to nodes as they were before the first step.

    ``fault`` is the Unix time of the first step that disturbs the service, ``rejoined`` that of the first successful
    wait for "rejoined"; None until then.
    """

    def __init__(
        self, lab: Lab, target: Target, stack: Stack, conditions: Conditions, roles: Mapping[str, str]
    ) -> None:
        self.fault: float | None = None
        self.fault_action = ""
        self.rejoined: float | None = None
        self._lab = lab
        self._target = target
        self._stack = stack
        self._conditions = conditions
        self._roles = roles

    def perform(self, step: Step) -> None:
        """Do one step; HafailoverError says what did not happen in time."""
        if step.action in FAULTS and self.fault is None:
            self.fault, self.fault_action = time.time(), step.action
        action: Callable[[Step], None] = {
            "write": lambda step: time.sleep(step.seconds("for")),
            "kill": self._kill,
            "power-off": lambda step: self._lab.power_off(self._node(step), hold=step.parameters["hold"]),
            "power-on": lambda step: self._lab.power_on(self._node(step)),
            "cut": lambda step: self._lab.cut(self._node(step)),
            "heal": lambda step: self._lab.heal(self._node(step)),
            "switchover": self._switchover,
            "sql": self._sql,
            "wait": self._wait,
        }[step.action]
        action(step)

    def describe(self, step: Step) -> str:
        """Return the step in words, with the node's name in place of its role."""
        parameters = step.parameters
        words = [step.action]
        words += [str(parameters[name]) for name in ("for", "until") if name in parameters]
        if "node" in parameters and not (step.action == "wait" and parameters["until"] == "takeover"):
            words.append(self._node(step))
        return " ".join(words)

    def _node(self, step: Step) -> str:
        name = str(step.parameters["node"])
        node = self._roles.get(name, name)
        if node not in self._lab.nodes:
            raise HafailoverError(f"{step.action}: there is no node or role {name!r} in this lab")
        return node

    def _kill(self, step: Step) -> None:
        node, signal = self._node(step), step.parameters["signal"]
        found = self._lab.exec(node, ["pgrep", "--list-name", "--exact", "|".join(SERVER_PROGRAMS)], _EXEC_TIMEOUT)
        processes = dict(line.split(maxsplit=1) for line in found.stdout.splitlines())
        if not processes:
            raise HafailoverError(f"kill: no database server runs on {node}")
        order = sorted(processes, key=lambda pid: SERVER_PROGRAMS.index(processes[pid]))
        # Looking for the processes and entering the node take their time; the fault is when the signal is sent.
        script = 'date +%s.%N; kill -s "$0" "$@"'
        done = self._lab.exec(node, ["sh", "-c", script, signal, *order], _EXEC_TIMEOUT, check=True)
        if self.fault_action == "kill":
            self.fault = float(done.stdout)

    def _switchover(self, step: Step) -> None:
        self._stack.switchover(self._lab, self._target, self._node(step), step.seconds("within"))

    def _sql(self, step: Step) -> None:
        database.sql(self._lab, self._node(step), step.parameters["statements"])

    def _wait(self, step: Step) -> None:
        node, within, until = self._node(step), step.seconds("within"), step.parameters["until"]
        if until == "rejoined" and not self._stack.repairs:
            within = min(within, _REJOIN_WITHOUT_REPAIR)
        condition: Callable[[], bool] = {
            "takeover": lambda: self._conditions.taken_over(node),
            "fenced": lambda: self._is_fenced(node),
            "rejoined": lambda: self._conditions.why_not_replica(node) is None,
        }[until]
        try:
            host.wait(until, within, lambda: condition() or None, 0.02 if until == "takeover" else _POLL)
        except HafailoverError:
            why = {
                "takeover": f"no other node than {node} serves clients",
                "fenced": f"{node} has not been fenced",
                "rejoined": f"{node} is not a replica in sync",
            }[until]
            if until == "rejoined":
                why += f" ({self._conditions.why_not_replica(node)})"
            raise HafailoverError(f"{why} within {within:g} s") from None
        if until == "rejoined" and self.rejoined is None:
            self.rejoined = time.time()

    def _is_fenced(self, node: str) -> bool:
        assert self.fault is not None
        return node in fenced_nodes([Power(*entry) for entry in self._lab.fence_log()], self.fault)
