"""Rules that find what is dangerous in a configuration before it is applied, or on a node that runs it.

A rule is one function: it gets the facts and yields a place and a sentence for each thing it finds. Its name, code, severity, remedy, and
why it matters stand beside it. A module in crm/lint/rules that has such functions is all that it takes to add some; nothing else names
them.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Callable, Union

if TYPE_CHECKING:
    from hafailover.crm.lint.node import NodeFacts
    from hafailover.crm.model import Configuration
    from hafailover.crm.resolved import Resolved
    from hafailover.crm.topology import Topology

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)
NEEDS = ("topology", "configuration", "resolved", "corosync", "node")
_CODE = re.compile(r"L[0-9]{2}[a-z]?")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Facts:
    """What there is to look at; None for what there is not, and ``missing`` says of it why.

    ``configuration`` and ``resolved`` are the CIB, of a topology what generate makes of it; ``corosync`` is the parsed corosync.conf, of a
    topology what render writes; ``node`` is this machine when it is a node of it. ``live``: the CIB is the running cluster's.
    """

    topology: Topology | None = None
    node: NodeFacts | None = None
    configuration: Configuration | None = None
    resolved: Resolved | None = None
    corosync: Any = None
    live: bool = False
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Topology:
        """The topology, for a rule that needs it."""
        assert self.topology is not None
        return self.topology

    @property
    def cluster(self) -> Resolved:
        """The resolved configuration, for a rule that needs it."""
        assert self.resolved is not None
        return self.resolved


@dataclass(frozen=True)
class Found:
    """One thing that a rule has found: where (a key of the topology, a node, the id of an element of the CIB), and what, as a sentence.

    ``fix`` is text that can be pasted, made for this place. Ids of a CIB are anybody's: quote them (shlex.quote) in a command.
    ``severity`` "" is the rule's own.
    """

    where: str
    text: str
    fix: str = ""
    severity: str = ""


@dataclass(frozen=True)
class NotLooked:
    """What a rule could not look at, and why, as a clause: "the meta-data of ocf:x:y is not installed here"."""

    text: str


Check = Callable[[Facts], Iterable[Union[Found, NotLooked]]]


@dataclass(frozen=True)
class Rule:
    """A rule: its name and code for ever, how bad what it finds is, what it looks for, what to do about it, and why it matters.

    ``needs`` are the fields of Facts without which it cannot look.
    """

    id: str
    code: str
    severity: str
    summary: str
    remedy: str
    why: str
    needs: tuple[str, ...]
    check: Check

    @property
    def on_node(self) -> bool:
        """Whether it looks at a node itself."""
        return "node" in self.needs


@dataclass(frozen=True)
class Finding:
    """What a rule has found, with all that a person needs."""

    rule: str
    severity: str
    where: str
    text: str
    remedy: str
    code: str = ""
    why: str = ""
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """The finding in the documented shape."""
        return {
            "rule": self.rule,
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "text": self.text,
            "why": self.why,
            "remedy": self.remedy,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Report:
    """All that came of looking: what is found, the worst first; (rule, why) of what was not looked at; and of rules that broke down."""

    findings: tuple[Finding, ...]
    not_looked: tuple[tuple[Rule, str], ...] = ()
    broken: tuple[tuple[Rule, str], ...] = ()


_known: dict[str, Rule] = {}


def rule(
    id: str,
    severity: str,
    *,
    remedy: str,
    code: str,
    why: str = "",
    needs: Sequence[str] = ("topology",),
    on_node: bool = False,
) -> Callable[[Check], Check]:
    """Declare the decorated function as the rule ``id``; the first line of its docstring says what it looks for.

    ``code`` is L and two digits; ``why`` one sentence: what has happened to those who left it; ``needs`` fields of Facts. ``on_node``: it
    needs the facts of a node as well.
    """
    needed = (*needs, *(("node",) if on_node and "node" not in needs else ()))
    if severity not in SEVERITIES:
        raise ValueError(f"rule {id}: unknown severity {severity}")
    if not _CODE.fullmatch(code) or not _NAME.fullmatch(id):
        raise ValueError(f"rule {id}: code {code} and name must be like L01 and no-monitor")
    if not set(needed) <= set(NEEDS):
        raise ValueError(f"rule {id}: unknown needs {', '.join(needed)}")

    def declare(check: Check) -> Check:
        if id in _known:
            raise ValueError(f"there are two rules {id}")
        same = next((one.id for one in _known.values() if one.code == code), None)
        if same is not None:
            raise ValueError(f"rules {same} and {id} have the same code {code}")
        summary = (check.__doc__ or "").partition("\n")[0]
        _known[id] = Rule(id, code, severity, summary, remedy, why, needed, check)
        return check

    return declare


@cache
def known() -> tuple[Rule, ...]:
    """Every rule, by code."""
    from hafailover.crm.lint import rules

    for module in pkgutil.iter_modules(rules.__path__):
        importlib.import_module(f"{rules.__name__}.{module.name}")
    return tuple(sorted(_known.values(), key=lambda one: one.code))


def check(facts: Facts) -> Iterator[Finding]:
    """Everything that is found, the worst first."""
    yield from examine(facts).findings


def examine(facts: Facts) -> Report:
    """Let every rule look that has what it needs."""
    findings: list[Finding] = []
    not_looked: list[tuple[Rule, str]] = []
    broken: list[tuple[Rule, str]] = []
    strange = _strange(facts)
    for one in known():
        lacking = next((need for need in one.needs if getattr(facts, need) is None), None)
        if lacking is not None:
            not_looked.append((one, facts.missing.get(lacking, _LACKING[lacking])))
            continue
        try:
            for found in one.check(facts):
                if isinstance(found, NotLooked):
                    not_looked.append((one, found.text))
                else:
                    findings.append(_finding(one, found, strange))
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            # One rule that does not understand a configuration must not hide what the others find in it.
            broken.append((one, f"{type(error).__name__}: {error}"))
    findings.sort(key=lambda found: SEVERITIES.index(found.severity))
    return Report(tuple(findings), tuple(not_looked), tuple(broken))


def _finding(one: Rule, found: Found, strange: tuple[str, ...]) -> Finding:
    # Quoted or not: an id --force is an option to whoever reads the words, and one with a new line is two commands.
    fix = "" if any(id in found.fix for id in strange) else found.fix
    return Finding(one.id, found.severity or one.severity, found.where, found.text, one.remedy, one.code, one.why, fix)


def _strange(facts: Facts) -> tuple[str, ...]:
    """The ids in a CIB that are none in XML's eyes (NCName), which Pacemaker's schema refuses and a file may have all the same."""
    from hafailover.crm.lint.paste import is_id

    if facts.resolved is None:
        return ()
    here = facts.resolved
    ids = set(here.resources) | {op.id for one in here.resources.values() for op in one.operations}
    ids |= {getattr(one, "id", "") for one in here.configuration.constraints}
    return tuple(id for id in ids if id and not is_id(id))


_LACKING = {
    "topology": "it is about a topology, and this is none",
    "configuration": "there is no configuration of Pacemaker here",
    "resolved": "there is no configuration of Pacemaker here",
    "corosync": "there is no corosync.conf here",
    "node": "this machine is none of the nodes",
}
