"""What somebody has decided to leave as it is: a rule, everywhere or in one place, and the reason, without which nothing is ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hafailover.crm import yamldoc
from hafailover.crm.errors import UsageError
from hafailover.crm.lint import Finding, Rule
from hafailover.crm.schema import shown, unknown


@dataclass
class Ignore:
    """``rule`` (a code or name) is not reported, at ``where`` only unless that is "", because of ``reason``. ``used``: it did something."""

    rule: str
    where: str
    reason: str
    origin: str
    used: bool = field(default=False, compare=False)

    def covers(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        return self.rule in (finding.code, finding.rule) and self.where in ("", finding.where)

    def __str__(self) -> str:
        return f"{self.rule}@{self.where}" if self.where else self.rule


def collect(
    rules: Sequence[Rule], options: Iterable[str], file: str | None, own: Mapping[str, str], name: str
) -> list[Ignore]:
    """What is ignored by options "CODE=REASON", by a file and by the topology's own key; UsageError for what cannot be meant."""
    found = [_make(rules, *_option(text), "--ignore") for text in options]
    if file is not None:
        found += [_make(rules, key, reason, file) for key, reason in _file(file).items()]
    return found + [_make(rules, key, reason, f"{name}: lint.ignore") for key, reason in own.items()]


def _option(text: str) -> tuple[str, str]:
    key, _, reason = text.partition("=")
    return key, reason


def _file(file: str) -> Mapping[str, str]:
    data = yamldoc.read(file).data
    if not isinstance(data, dict):
        raise UsageError(f"{file}: is {shown(data)}; write one rule in a line, CODE: REASON")
    return {str(key): "" if reason is None else str(reason) for key, reason in data.items()}


def _make(rules: Sequence[Rule], key: str, reason: str, origin: str) -> Ignore:
    rule, _, where = key.strip().partition("@")
    names = [name for one in rules for name in (one.code, one.id)]
    written = rule.upper() if rule.upper() in names else rule
    if written not in names:
        raise UsageError(f"{origin}: {_nearest(rule, names)}")
    if not reason.strip():
        raise UsageError(
            f"{origin}: {written} is ignored without a reason; write {written}=REASON, for whoever reads it next"
        )
    return Ignore(written, where, reason.strip(), origin)


def _nearest(rule: str, names: Sequence[str]) -> str:
    """Without the list of all rules, which is long; --rules has it."""
    said = unknown("rule", rule, names)
    head, _, rest = said.partition("; allowed: ")
    hint = rest.rpartition("; did you mean ")[2] if "; did you mean " in rest else ""
    return f"{head}; did you mean {hint}" if hint else f"{head}; hafailover lint --rules lists them"


def apply(ignores: Sequence[Ignore], findings: Iterable[Finding]) -> tuple[list[Finding], list[tuple[Finding, Ignore]]]:
    """What is left to report, and what is ignored with why. Marks what was used."""
    left: list[Finding] = []
    ignored: list[tuple[Finding, Ignore]] = []
    for finding in findings:
        by = [one for one in ignores if one.covers(finding)]
        for one in by:
            one.used = True
        if by:
            ignored.append((finding, by[0]))
        else:
            left.append(finding)
    return left, ignored
