"""What the visit came to: every result by group, a verdict, and both as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hafailover.crm.colour import Paint, plain
from hafailover.crm.doctor import FAIL, OK, UNKNOWN, VERDICTS, WARN, Result, Seen, text
from hafailover.crm.doctor.groups import GROUPS
from hafailover.crm.status_text import wrapped
from hafailover.crm.status_words import clock as time_of_day

SCHEMA = 1
NODES = "Nodes"
_AGAIN = "hafailover doctor"
_COLOURS = {OK: "green", WARN: "yellow", FAIL: "red", UNKNOWN: "dim"}
_WORST = (FAIL, WARN, UNKNOWN, OK)


class Report(NamedTuple):
    """``groups``: (title, results), in order. ``worst``: the worst verdict of any."""

    seen: Seen
    groups: tuple[tuple[str, tuple[Result, ...]], ...]

    @property
    def results(self) -> tuple[Result, ...]:
        """All results."""
        return tuple(result for _, results in self.groups for result in results)

    @property
    def worst(self) -> str:
        """The worst verdict of any."""
        there = {result.verdict for result in self.results}
        return next((verdict for verdict in _WORST if verdict in there), UNKNOWN)

    def count(self, verdict: str) -> int:
        """How many results have this verdict."""
        return sum(result.verdict == verdict for result in self.results)


def judge(seen: Seen) -> Report:
    """All results of a visit."""
    groups: list[tuple[str, tuple[Result, ...]]] = [(NODES, tuple(_nodes(seen)))]
    for module in GROUPS.values():
        results = tuple(_judged(module.TITLE, module.judge, seen))
        if results:
            groups.append((module.TITLE, results))
    return Report(seen, tuple(groups))


def _judged(title: str, judge_group: Any, seen: Seen) -> Iterator[Result]:
    """What another node told can be anything: a group that cannot be judged is one that was not looked at."""
    found: list[Result] = []
    try:
        found.extend(judge_group(seen))
    except Exception as error:
        found.append(
            Result(
                "group",
                UNKNOWN,
                "",
                f"{title}: not looked at, because what the nodes told is not understood ({error!r:.120})",
            )
        )
    return iter(found)


def _nodes(seen: Seen) -> Iterator[Result]:
    for node in seen.nodes:
        if node in seen.missing:
            yield Result("node", UNKNOWN, node, f"not looked at, because {seen.missing[node]}")
        else:
            age = max(0.0, seen.now - seen.letters[node].at)
            when = "just now" if node == seen.here or age < 60 else f"{age / 60:.0f} min ago"
            if node in seen.stale:
                what = f"what it tells is {max(age, 1):.0f} s old, and it could not be had to look again: {text(seen.stale[node])}"
                why = "what has changed there since is not in what follows"
                yield Result(
                    "node",
                    WARN,
                    node,
                    what,
                    why,
                    f"there: systemctl start hafailover-doctor; then again here: {_AGAIN}",
                )
            else:
                yield Result("node", OK, node, f"looked at {when}")


def as_json(report: Report) -> dict[str, Any]:
    """The documented shape."""
    seen = report.seen
    return {
        "schema": SCHEMA,
        "result": VERDICTS[report.worst],
        "seen_by": seen.here,
        "at": seen.now,
        "counts": {VERDICTS[verdict]: report.count(verdict) for verdict in VERDICTS},
        "nodes": [
            {
                "name": node,
                "at": seen.letters[node].at if node in seen.letters else None,
                "missing": seen.missing.get(node, ""),
            }
            for node in seen.nodes
        ],
        "checks": [
            {
                "group": title,
                "check": result.check,
                "node": result.node,
                "result": VERDICTS[result.verdict],
                "what": result.what,
                "why": result.why,
                "fix": result.fix,
            }
            for title, results in report.groups
            for result in results
        ],
    }


def headline(report: Report) -> str:
    """``2 failed, 1 warning, 30 ok, 1 not looked at``."""
    counts = [(report.count(verdict), VERDICTS[verdict]) for verdict in (FAIL, WARN, OK, UNKNOWN)]
    words = [f"{count} {name}{'s' if name == 'warning' and count != 1 else ''}" for count, name in counts if count]
    return ", ".join(words)


def lines(report: Report, paint: Paint = plain, quiet: bool = False) -> Iterator[str]:
    """The checklist for a screen of 80 columns; ``quiet``: without what is well."""
    word = report.worst
    name = {OK: "OK", WARN: "WARN", FAIL: "FAIL", UNKNOWN: "INCOMPLETE"}[word]
    seen = report.seen
    about = f"{headline(report)}; asked from {seen.here} at {time_of_day(seen.now, seen.now)}"
    first = wrapped(about, f"{name}  ", " " * (len(name) + 2))
    yield paint(name, _COLOURS[word]) + first[0][len(name) :]
    yield from first[1:]
    for title, results in report.groups:
        shown = [result for result in results if not (quiet and result.verdict == OK)]
        if shown:
            yield ""
            yield paint(title, "bold")
        width = max((len(result.node) for result in shown), default=0)
        for result in sorted(shown, key=lambda one: _WORST.index(one.verdict)):
            yield from _result(result, width, paint)


def _result(result: Result, width: int, paint: Paint) -> Iterator[str]:
    label = f"{result.verdict:<4}"
    indent = " " * (8 + (width + 2 if width else 0))
    node = f"{result.node:<{width}}  " if width else ""
    written = wrapped(result.what, f"  {label}  {node}", indent)
    yield "  " + paint(label, _COLOURS[result.verdict]) + written[0][2 + len(label) :]
    yield from written[1:]
    if result.why:
        yield from wrapped(result.why, indent, indent)
    if result.fix:
        yield from wrapped(result.fix, f"{indent}-> ", f"{indent}   ")
