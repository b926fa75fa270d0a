"""How a difference reads, and when two values, parameters or operations are the same though they are written differently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from hafailover.crm import values
from hafailover.crm.importing.findings import visible
from hafailover.crm.importing.hidden import may_show
from hafailover.crm.importing.loading import ANY
from hafailover.crm.importing.names import words
from hafailover.crm.resolved import Op, Resource

_TIMEOUT = 20_000  # ms, Pacemaker's own when nothing is said
_COMMON = frozenset({"start", "stop", "promote", "demote", "notify"})


@dataclass(frozen=True)
class Difference:
    """``kind``: resource, parameter, meta attribute, operation, constraint, property, default, corosync, section."""

    kind: str
    where: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


def changed(name: str, old: str | None, new: str | None, usual: str | None) -> str:
    """What changes, as a piece of a sentence; empty when nothing does."""
    before, after = (_meaning(one if one is not None else usual) for one in (old, new))
    if before == after:
        return ""
    shown = [visible(one, 60) if one is not None else f"not set{f' ({usual})' if usual else ''}" for one in (old, new)]
    if any(one is not None and not may_show(name, one) for one in (old, new)):
        return "changes (values not shown)"
    return f"{shown[0]} becomes {shown[1]}"


def _meaning(value: str | None) -> object:
    """A value in the one form that all its spellings have."""
    if value is None:
        return None
    word = value.strip()
    truth = values.boolean(word) if not word.isdecimal() else None
    if truth is not None:
        return truth
    if word.lstrip("+").upper() == "INFINITY":
        return "INFINITY"
    if word[:1].isdigit() and not word.isdecimal():
        time = values.milliseconds(word)
        return word if time is None else ("time", time)
    return ("time", int(word) * 1000) if word.isdecimal() and len(word) < 16 else word


def parameter(name: str, old: str | None, new: str | None) -> str:
    """What changes in a parameter, as a piece of a sentence; empty when nothing does. No secret is in it."""
    if old == new or (new == ANY and name == "nic"):
        return ""
    if name.startswith("pcmk_delay_") and _meaning(old) == _meaning(new):
        return ""
    if name == "pcmk_host_list" and set(words(old)) == set(words(new)):
        return ""
    if name == "options" and old is not None and new is not None and sorted(old.split(",")) == sorted(new.split(",")):
        return ""
    if any(one is not None and not may_show(name, one) for one in (old, new)):
        return "is not in the topology (value not shown)" if new is None else "its value changes (not shown)"
    shown = [visible(one, 80) if one is not None else "not set" for one in (old, new)]
    return f"{shown[0]} becomes {shown[1]}"


def operations(old: Resource, new: Resource, where: str) -> Iterator[Difference]:
    """The operations in which two resources differ; Pacemaker's own timeouts count as said."""
    before, after = _by_kind(old), _by_kind(new)
    for key in dict.fromkeys([*before, *after]):
        gone, come = before.get(key, []), after.get(key, [])
        if [_op(one) for one in gone] == [_op(one) for one in come]:
            continue
        name, role = key
        if not gone and come and name in _COMMON and _op(come[0]) == (0, _TIMEOUT, "", True):
            continue
        what = f"{name}{f' as {role}' if role else ''}"
        shown = [", ".join(_said(one) for one in some) or "not set" for some in (gone, come)]
        yield Difference("operation", where, f"operation {visible(what, 60)}: {shown[0]} becomes {shown[1]}")


def _by_kind(one: Resource) -> dict[tuple[str, str], list[Op]]:
    found: dict[tuple[str, str], list[Op]] = {}
    for op in one.operations:
        found.setdefault((op.name, "" if op.role == "Started" else op.role), []).append(op)
    return found


def _op(op: Op) -> tuple[int, int, str, bool]:
    return (op.interval, _TIMEOUT if op.timeout is None else op.timeout, op.on_fail or "", op.enabled)


def _said(op: Op) -> str:
    every = f"every {_time(op.interval)}, " if op.interval else ""
    more = f", on-fail={visible(op.on_fail, 20)}" if op.on_fail else ""
    off = ", switched off" if not op.enabled else ""
    return f"{every}timeout {_time(_TIMEOUT if op.timeout is None else op.timeout)}{more}{off}"


def _time(count: int) -> str:
    return f"{count // 1000} s" if count % 1000 == 0 else f"{count} ms"
