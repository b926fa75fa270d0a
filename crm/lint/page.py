"""docs/lint.md: what every rule is, from the rules themselves."""

from __future__ import annotations

from collections.abc import Iterable

from hafailover.crm import lint
from hafailover.crm.lint import SEVERITIES, Rule

BEGIN, END = "<!-- rules: made by hafailover docs -->", "<!-- rules: end -->"
_NEEDS = {
    "topology": "a topology",
    "configuration": "a topology, a CIB or the running cluster",
    "resolved": "a topology, a CIB or the running cluster",
    "corosync": "a topology, or a corosync.conf beside a CIB (`--corosync`) or on this node (`--live`)",
    "node": "this machine, as root",
}


def rules(known: Iterable[Rule] | None = None) -> str:
    """The part of the page that is made of the rules: a table, and a paragraph for each."""
    listed = list(lint.known() if known is None else known)
    lines = ["| code | name | severity | finds |", "|---|---|---|---|"]
    lines += [
        f"| [{one.code}](#{_anchor(one)}) | `{one.id}` | {one.severity} | {_cell(one.summary)} |" for one in listed
    ]
    counts = ", ".join(f"{severity} {sum(one.severity == severity for one in listed)}" for severity in SEVERITIES)
    lines += ["", f"{len(listed)} rules: {counts}."]
    for one in listed:
        looks = " and ".join(dict.fromkeys(_NEEDS[need] for need in one.needs))
        lines += ["", f"### {one.code} {one.id}", "", one.summary, ""]
        lines += [f"*Why:* {_escaped(one.why)}.", ""] if one.why else []
        lines += [f"*What to do:* {_escaped(one.remedy)}.", "", f"*Looks at:* {looks}."]
    return "\n".join(lines)


def page(text: str) -> str:
    """The page ``text`` with that part as it is now; the rest is written by hand."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return f"{text.rstrip()}\n\n{BEGIN}\n\n{rules()}\n\n{END}\n"
    return f"{before}{BEGIN}\n\n{rules()}\n\n{END}{after}"


def _anchor(one: Rule) -> str:
    return f"{one.code} {one.id}".lower().replace(" ", "-")


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|")


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
