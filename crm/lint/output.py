"""How the answer of lint is printed: for a person, and as JSON, SARIF 2.1.0 and GitHub's annotations for programs.

Names in a CIB are anybody's: what would move the cursor of a terminal, or end a line of an annotation, is written as what it is.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hafailover.agents import __version__
from hafailover.crm.lint import SEVERITIES, Finding, Report, Rule
from hafailover.crm.lint.ignores import Ignore
from hafailover.crm.lint.sources import Place, Source, relative

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}


@dataclass(frozen=True)
class Answer:
    """All that is printed: what was looked at, what is left of the findings, what is ignored and why, and which ignores did nothing."""

    source: Source
    report: Report
    findings: Sequence[Finding]
    ignored: Sequence[tuple[Finding, Ignore]]
    unused: Sequence[Ignore]
    rules: Sequence[Rule]

    @property
    def node(self) -> str | None:
        """The node that was looked at as well."""
        return self.source.facts.node.name if self.source.facts.node is not None else None

    def counts(self) -> dict[str, int]:
        """How many findings of each severity are left."""
        return {severity: sum(one.severity == severity for one in self.findings) for severity in SEVERITIES}


def clean(text: str) -> str:
    """``text`` without what is no character to be seen: those are written as \\x1b."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _fix(one: Finding) -> list[str]:
    """The lines of what can be pasted. splitlines() would also cut at characters that end no line of a terminal."""
    return [clean(line) for line in one.fix.split("\n") if line]


# -- for people --------------------------------------------------------------------------------------------------------------------


def text(answer: Answer, width: int = 100) -> str:
    """By severity, the worst first, and the counts in the last line."""
    lines: list[str] = []
    for severity in SEVERITIES:
        mine = [one for one in answer.findings if one.severity == severity]
        if mine:
            lines += [f"{_count(len(mine), severity)}:".upper(), ""]
            for one in mine:
                lines += [*_finding(one, answer.source.locate(one.where), width), ""]
    lines += _told(answer, width)
    return "\n".join([*lines, _summary(answer)])


def _finding(one: Finding, place: Place, width: int) -> list[str]:
    at = f"  ({clean(place.file)}:{place.line})" if place.file and place.line else ""
    lines = [f"  {one.code} {one.rule}: {clean(one.where)}{at}", *_wrapped(clean(one.text), "      ", width)]
    if one.why:
        lines += _wrapped(f"Why: {one.why}", "      ", width)
    lines += _wrapped(f"Do:  {one.remedy}", "      ", width, "           ")
    return lines + [f"        | {line}" for line in _fix(one)]


