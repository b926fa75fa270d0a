"""The language of scenarios: what a step may do, and with which parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hafailover.crm import schema

NODE = schema.text("A node's name, or primary, replica, replica2, or quorum: the roles before the first step.")
_WITHIN = schema.duration("How long to wait at most.", default="60s")
_NODE_ONLY = schema.mapping("The node.", {"node": NODE}, ["node"])
PROCESSES = (
    *("server", "helper", "corosync", "corosync-qdevice", "corosync-qnetd", "pacemakerd", "pacemaker-based"),
    *("pacemaker-fenced", "pacemaker-execd", "pacemaker-attrd", "pacemaker-schedulerd", "pacemaker-controld"),
)
"""What kill, pause and resume can aim at: the database server, the helper beside a primary, and the cluster's daemons."""
_PROCESS = schema.choice("Which.", PROCESSES, default="server")
_OPTIONAL = schema.boolean(
    "Whether the run goes on when it cannot be done, such as on a node that is off.", default=False
)
_NODE_AND_PROCESS = schema.mapping("A process of a node.", {"node": NODE, "process": _PROCESS}, ["node"])
_FAULT = schema.mapping("The node.", {"node": NODE, "optional": _OPTIONAL}, ["node"])

ACTIONS: Mapping[str, schema.Schema] = {
    "write": schema.mapping("Let the clients write.", {"for": schema.duration("How long.")}, ["for"]),
    "kill": schema.mapping(
        "Send a signal to a process; to the database server's, a wrapper that would restart it first.",
        {
            "node": NODE,
            "process": _PROCESS,
            "signal": schema.choice("Which.", ("KILL", "TERM", "STOP", "CONT"), default="KILL"),
            "optional": _OPTIONAL,
        },
        ["node"],
    ),
    "pause": schema.mapping(
        "Stop a process where it stands.", {"node": NODE, "process": _PROCESS, "optional": _OPTIONAL}, ["node"]
    ),
    "resume": _NODE_AND_PROCESS,
    "stop-replication": _FAULT,
    "fill": _FAULT,
    "free": _NODE_ONLY,
    "restart": schema.mapping(
        "Restart a unit, as a person would.",
        {
            "node": NODE,
            "unit": schema.choice("Which.", ("pacemaker", "corosync", "corosync-qnetd")),
            "optional": _OPTIONAL,
        },
        ["node", "unit"],
    ),
    "start-cluster": _NODE_ONLY,
    "power-off": schema.mapping(
        "Take a node's power; held, only power-on gives it back, fencing does not.",
        {"node": NODE, "hold": schema.boolean("Whether to hold it.", default=True)},
        ["node"],
    ),
    "power-on": _NODE_ONLY,
    "cut": _NODE_ONLY,
    "heal": _NODE_ONLY,
    "switchover": schema.mapping(
        "Move the primary role, as a person would.",
        {"node": schema.text("The next primary."), "within": _WITHIN},
        ["node"],
    ),
    "request": schema.mapping(
        "Ask for a switchover and do not wait for it; that it is refused or called off is no fault.",
        {"node": schema.text("The next primary.")},
        ["node"],
    ),
    "sql": schema.mapping(
        "Run statements as root on a server, past the address.",
        {"node": NODE, "statements": schema.text("What to run.")},
        ["node", "statements"],
    ),
    "wait": schema.mapping(
        "Go on when something has happened; the run fails if it does not.",
        {
            "until": schema.choice("What.", ("takeover", "fenced", "rejoined", "settled")),
            "node": schema.text("The node it is about.", default="primary"),
            "within": _WITHIN,
        },
        ["until"],
    ),
}
"""What a step may do, with the parameters of each."""

FAULTS = frozenset(
    (
        *("kill", "pause", "power-off", "cut", "switchover", "request", "sql"),
        *("stop-replication", "fill", "restart"),
    )
)
"""The steps that disturb the service: the first of them in a run is the fault that times count from."""

# The one parameter that a step written in short form gives: "cut: primary".
SHORT = {"write": "for", "wait": "until"}


@dataclass(frozen=True)
class Step:
    """One thing to do: its name in ACTIONS and every parameter, defaults filled in."""

    action: str
    parameters: Mapping[str, Any]

    def seconds(self, name: str) -> float:
        """Return the duration ``name`` in seconds."""
        return schema.milliseconds(self.parameters[name]) / 1000


# The daemons without which a node is no member: where fencing does not restart the node, a person would start them.
_MEMBERSHIP = frozenset(("corosync", "corosync-qdevice", "corosync-qnetd", "pacemakerd"))


def undo(step: Step) -> list[Step]:
    """Return the steps that take back what a fault did and the cluster cannot: power, cables, space, a stopped process."""
    node = {"node": step.parameters.get("node")}
    if step.action == "power-off":
        return [Step("power-on", node)]
    if step.action == "cut":
        return [Step("heal", node), Step("power-on", node)]
    if step.action == "fill":
        return [Step("free", node)]
    if step.action == "pause" or (step.action == "kill" and step.parameters["signal"] == "STOP"):
        return [Step("resume", {**node, "process": step.parameters["process"]})]
    if step.action == "kill" and step.parameters["process"] in _MEMBERSHIP:
        return [Step("start-cluster", node)]
    return []
