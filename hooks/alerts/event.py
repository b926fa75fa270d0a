"""One event: read from the inbox, put into words, filled into templates. Its texts were written by others and are never evaluated."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

EVENTS = {
    "nodes": "a node joins or is lost",
    "fencing": "a node was, or could not be, fenced",
    "failures": "an action of a resource failed or is degraded",
    "promotions": "a promote or demote has ended",
    "resources": "every action of every resource",
    "attributes": "a node attribute was written",
    "hooks": "a promotion hook failed",
}
DEFAULT_EVENTS = ("nodes", "fencing", "failures", "promotions", "hooks")
SHARED = ("node", "fencing")
"""The kinds of events of which Pacemaker tells every node."""

_KEPT = (
    "kind", "at", "micro", "sequence", "recipient", "node", "nodeid", "resource", "task", "interval", "rc", "target_rc",
    "status", "attribute", "desc", "value",
)  # fmt: skip
_CANCELLED = "1"
_LAST_DAY = 253_402_300_800  # the year 10000
_LONGEST = 2000  # characters of one text
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Event:
    """``at``: Unix time in seconds. ``fields``: Pacemaker's texts, in one line each. ``whole``: it was written to its end."""

    name: str
    at: float
    fields: Mapping[str, str]
    whole: bool

    @property
    def kind(self) -> str:
        """node, fencing, resource, attribute, hook or test."""
        return self.fields["kind"]

    @property
    def shared(self) -> bool:
        """Whether every node has it."""
        return self.kind in SHARED

    @property
    def empty(self) -> bool:
        """Whether nothing of it could be written."""
        return not self.whole and not any(self.fields.values())

    def same(self) -> str:
        """What is the same on all nodes that tell of one event; for the others, what nobody else has."""
        if self.kind == "fencing":
            return _digest("fencing", self.fields["desc"], self.fields["node"], self.fields["task"])
        if self.kind == "node":
            return _digest("node", self.fields["node"], self.fields["desc"])
        return ""

    def key(self, cluster: str, reporter: str) -> str:
        """The idempotency key: the same at every attempt, and for a fencing also from every node."""
        if self.kind == "fencing":
            return _digest(cluster, self.same())
        if self.kind == "node":
            return _digest(cluster, self.same(), f"{self.at // 60:.0f}")
        return _digest(cluster, reporter, self.name)

    def words(self) -> frozenset[str]:
        """Which of EVENTS it is; empty for a test, which goes where it is sent."""
        if self.kind == "resource":
            found = {"resources"}
            if self.fields["task"] in ("promote", "demote"):
                found.add("promotions")
            if self.failed:
                found.add("failures")
            return frozenset(found)
        plural = {"node": "nodes", "fencing": "fencing", "attribute": "attributes", "hook": "hooks"}
        return frozenset(plural[name] for name in (self.kind,) if name in plural)

    @property
    def failed(self) -> bool:
        """Whether it tells of a failure."""
        given = self.fields
        if self.kind == "resource":
            # A recurring look that was cancelled repeats what it said last.
            return given["status"] != _CANCELLED and (
                given["status"] not in ("", "0") or given["rc"] != given["target_rc"]
            )
        if self.kind == "node":
            return given["desc"] == "lost"
        return self.kind == "hook" or (self.kind == "fencing" and given["rc"] not in ("", "0"))

    def summary(self) -> str:
        """One line for a person."""
        given = self.fields
        where = given["node"] or "the cluster"
        if self.kind == "node":
            return f"node {where} is {'lost' if given['desc'] == 'lost' else given['desc'] or 'changed'}"
        if self.kind == "fencing":
            return given["desc"] or f"fencing of {where}"
        if self.kind == "resource":
            what = f"{given['task']} of {given['resource']} on {where}"
            if self.failed:
                reason = f": {given['desc']}" if given["desc"] not in ("", "ok") else ""
                return f"{what} failed (code {given['rc'] or '?'}){reason}"
            return f"{what} {'was cancelled' if given['status'] == _CANCELLED else 'succeeded'}"
        if self.kind == "attribute":
            return f"{given['attribute']} of {where} is {given['value'] or 'unset'}"
        if self.kind == "hook":
            return f"{given['task']} hook of {given['resource']} on {where}: {given['desc']}"
        return given["desc"] or f"an event of the unknown kind {self.kind}"

    def told(self, cluster: str, reporter: str, dropped: int) -> dict[str, Any]:
        """Everything that can be said of it: the body of a webhook without a template, and what placeholders stand for."""
        given = self.fields
        return {
            "id": self.key(cluster, reporter),
            "kind": self.kind,
            "summary": self.summary() + ("" if self.whole else " (cut off)"),
            "failed": self.failed,
            "cluster": cluster,
            "reporter": reporter,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.at)) + f".{int(self.at % 1 * 1000):03d}Z",
            "node": given["node"],
            "resource": given["resource"],
            "task": given["task"],
            "rc": given["rc"],
            "target_rc": given["target_rc"],
            "description": given["desc"],
            "attribute": given["attribute"],
            "value": given["value"],
            "dropped": dropped,
        }


FIELDS = (
    "id", "kind", "summary", "failed", "cluster", "reporter", "time", "node", "resource", "task", "rc", "target_rc",
    "description", "attribute", "value", "dropped",
)  # fmt: skip
"""What a template may name, in braces."""


def parse(name: str, content: bytes, written: float) -> Event:
    """The event in an inbox file; ``written`` is the file's time, for a Pacemaker that tells none. Never fails."""
    given = dict.fromkeys(_KEPT, "")
    end = False
    for part in content.split(b"\0"):
        key, _, value = part.decode("utf-8", "replace").partition("=")
        if key in given:
            given[key] = clean(value)
        end = end or key == "end"
    seconds, micro = (int(given[key][:18]) if given[key].isdecimal() else 0 for key in ("at", "micro"))
    # Without a time, or with one that no calendar has, it is as old as its file.
    at = seconds + micro % 1_000_000 / 1e6 if 0 < seconds < _LAST_DAY else written
    return Event(name, at, given, end)


def order(name: str) -> tuple[int, int, int, str]:
    """Pacemaker's order of events, from an inbox file's name."""
    at, micro, sequence = (int(part) if part.isdecimal() else 0 for part in f"{name}...".split(".")[:3])
    return at, micro, sequence, name


def clean(text: str) -> str:
    """``text`` in one line, without control characters and those that turn the direction of writing around, and not endless."""
    if len(text) <= _LONGEST and text.isprintable():
        return text.strip()
    plain = " ".join(_UNPRINTABLE.sub(" ", text[: 4 * _LONGEST]).split(" ")).strip()
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def fill(template: Any, told: Mapping[str, Any], escape: Callable[[str], str] = str) -> Any:
    """``template`` (text, or a list or mapping of texts) with every ``{name}`` replaced, once: what is put in is not looked at again."""
    if isinstance(template, str):

        def value(match: re.Match[str]) -> str:
            found = told.get(match[1], match[0])
            return escape(("true" if found else "false") if isinstance(found, bool) else str(found))

        return PLACEHOLDER.sub(value, template)
    if isinstance(template, Mapping):
        return {key: fill(item, told, escape) for key, item in template.items()}
    if isinstance(template, list):
        return [fill(item, told, escape) for item in template]
    return template


def unknown_names(template: Any) -> list[str]:
    """The names in braces that stand for nothing."""
    if isinstance(template, str):
        return [name for name in PLACEHOLDER.findall(template) if name not in FIELDS]
    inner = template.values() if isinstance(template, Mapping) else template if isinstance(template, list) else ()
    return [name for item in inner for name in unknown_names(item)]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:24]
