"""Carries out a scenario's steps on the lab and remembers when the fault struck and when the node was back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import database, scenario, settled
from hafailover.vagrant.drill.breakage import Breakage
from hafailover.vagrant.drill.conditions import Conditions
from hafailover.vagrant.drill.scenario import FAULTS, Step
from hafailover.vagrant.drill.stacks import Stack
from hafailover.vagrant.drill.target import Target
from hafailover.vagrant.drill.timeline import Power, fenced_nodes
from hafailover.vagrant.lab import Lab

_POLL = 0.25
_REJOIN_WITHOUT_REPAIR = 60.0  # seconds; agents that cannot repair a replica have given up by then
_REQUEST_TIMEOUT = 120.0


class Steps:
    """One run's steps. ``roles`` maps primary, replica and quorum to nodes as they were before the first step.

    ``fault`` is the Unix time of the first step that disturbs the service, ``rejoined`` that of the first successful
    wait for "rejoined" or "settled"; None until then. ``notes`` says what could not be done and need not be.
    What a fault did and nobody took back is remembered; :meth:`undo` takes it back.
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
        self.notes: list[str] = []
        self._first: Step | None = None
        self._breakage = Breakage(lab, target)
        self._outstanding: list[Step] = []
        self._requests: list[subprocess.Popen[str]] = []

    def perform(self, step: Step) -> None:
        """Do one step; HafailoverError says what did not happen in time."""
        if step.action in FAULTS and self.fault is None:
            self.fault, self.fault_action, self._first = time.time(), step.action, step
        self._outstanding = [other for other in self._outstanding if other != step] + scenario.undo(step)
        action: Callable[[Step], None] = {
            "write": lambda step: time.sleep(step.seconds("for")),
            "kill": self._kill,
            "pause": lambda step: self._signal(step, "STOP"),
            "resume": lambda step: self._breakage.resume(self._node(step), step.parameters["process"]),
            "stop-replication": lambda step: self._breakage.stop_replication(self._node(step)),
            "fill": self._fill,
            "free": self._free,
            "restart": lambda step: self._restart(step),
            "start-cluster": lambda step: self._breakage.start_cluster(self._node(step)),
            "power-off": lambda step: self._lab.power_off(self._node(step), hold=step.parameters["hold"]),
            "power-on": lambda step: self._lab.power_on(self._node(step)),
            "cut": lambda step: self._lab.cut(self._node(step)),
            "heal": lambda step: self._lab.heal(self._node(step)),
            "switchover": self._switchover,
            "request": self._request,
            "sql": self._sql,
            "wait": self._wait,
        }[step.action]
        try:
            action(step)
        except HafailoverError as error:
            if not step.parameters.get("optional"):
                raise
            self.notes.append(f"not done: {error}")

    def describe(self, step: Step) -> str:
        """Return the step in words, with the node's name in place of its role."""
        parameters = step.parameters
        words = [step.action]
        words += [str(parameters[name]) for name in ("for", "until", "process", "unit") if name in parameters]
        if "node" in parameters and not (step.action == "wait" and parameters["until"] in ("takeover", "settled")):
            words.append(self._node(step))
        return " ".join(words)

    def _node(self, step: Step) -> str:
        name = str(step.parameters["node"])
        node = self._roles.get(name, name)
        if node not in self._lab.nodes:
            raise HafailoverError(f"{step.action}: there is no node or role {name!r} in this lab")
        return node

    def _kill(self, step: Step) -> None:
        self._signal(step, step.parameters["signal"])

    def _signal(self, step: Step, name: str) -> None:
        node, process = self._node(step), step.parameters["process"]
        when = self._breakage.signal(node, process, name)
        if when is None:
            self.notes.append(f"no {process} runs on {node}")
        else:
            self._strikes(step, when)

    def _strikes(self, step: Step, when: float) -> None:
        """The first fault's time is when it took effect, not when it was ordered."""
        if step is self._first:
            self.fault = when

    def _restart(self, step: Step) -> None:
        self._strikes(step, self._breakage.restart(self._node(step), step.parameters["unit"]))

    def _fill(self, step: Step) -> None:
        self._strikes(step, self._breakage.fill(self._node(step)))

    def _free(self, step: Step) -> None:
        node = self._node(step)
        if self._lab.states()[node].power == "off":
            self._lab.power_on(node)
        self._lab.await_boot(node)
        self._breakage.free(node)

    def _request(self, step: Step) -> None:
        node = self._node(step)
        argv = ["timeout", f"{_REQUEST_TIMEOUT:g}", "hafailover", "promote", node, "--yes"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._requests.append(self._lab.popen(node, argv, **quiet))

    def undo(self) -> None:
        """Take back what is still broken, the last first; HafailoverError with the first thing that did not work."""
        failed = []
        for process in self._requests:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        while self._outstanding:
            try:
                self.perform(self._outstanding.pop())
            except HafailoverError as error:
                failed.append(str(error))
        if failed:
            raise HafailoverError(failed[0])

    def _switchover(self, step: Step) -> None:
        self._stack.switchover(self._lab, self._target, self._node(step), step.seconds("within"))

    def _sql(self, step: Step) -> None:
        database.sql(self._lab, self._node(step), step.parameters["statements"])

    def _wait(self, step: Step) -> None:
        node, within, until = self._node(step), step.seconds("within"), step.parameters["until"]
        if until == "settled":
            # What was asked for may not have begun yet, and then nothing looks out of place.
            for process in self._requests:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_REQUEST_TIMEOUT + 10)
        if until == "rejoined" and not self._stack.repairs:
            within = min(within, _REJOIN_WITHOUT_REPAIR)
        condition: Callable[[], bool] = {
            "takeover": lambda: self._conditions.taken_over(node),
            "fenced": lambda: self._is_fenced(node),
            "rejoined": lambda: self._conditions.why_not_replica(node) is None,
            "settled": lambda: settled.look(self._lab, self._target, self._conditions).primary is not None,
        }[until]
        try:
            host.wait(until, within, lambda: condition() or None, 0.02 if until == "takeover" else _POLL)
        except HafailoverError:
            why = {
                "takeover": f"no other node than {node} serves clients",
                "fenced": f"{node} has not been fenced",
                "rejoined": f"{node} is not a replica in sync",
                "settled": "not all servers are in their places and in sync",
            }[until]
            if until == "rejoined":
                why += f" ({self._conditions.why_not_replica(node)})"
            if until == "settled":
                why += f" ({'; '.join(settled.look(self._lab, self._target, self._conditions).why)})"
            raise HafailoverError(f"{why} within {within:g} s") from None
        if until in ("rejoined", "settled") and self.rejoined is None:
            self.rejoined = time.time()

    def _is_fenced(self, node: str) -> bool:
        assert self.fault is not None
        return node in fenced_nodes([Power(*entry) for entry in self._lab.fence_log()], self.fault)
