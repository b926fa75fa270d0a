"""Rules that find what is dangerous in a configuration before it is applied, or on a node that runs it.

A rule is one function: it gets the facts and yields a place and a sentence for each thing it finds. Its id, severity and remedy stand
beside it. A module in crm/lint/rules that has such functions is all that it takes to add some; nothing else names them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from hafailover.crm.lint.node import NodeFacts
    from hafailover.crm.topology import Topology

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Facts:
    """What there is to look at: the topology, and the node that this machine is, None when it is none of them."""

    topology: Topology
    node: NodeFacts | None = None


@dataclass(frozen=True)
class Found:
    """One thing that a rule has found: where (a key of the topology, a node, a resource), and what, as a sentence."""

    where: str
    text: str


Check = Callable[[Facts], Iterable[Found]]


@dataclass(frozen=True)
class Rule:
    """A rule: its id for ever, how bad what it finds is, what it looks for, and what to do about it."""

    id: str
    severity: str
    summary: str
    remedy: str
    on_node: bool
    check: Check


@dataclass(frozen=True)
class Finding:
    """What a rule has found, with all that a person needs."""

    rule: str
    severity: str
    where: str
    text: str
    remedy: str

    def as_json(self) -> dict[str, str]:
        """The finding in the documented shape."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "where": self.where,
            "text": self.text,
            "remedy": self.remedy,
        }


_known: dict[str, Rule] = {}


def rule(id: str, severity: str, *, remedy: str, on_node: bool = False) -> Callable[[Check], Check]:
    """Declare the decorated function as the rule ``id``; the first line of its docstring says what it looks for.

    ``on_node``: it needs the facts of a node, ``Facts.node``.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"rule {id}: unknown severity {severity}")

    def declare(check: Check) -> Check:
        if id in _known:
            raise ValueError(f"there are two rules {id}")
        _known[id] = Rule(id, severity, (check.__doc__ or "").partition("\n")[0], remedy, on_node, check)
        return check

    return declare


@cache
def known() -> tuple[Rule, ...]:
    """Every rule, by id."""
    from hafailover.crm.lint import rules

    for module in pkgutil.iter_modules(rules.__path__):
        importlib.import_module(f"{rules.__name__}.{module.name}")
    return tuple(_known[id] for id in sorted(_known))


def check(facts: Facts) -> Iterator[Finding]:
    """Everything that is found, the worst first."""
    for severity in SEVERITIES:
        for one in known():
            if one.severity == severity and (facts.node is not None or not one.on_node):
                for found in one.check(facts):
                    yield Finding(one.id, severity, found.where, found.text, one.remedy)
