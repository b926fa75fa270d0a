"""The language of scenarios: what a step may do, and with which parameters."""

from __future__ import annotations

import re
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

CONDITIONS = (
    *(
        "takeover",
        "fenced",
        "rejoined",
        "settled",
        "promoted",
        "nobody-promoted",
        "stale",
        "in-sync",
        "serving",
        "silent",
    ),
    *("says", "logged", "server-down", "one-server", "no-password-shown"),
)
"""What can be waited for, or has to stay so."""
_ABOUT = {
    "node": schema.text("The node it is about, or that is asked.", default="primary"),
    "text": schema.text("What it says; {primary} and the other roles stand for nodes."),
}


def _lines(description: str) -> schema.Schema:
    """Text of several lines."""
    return {"type": "string", "minLength": 1, "description": description, "expect": "text"}


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
    "stop-cluster": _NODE_ONLY,
    "start-cluster": _NODE_ONLY,
    "standby": _NODE_ONLY,
    "end-standby": _NODE_ONLY,
    "power-off": schema.mapping(
        "Take a node's power; held, only power-on gives it back, fencing does not.",
        {"node": NODE, "hold": schema.boolean("Whether to hold it.", default=True)},
        ["node"],
    ),
    "power-on": _NODE_ONLY,
    "cut": _NODE_ONLY,
    "heal": _NODE_ONLY,
    "cut-link": schema.mapping(
        "Cut one of a node's links, and leave the others.",
        {"node": NODE, "link": schema.number("Its number.", 0, 7, default=0)},
        ["node"],
    ),
    "heal-link": _NODE_ONLY,
    "switchover": schema.mapping(
        "Move the primary role, as a person would; several times: there and back, each time when all are in sync.",
        {
            "node": schema.text("The next primary."),
            "within": _WITHIN,
            "times": schema.number("How often.", 1, 1000, default=1),
        },
        ["node"],
    ),
    "request": schema.mapping(
        "Ask for a switchover and do not wait for it; that it is refused or called off is no fault.",
        {"node": schema.text("The next primary.")},
        ["node"],
    ),
    "sql": schema.mapping(
        "Run statements as root on a server, past the address.",
        {"node": NODE, "statements": _lines("What to run."), "undo": _lines("What takes it back.")},
        ["node", "statements"],
    ),
    "run": schema.mapping(
        "Run a command in a node, as root would at its prompt; the run fails if it does not end as expected.",
        {
            "node": NODE,
            "command": schema.text("The command line; {primary} and the other roles stand for nodes."),
            "exit": schema.number("The exit code that it must have.", 0, 255, default=0),
            "says": schema.text("What it must print, white space apart."),
            "within": _WITHIN,
        },
        ["node", "command"],
    ),
    "session": schema.mapping(
        "Open sessions on a server and keep them; the last statement is what they are busy with.",
        {
            "node": NODE,
            "as": schema.choice("Who: the client's account, or root.", ("client", "root"), default="client"),
            "statements": _lines("What each session does."),
            "times": schema.number(
                "How many sessions; those that a full server refuses come again until it has room.", 1, 10000, default=1
            ),
        },
        ["node", "statements"],
    ),
    "end-sessions": _NODE_ONLY,
    "privileged-writer": _NODE_ONLY,
    "writers": schema.mapping(
        "Let every writer stand still, or go on.", {"do": schema.choice("Which.", ("pause", "resume"))}, ["do"]
    ),
    "errant-write": schema.mapping("Write on a server past the address, as root.", {"node": NODE}, ["node"]),
    "edit": schema.mapping(
        "Change a file in a node: every match of a pattern, which is searched for line by line.",
        {
            "node": NODE,
            "file": schema.path("Which file."),
            "pattern": schema.text("A regular expression."),
            "replacement": schema.text("What to put in its place."),
        },
        ["node", "file", "pattern", "replacement"],
    ),
    "file": schema.mapping(
        "Make a file in a node.",
        {"node": NODE, "file": schema.path("Which."), "text": _lines("What it contains.")},
        ["node", "file", "text"],
    ),
    "hide": schema.mapping(
        "Take programs out of /usr/bin and /usr/sbin.",
        {"node": NODE, "programs": schema.text("Names, with wildcards.")},
        ["node", "programs"],
    ),
    "operation-timeout": schema.mapping(
        "Change the timeout of the database resource's operation in the cluster's configuration.",
        {
            "operation": schema.choice("Which.", ("start", "stop", "promote", "demote")),
            "timeout": schema.duration("The new one."),
        },
        ["operation", "timeout"],
    ),
    "slow-recovery": schema.mapping(
        "Let the next start of the server in a node stand still in InnoDB's recovery.",
        {"node": NODE, "for": schema.duration("For how long.")},
        ["node", "for"],
    ),
    "repair": schema.mapping("Take back what the steps above changed inside the nodes, the last first.", {}),
    "wait": schema.mapping(
        "Go on when something is so; the run fails if it does not come about.",
        {"until": schema.choice("What.", CONDITIONS), **_ABOUT, "within": _WITHIN},
        ["until"],
    ),
    "hold": schema.mapping(
        "Something is so and stays so for a while; the run fails when it is not.",
        {"that": schema.choice("What.", CONDITIONS), **_ABOUT, "for": schema.duration("How long.", default="0s")},
        ["that"],
    ),
}
"""What a step may do, with the parameters of each."""

