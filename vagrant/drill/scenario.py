"""A scenario is data: a YAML file that says step by step what breaks, what to wait for, and what must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafailover.crm import schema, yamldoc
from hafailover.crm.errors import UsageError
from hafailover.vagrant.drill.oracle import Expectation

DIRECTORY = Path(__file__).resolve().parent / "scenarios"

_NODE = schema.text("A node's name, or primary, replica, replica2, or quorum: the roles before the first step.")
_WITHIN = schema.duration("How long to wait at most.", default="60s")
_NODE_ONLY = schema.mapping("The node.", {"node": _NODE}, ["node"])
PROCESSES = (
    *("server", "helper", "corosync", "corosync-qdevice", "corosync-qnetd", "pacemakerd", "pacemaker-based"),
    *("pacemaker-fenced", "pacemaker-execd", "pacemaker-attrd", "pacemaker-schedulerd", "pacemaker-controld"),
)
"""What kill, pause and resume can aim at: the database server, the helper beside a primary, and the cluster's daemons."""
_PROCESS = schema.choice("Which.", PROCESSES, default="server")
_OPTIONAL = schema.boolean(
    "Whether the run goes on when it cannot be done, such as on a node that is off.", default=False
)
_NODE_AND_PROCESS = schema.mapping("A process of a node.", {"node": _NODE, "process": _PROCESS}, ["node"])
_FAULT = schema.mapping("The node.", {"node": _NODE, "optional": _OPTIONAL}, ["node"])

ACTIONS: Mapping[str, schema.Schema] = {
    "write": schema.mapping("Let the clients write.", {"for": schema.duration("How long.")}, ["for"]),
    "kill": schema.mapping(
        "Send a signal to a process; to the database server's, a wrapper that would restart it first.",
        {
            "node": _NODE,
            "process": _PROCESS,
            "signal": schema.choice("Which.", ("KILL", "TERM", "STOP", "CONT"), default="KILL"),
            "optional": _OPTIONAL,
        },
        ["node"],
    ),
    "pause": schema.mapping(
        "Stop a process where it stands.", {"node": _NODE, "process": _PROCESS, "optional": _OPTIONAL}, ["node"]
    ),
    "resume": _NODE_AND_PROCESS,
    "stop-replication": _FAULT,
    "fill": _FAULT,
    "free": _NODE_ONLY,
    "restart": schema.mapping(
        "Restart a unit, as a person would.",
        {
            "node": _NODE,
            "unit": schema.choice("Which.", ("pacemaker", "corosync", "corosync-qnetd")),
            "optional": _OPTIONAL,
        },
        ["node", "unit"],
    ),
    "start-cluster": _NODE_ONLY,
    "power-off": schema.mapping(
        "Take a node's power; held, only power-on gives it back, fencing does not.",
        {"node": _NODE, "hold": schema.boolean("Whether to hold it.", default=True)},
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
        {"node": _NODE, "statements": schema.text("What to run.")},
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
_SHORT = {"write": "for", "wait": "until"}

_SCENARIO = schema.mapping(
    "A failure scenario.",
    {
        "summary": schema.text("One line that says what happens."),
        "steps": {
            "type": "array",
            "minItems": 1,
            "expect": "a list of steps, each one key with its parameters",
            "items": {
                "type": "object",
                "properties": dict(ACTIONS),
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
                "expect": "one of " + ", ".join(ACTIONS),
            },
        },
        "expect": schema.mapping(
            "What must hold at the end, beyond what always must.",
            {
                "primary": schema.choice("Where the role must be.", ("moved", "kept", "any"), default="any"),
                "fenced": {
                    "type": "array",
                    "items": _NODE,
                    "description": "The nodes that must have been fenced, and no other.",
                    "expect": "a list of nodes",
                },
                "configuration": schema.choice(
                    "Whether anything may be left in the CIB.", ("unchanged", "any"), default="any"
                ),
            },
            default={},
        ),
    },
    ["summary", "steps"],
)


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


@dataclass(frozen=True)
class Scenario:
    """A named sequence of steps. Nodes in ``expect`` are still roles ("primary")."""

    name: str
    summary: str
    steps: Sequence[Step]
    expect: Expectation


def known() -> dict[str, Path]:
    """Return the scenarios that come with the program, by name."""
    return {path.stem: path for path in sorted(DIRECTORY.glob("*.yml"))}


def load(name: str) -> Scenario:
    """Return the scenario ``name``, or the one in the file ``name`` if that is a path ending in .yml.

    UsageError if there is none, or with file, line and key of what is wrong in it.
    """
    path = Path(name) if name.endswith(".yml") else known().get(name)
    if path is None:
        raise UsageError(schema.unknown("scenario", name, known()))
    return parse(yamldoc.read(path), path.stem)


def parse(document: yamldoc.Document, name: str) -> Scenario:
    """Check a scenario's text and return it; UsageError names file, line and key of the first thing that is wrong."""
    data = _spelled_out(document.data)
    problems = schema.problems(data, _SCENARIO)
    if problems:
        line = document.where(problems[0].path)[0]
        raise UsageError(f"{document.file}:{line}: {yamldoc.dotted(problems[0].path)}: {problems[0].message}")
    full = schema.with_defaults(data, _SCENARIO)
    steps = [Step(action, parameters) for step in full["steps"] for action, parameters in step.items()]
    if not any(step.action in FAULTS for step in steps):
        raise UsageError(f"{document.file}: steps: nothing breaks; one step must be of {', '.join(sorted(FAULTS))}")
    expect = full["expect"]
    fenced = frozenset(expect["fenced"]) if "fenced" in expect else None
    return Scenario(name, full["summary"], steps, Expectation(expect["primary"], fenced, expect["configuration"]))


def _spelled_out(data: Any) -> Any:
    """Return ``data`` with steps in short form ("cut: primary") written out."""
    if not isinstance(data, dict) or not isinstance(data.get("steps"), list):
        return data
    steps = [
        {
            action: value if isinstance(value, (dict, list)) else {_SHORT.get(str(action), "node"): value}
            for action, value in step.items()
        }
        if isinstance(step, dict)
        else step
        for step in data["steps"]
    ]
    return {**data, "steps": steps}