def _wrapped(said: str, indent: str, width: int, further: str = "") -> list[str]:
    return textwrap.wrap(
        said, max(width, 40), initial_indent=indent, subsequent_indent=further or indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _told(answer: Answer, width: int) -> list[str]:
    """What was ignored, what was not looked at, what broke down."""
    lines: list[str] = []
    for finding, by in answer.ignored:
        said = f"ignored: {finding.code} {finding.rule}: {finding.where}: {by.reason} ({by.origin})"
        lines += _wrapped(clean(said), "", width, "  ")
    for one in answer.unused:
        lines += _wrapped(clean(f"ignores nothing any more: {one} ({one.origin}); take it out"), "", width, "  ")
    waiting: dict[str, list[str]] = {}
    for rule, why in answer.report.not_looked:
        waiting.setdefault(why, []).append(rule.code)
    for why, codes in waiting.items():
        lines += _wrapped(clean(f"not looked at: {' '.join(dict.fromkeys(codes))}: {why}"), "", width, "  ")
    for rule, why in answer.report.broken:
        lines += _wrapped(clean(f"rule {rule.code} {rule.id} broke down, which is our fault: {why}"), "", width, "  ")
    return [*lines, ""] if lines and answer.findings else lines


def _summary(answer: Answer) -> str:
    counts = [_count(count, severity) for severity, count in answer.counts().items() if count]
    where = f"{answer.source.name}{f' and on {answer.node}' if answer.node else ''}"
    ignored = f", {len(answer.ignored)} ignored" if answer.ignored else ""
    return clean(f"{', '.join(counts) or 'nothing found'}{ignored} in {where}")


def _count(count: int, severity: str) -> str:
    return f"{count} {severity}{'s' * (count != 1)}"


# -- for programs ------------------------------------------------------------------------------------------------------------------


def as_json(answer: Answer, _width: int = 0) -> str:
    """The documented shape, one object."""
    looked = {one.code for one in answer.rules} - {rule.code for rule, _ in answer.report.not_looked}
    return json.dumps(
        {
            "source": answer.source.name,
            "kind": answer.source.kind,
            "node": answer.node,
            "rules": [one.id for one in answer.rules if one.code in looked],
            "counts": answer.counts(),
            "findings": [_json_finding(one, answer) for one in answer.findings],
            "ignored": [{**_json_finding(one, answer), "reason": by.reason} for one, by in answer.ignored],
            "unused_ignores": [str(one) for one in answer.unused],
            "not_looked": [{"rule": one.id, "code": one.code, "why": why} for one, why in answer.report.not_looked],
            "broken": [{"rule": one.id, "code": one.code, "why": why} for one, why in answer.report.broken],
        },
        indent=2,
    )


def _json_finding(one: Finding, answer: Answer) -> Mapping[str, Any]:
    place = answer.source.locate(one.where)
    return {**one.as_json(), "file": place.file or None, "line": place.line or None, "column": place.column or None}


def sarif(answer: Answer, _width: int = 0) -> str:
    """A SARIF 2.1.0 log of one run."""
    index = {one.code: number for number, one in enumerate(answer.rules)}
    results = [_result(one, answer, index) for one in answer.findings]
    for finding, by in answer.ignored:
        suppressed = {"kind": "external", "status": "accepted", "justification": by.reason}
        results.append({**_result(finding, answer, index), "suppressions": [suppressed]})
    notes = [
        {"level": level, "descriptor": {"id": rule.code}, "message": {"text": f"{rule.code} {said}: {clean(why)}"}}
        for level, said, told in (
            ("note", "was not looked at", answer.report.not_looked),
            ("error", "broke down", answer.report.broken),
        )
        for rule, why in told
    ]
    driver = {"name": "hafailover lint", "version": __version__, "rules": [_sarif_rule(one) for one in answer.rules]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {"executionSuccessful": not answer.report.broken, "toolExecutionNotifications": notes},
        ],
        "results": results,
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_rule(one: Rule) -> Mapping[str, Any]:
    return {
        "id": one.code,
        "name": one.id,
        "shortDescription": {"text": one.summary},
        "fullDescription": {"text": one.why or one.summary},
        "help": {"text": one.remedy},
        "defaultConfiguration": {"level": one.severity},
    }


def _result(one: Finding, answer: Answer, index: Mapping[str, int]) -> dict[str, Any]:
    place = answer.source.locate(one.where)
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": clean(one.where) or "configuration"}]}
    if place.file:
        physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.file)}}
        if place.line:
            physical["region"] = {"startLine": place.line, **({"startColumn": place.column} if place.column else {})}
        location["physicalLocation"] = physical
    said = "\n".join((f"{clean(one.where)}: {clean(one.text)}", one.remedy, *_fix(one)))
    return {
        "ruleId": one.code,
        "ruleIndex": index[one.code],
        "level": one.severity,
        "message": {"text": said},
        "locations": [location],
        "partialFingerprints": {"place/v1": f"{one.code} {clean(one.where)}"},
    }


def _uri(file: str) -> str:
    path = relative(file)
    return f"file://{quote(path)}" if path.startswith("/") else quote(path)


def github(answer: Answer, _width: int = 0) -> str:
    """Workflow commands of GitHub's Actions, one in a line, and the summary as plain text."""
    lines = []
    for one in answer.findings:
        place = answer.source.locate(one.where)
        about = {
            "file": relative(place.file) if place.file else "",
            "line": str(place.line or ""),
            "col": str(place.column or ""),
            "title": f"{one.code} {one.rule}",
        }
        given = ",".join(f"{key}={_property(value)}" for key, value in about.items() if value)
        said = "\n".join((f"{clean(one.where)}: {clean(one.text)}", one.remedy, *_fix(one)))
        lines.append(f"::{_GITHUB[one.severity]} {given}::{_data(said)}")
    # Of what somebody else has named nothing begins a line that would be taken for a command.
    lines += [f"hafailover: {line}" for line in (*_told(answer, 1000), _summary(answer)) if line]
    return "\n".join(lines)


def _data(said: str) -> str:
    return said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(said: str) -> str:
    return _data(said).replace(":", "%3A").replace(",", "%2C")


FORMATS = {"text": text, "json": as_json, "sarif": sarif, "github": github}