PLANNED = frozenset(("switchover", "standby"))
"""The faults that are announced: the old primary goes on serving until its address is stopped."""

FAULTS = frozenset(
    (
        *("kill", "pause", "power-off", "cut", "cut-link", "switchover", "request", "sql", "stop-cluster", "standby"),
        *("stop-replication", "fill", "restart", "session", "privileged-writer", "errant-write", "edit", "hide"),
    )
)
"""The steps that disturb the service: the first of them in a run is the fault that times count from."""


@dataclass(frozen=True)
class Step:
    """One thing to do: its name in ACTIONS and every parameter, defaults filled in."""

    action: str
    parameters: Mapping[str, Any]

    def seconds(self, name: str) -> float:
        """Return the duration ``name`` in seconds."""
        return schema.milliseconds(self.parameters[name]) / 1000


REAL = frozenset(
    (
        *(
            "write",
            "kill",
            "stop-cluster",
            "start-cluster",
            "power-off",
            "power-on",
            "cut",
            "heal",
            "cut-link",
            "heal-link",
        ),
        *("switchover", "wait", "hold"),
    )
)
"""The steps that are for real clusters, too: each can be announced in a sentence and taken back."""
_REAL_CONDITIONS = frozenset(
    ("takeover", "fenced", "rejoined", "settled", "stale", "in-sync", "serving", "silent", "promoted")
)


def is_real(step: Step) -> bool:
    """Whether a step of REAL has parameters for a real cluster: of processes only the database server's is killed."""
    condition = step.parameters.get("until", step.parameters.get("that"))
    if condition is not None and condition not in _REAL_CONDITIONS:
        return False
    return step.action != "kill" or (step.parameters["process"] == "server" and step.parameters["signal"] == "KILL")


# The one parameter that a step written in short form gives: "cut: primary".
SHORT = {"write": "for", "wait": "until", "hold": "that", "writers": "do"}


# The daemons without which a node is no member: where fencing does not restart the node, a person would start them.
_MEMBERSHIP = frozenset(("corosync", "corosync-qdevice", "corosync-qnetd", "pacemakerd"))


def undo(step: Step) -> list[Step]:
    """Return the steps that take back what a fault did and the cluster cannot: power, cables, space, a stopped process."""
    node = {"node": step.parameters.get("node")}
    if step.action == "power-off":
        return [Step("power-on", node)]
    if step.action == "cut":
        return [Step("heal", node), Step("power-on", node)]
    if step.action == "cut-link":
        return [Step("heal-link", node)]
    if step.action == "stop-cluster":
        return [Step("start-cluster", node)]
    if step.action == "standby":
        return [Step("end-standby", node)]
    if step.action == "fill":
        return [Step("free", node)]
    if step.action == "pause" or (step.action == "kill" and step.parameters["signal"] == "STOP"):
        return [Step("resume", {**node, "process": step.parameters["process"]})]
    if step.action == "kill" and step.parameters["process"] in _MEMBERSHIP:
        return [Step("start-cluster", node)]
    return []


_WITH_TEXT = frozenset(("says", "logged"))


def contradiction(step: Step) -> str | None:
    """Say what is wrong between a step's parameters, each being right by itself, or None; the text follows the step's path."""
    for name in ("until", "that"):
        condition = step.parameters.get(name)
        if condition in _WITH_TEXT and not step.parameters.get("text"):
            return f": {name} {condition} needs a text"
        if condition and condition not in _WITH_TEXT and step.parameters.get("text"):
            return f": {name} {condition} takes no text"
    if step.action == "edit":
        try:
            re.compile(step.parameters["pattern"])
        except re.error as error:
            return f".pattern: is no regular expression: {error}"
    return None
