"""A scenario is data: a YAML file that says step by step what breaks, what to wait for, and what must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafailover.crm import schema, yamldoc
from hafailover.crm.drill import actions
from hafailover.crm.drill.actions import ACTIONS, FAULTS, NODE, SHORT, Step
from hafailover.crm.drill.oracle import Expectation
from hafailover.crm.drill.timeline import Phases
from hafailover.crm.errors import UsageError

DISK_MIB = 1024
"""The size of a data directory's own file system, for scenarios that fill it."""
DIRECTORY = Path(__file__).resolve().parent / "scenarios"

_SCENARIO = schema.mapping(
    "A failure scenario.",
    {
        "summary": schema.text("One line that says what happens."),
        "outcome": schema.text("One line that says what the right outcome is.", default=""),
        "long": schema.boolean("Whether it takes too long to be run with all the others.", default=False),
        "cluster": schema.boolean("Whether it may be run on a real cluster.", default=False),
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
                    "items": NODE,
                    "description": "The nodes that must have been fenced, and no other.",
                    "expect": "a list of nodes",
                },
                "rebuilt": {
                    "type": "array",
                    "items": NODE,
                    "description": "The nodes whose data directory must have been replaced, and no other.",
                    "expect": "a list of nodes",
                },
                "order": {
                    "type": "array",
                    "items": schema.choice("A phase.", Phases._fields),
                    "description": "Phases that must have come in this order.",
                    "expect": "a list of phases",
                },
                "reigns": schema.number("How often a server began to accept writes.", 1, 10000),
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
class Scenario:
    """A named sequence of steps. Nodes in ``expect`` are still roles ("primary")."""

    name: str
    summary: str
    steps: Sequence[Step]
    expect: Expectation
    outcome: str = ""
    long: bool = False
    cluster: bool = False

    @property
    def fills(self) -> bool:
        """Whether it needs a lab whose datadirs can be filled."""
        return any(step.action == "fill" for step in self.steps)


def known() -> dict[str, Path]:
    """Return the scenarios that come with the program, by name."""
    return {path.stem: path for path in sorted(DIRECTORY.glob("*.yml"))}


def load(name: str) -> Scenario:
    """Return the scenario ``name``, or the one in the file ``name`` if that is a path ending in .yml.

    UsageError if there is none, or with file, line and key of what is wrong in it.
    """
    path = Path(name) if name.endswith(".yml") else known().get(name)
    if path is None:
        near = schema.nearest(name, known())
        if near:  # there are too many to find it among them
            raise UsageError(
                f"unknown scenario {schema.shown(name)}; did you mean {near!r}? 'hafailover drill --list' shows them all"
            )
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
    for number, written in enumerate(full["steps"]):
        for action, parameters in written.items():
            wrong = actions.contradiction(Step(action, parameters))
            if wrong:
                line = document.where(("steps", number))[0]
                raise UsageError(f"{document.file}:{line}: steps[{number}].{action}{wrong}")
    steps = [Step(action, parameters) for step in full["steps"] for action, parameters in step.items()]
    if not any(step.action in FAULTS for step in steps):
        raise UsageError(f"{document.file}: steps: nothing breaks; one step must be of {', '.join(sorted(FAULTS))}")
    foreign = [step.action for step in steps if step.action not in actions.REAL or not actions.is_real(step)]
    if full["cluster"] and foreign:
        raise UsageError(f"{document.file}: cluster: a step {foreign[0]} is nothing for a real cluster")
    expect = full["expect"]
    wanted = Expectation(
        primary=expect["primary"],
        fenced=frozenset(expect["fenced"]) if "fenced" in expect else None,
        configuration=expect["configuration"],
        rebuilt=frozenset(expect["rebuilt"]) if "rebuilt" in expect else None,
        order=tuple(expect.get("order", ())),
        reigns=expect.get("reigns"),
    )
    return Scenario(name, full["summary"], steps, wanted, full["outcome"], full["long"], full["cluster"])


def _spelled_out(data: Any) -> Any:
    """Return ``data`` with steps in short form ("cut: primary") written out."""
    if not isinstance(data, dict) or not isinstance(data.get("steps"), list):
        return data
    steps = [
        {
            action: value if isinstance(value, (dict, list)) else {SHORT.get(str(action), "node"): value}
            for action, value in step.items()
        }
        if isinstance(step, dict)
        else step
        for step in data["steps"]
    ]
    return {**data, "steps": steps}
