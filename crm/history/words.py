"""One record as a step of something: what it is called, about whom it is, and in what words. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from hafailover.crm.history.records import Record

_SEEN_TWICE = 60.0  # seconds between the reports of several nodes about one event
_TASKS = {"start": "started", "stop": "stopped", "promote": "promoted", "demote": "demoted"}
_REJOIN = ("rejoin", "rejoined", "rejoin.failed", "rejoin.incomplete", "clone", "clone.begin", "clone.placed",
           "clone.undone", "clone.resumed", "donate", "donated", "quarantine.discarded")  # fmt: skip
_CODES = {"0": "done", "1": "failed", "2": "wrong usage", "3": "refused", "4": "incomplete", "130": "interrupted"}
_STARTED = ("started", "up", "start")


@dataclass(frozen=True)
class Step:
    """``at``: Unix time in seconds, by the record's place. ``seen_by``: the nodes that told of it. ``bad``: it went wrong.

    ``name``: detect, fence, drain, demote, promote, address, services, hooks, stop, lost, joined, degrade, regain, rejoin, command, clock,
    lost-records, or "".
    """

    record: Record
    name: str
    node: str
    resource: str
    says: str
    bad: bool
    seen_by: tuple[str, ...]

    @property
    def at(self) -> float:
        """When, in seconds of Unix time, in the order in which things are told."""
        return self.record.order / 1e6

    @property
    def skew(self) -> float:
        """Seconds by which its writer's clock was at least behind."""
        return (self.record.order - self.record.at) / 1e6

    @property
    def outcome(self) -> str:
        """For a fencing: what became of it."""
        return "failed" if self.bad else "done"


def merged(records: Iterable[Record]) -> list[Step]:
    """The steps of sorted ``records``; what several nodes tell of one fencing, or one node's coming and going, is one step."""
    steps: list[Step] = []
    latest: dict[tuple[str, ...], int] = {}
    for record in records:
        step = of(record)
        if record.kind in ("fencing", "node"):
            about = ("node", "task", "rc")
            key = (record.kind, step.name, *(record.facts.get(name, "") for name in about), _reference(record))
            number = latest.get(key)
            if number is not None and _one(steps[number], step):
                steps[number] = replace(steps[number], seen_by=(*steps[number].seen_by, record.node))
                continue
            latest[key] = len(steps)
        steps.append(step)
    return steps


def _one(first: Step, step: Step) -> bool:
    # One that has a name is one, however far apart the clocks are by which it was told.
    soon = step.at - first.at < _SEEN_TWICE or _reference(step.record) != ""
    return soon and step.record.node not in first.seen_by


def _reference(record: Record) -> str:
    """The name that the cluster gave to a fencing, by which its reports are one."""
    return record.facts.get("desc", "").partition("(ref=")[2] if record.kind == "fencing" else ""


def of(record: Record) -> Step:
    """The step that ``record`` tells of."""
    facts = record.facts
    node = facts.get("node", "") or record.node
    if record.kind == "node":
        gone = facts.get("desc", "") == "lost"
        says = f"{node} {'left the cluster' if gone else 'came into the cluster'}"
        return _step(record, "lost" if gone else "joined", node, "", says)
    if record.kind == "fencing":
        how = (
            facts.get("desc", "").partition(" (ref=")[0]
            or f"{facts.get('task', 'fencing')} of {node}, code {facts.get('rc', '?')}"
        )
        return _step(record, "fence", node, "", how, record.failed)
    if record.kind == "resource":
        return _action(record, node)
    if record.kind == "event":
        return _event(record)
    if record.kind == "audit":
        return _command(record)
    if record.kind == "clock":
        says = f"the clock of {node} is at least {facts.get('seconds', '?')} s ahead of {record.node}'s"
        return _step(record, "clock", node, "", says)
    return _step(
        record, "lost-records" if record.kind == "lost" else "", record.node, "", facts.get("text", record.kind)
    )


def _step(record: Record, name: str, node: str, resource: str, says: str, bad: bool = False) -> Step:
    return Step(record, name, node, resource, says, bad, (record.node,))


def _action(record: Record, node: str) -> Step:
    facts = record.facts
    task, resource = facts.get("task", ""), facts.get("rsc", "")
    resource = resource.partition(":")[0]
    took = f" in {int(facts['exec_time']) / 1000:.1f} s" if facts.get("exec_time", "").isdecimal() else ""
    if record.failed:
        said = facts.get("desc", "") or f"code {facts.get('rc', '?')}"
        name = "detect" if task == "monitor" else ""
        return _step(record, name, node, resource, f"{task} of {resource} on {node} failed: {said}", bad=True)
    name = {"promote": "promote", "demote": "demote", "stop": "stop", "start": "services"}.get(task, "")
    return _step(record, name, node, resource, f"{resource} {_TASKS.get(task, task)} on {node}{took}")


def _event(record: Record) -> Step:
    facts = record.facts
    event, resource = facts.get("event", ""), facts.get("resource", "").partition(":")[0]
    names = {
        "died": "detect", "promoted": "promote", "demoted": "demote", "demote.killed": "demote", "hand-over": "demote",
        "degrade": "degrade", "regain": "regain", "vip.up": "address", "vip.down": "stop",
    }  # fmt: skip
    name = names.get(event, "")
    if not name:
        last = event.rpartition(".")[2]
        name = "rejoin" if event in _REJOIN else "drain" if last == "drained" else ""
        name = name or ("hooks" if event.startswith("hook") else "")
        name = name or ("services" if "." in event and last in _STARTED else "")
    bad = event == "died" or (name in ("", "hooks") and facts.get("level") in ("warning", "error", "critical"))
    says = f"{resource or facts.get('agent', '')} on {record.node}: {facts.get('text', event)}"
    return _step(record, name, record.node, resource, says, bad)


def _command(record: Record) -> Step:
    facts = record.facts
    if facts.get("phase") == "end":
        says = f"{facts.get('command', 'a command')} ended: {facts.get('says') or ended_with(facts.get('code', '?'))}"
    else:
        says = facts.get("what", "") or facts.get("text", "")
    return _step(record, "command", record.node, "", says)


def ended_with(code: str) -> str:
    """A command's exit code in a word."""
    return _CODES.get(code, f"ended with {code}")


def subject(step: Step) -> str:
    """About what it is, for a list."""
    return f"{step.resource} on {step.node}" if step.resource else step.node
