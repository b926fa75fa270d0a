"""The report as one page that needs nothing else: no network, no script, readable on paper, by day and by night. Pure.

Every figure stands in a ``data`` element with the number that the JSON has, so that both can be compared.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hafailover.crm.drill import picture
from hafailover.crm.drill.recovery import KNOWN, UNKNOWN, alike, longer_later
from hafailover.crm.drill.words import NONE, count, moment, route, seconds, text

_STYLE = (Path(__file__).resolve().with_name("page.css")).read_text(encoding="utf-8")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_FEW = 8  # rows of earlier runs
_WHOLE = 1.4  # how much longer the run must be than the close look, to be drawn as well


def render(document: Mapping[str, Any]) -> str:
    """The page of a document of crm/drill/document.py."""
    runs = document["runs"]
    title = runs[0]["scenario"] if len(runs) == 1 else f"{len(runs)} drills"
    body = [*_head(document, str(title)), picture.PATTERNS]
    if len(runs) != 1:
        body += _overview(runs)
    for number, run in enumerate(runs):
        body += _run(document, run, number, alone=len(runs) == 1)
    body += _before(document)
    body += _foot(document)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>Drill: {text(title)} on {text(document['place']['name'])}</title>\n<style>\n{_STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(body)}\n</main></body></html>\n"
    )


def _figure(name: str, number: int, value: Any, shown: str) -> str:
    """A figure with the number that stands in the JSON."""
    raw = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f'<data data-figure="{name}" data-run="{number}" value="{text(raw) if raw else ""}">{shown}</data>'


def _head(document: Mapping[str, Any], title: str) -> Iterator[str]:
    place = document["place"]
    kind = "cluster" if place["kind"] == "cluster" else "lab"
    yield "<header>"
    yield f'<p class="eyebrow">Drill · {kind} {text(place["name"])} · {moment(document["began"])}</p>'
    yield f"<h1>{text(title)}</h1>"
    by = f" Run by {text(document['who'])}" if document.get("who") else ""
    why = f": {text(document['reason'])}" if by and document.get("reason") else ""
    runs = document["runs"]
    what = f"{text(_summary(runs[0]))}. {text(route(runs[0]))}. " if len(runs) == 1 else ""
    wrote = any(run["acknowledged"] is not None for run in runs)
    client = f"A client on {text(document['client'])} wrote all the time." if wrote else "Nothing was written."
    yield f'<p class="lede">{what}{client}{by}{why}{"." if by else ""}</p>'
    yield "</header>"


def _summary(run: Mapping[str, Any]) -> str:
    return str((run.get("details") or {}).get("summary") or run["scenario"]).rstrip(".")


def _overview(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    failed = sum(not run["ok"] for run in runs)
    word = f"{failed} of {len(runs)} failed" if failed else f"All {len(runs)} held"
    yield f'<div class="verdict{" bad" if failed else ""}"><b>{word}</b></div>'
    yield _table("drill", "primary", "silence", "first write", "acknowledged", "lost", "", numbers=(2, 3, 4, 5))
    for number, run in enumerate(runs):
        yield (
            f'<tr><td><a href="#run-{number}">{text(run["scenario"])}</a></td><td>{text(route(run))}</td>'
            f'<td class="n">{seconds(run["write_gap_s"])}</td><td class="n">{seconds(run["first_write_s"])}</td>'
            f'<td class="n">{count(run["acknowledged"])}</td><td class="n">{count(run["lost"])}</td><td>{_word(run["ok"])}</td></tr>'
        )
    yield "</tbody></table>"


def _table(*titles: str, numbers: Container[int] = (), wide: int | None = None) -> str:
    kinds = [" class=n" if at in numbers else " class=wide" if at == wide else "" for at in range(len(titles))]
    cells = "".join(f"<th{kind}>{title}</th>" for kind, title in zip(kinds, titles))
    return f"<table><thead><tr>{cells}</tr></thead><tbody>"


def _word(ok: Any) -> str:
    return '<span class="ok word">ok</span>' if ok else '<span class="no word">failed</span>'


def _run(document: Mapping[str, Any], run: Mapping[str, Any], number: int, alone: bool) -> Iterator[str]:
    if not alone:
        yield f'<h2 id="run-{number}">{number + 1}. {text(run["scenario"])}</h2>'
        yield f'<p class="lede">{text(_summary(run))}. {text(route(run))}.</p>'
    yield from _verdict(run, number)
    yield from _figures(run, number)
    yield from _timeline(run, "close", "Around the fault")
    yield from _recovery(run, number)
    yield from _next(run)
    yield from _compared(document, run)
    yield from _account(run, number)
    yield from _steps(run)
    if _long(run):
        yield from _timeline(run, "whole", "The whole drill")


def _verdict(run: Mapping[str, Any], number: int) -> Iterator[str]:
    if run["ok"]:
        outcome = str((run.get("details") or {}).get("outcome") or "").rstrip(".")
        known = run["lost"] == 0 and run["concurrent_writers"] == 0
        good = (
            "No acknowledged write was lost, and no two servers wrote at once."
            if known
            else "Nothing was written, so nothing was counted."
        )
        good += f"<small>Expected, and so it was: {text(outcome)}.</small>" if outcome else ""
        yield f'<div class="verdict"><b>{_figure("ok", number, run["ok"], "Held")}</b><span>{good}</span></div>'
        return
    problems = "".join(f"<li>{text(problem)}</li>" for problem in run["problems"]) or "<li>no reason was given</li>"
    yield f'<div class="verdict bad"><b>{_figure("ok", number, run["ok"], "Failed")}</b><ul>{problems}</ul></div>'


def _figures(run: Mapping[str, Any], number: int) -> Iterator[str]:
    lost, acknowledged = run["lost"], run["acknowledged"]
    kind = "" if lost is None else " class=bad" if lost else " class=good"
    jitter = (run.get("details") or {}).get("baseline_gap_s")
    yield '<dl class="figures">'
    yield (
        f"<div{kind}><dt>writes lost</dt><dd>{_figure('lost', number, lost, count(lost))}"
        f"<small>of {_figure('acknowledged', number, acknowledged, count(acknowledged))} acknowledged</small></dd></div>"
    )
    around = f"{seconds(jitter)} before the fault" if jitter is not None else "&nbsp;"
    if (later := longer_later(run)) is not None:
        around = f"<b>and {_figure('later_gap_s', number, later, seconds(later))} later on</b>"
    for name, what, note in (
        ("write_gap_s", "longest silence", around),
        ("first_write_s", "first write after", "from the fault"),
        ("rejoined_s", "in sync again after", f"{text(run['from'])}, from the fault"),
    ):
        shown = _figure(name, number, run[name], seconds(run[name]))
        yield f"<div><dt>{what}</dt><dd>{shown}<small>{note}</small></dd></div>"
    yield "</dl>"


def _marks(run: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    known = [phase for phase in run.get("recovery", ()) if phase["state"] == KNOWN]
    return [(str(sign), phase["means"], float(phase["at"])) for sign, phase in enumerate(known, 1)]


def _timeline(run: Mapping[str, Any], which: str, title: str) -> Iterator[str]:
    look = (run.get("story") or {}).get(which)
    if not look:
        return
    yield f"<h3>{title}</h3><figure>"
    yield picture.writes(look, run, _marks(run) if which == "close" else [], f"{title}: what each writer was told")
    keys = (
        ("ack", "acknowledged"),
        ("ref", "refused (certainly not written)"),
        ("unk", "no answer, or one that proves nothing"),
    )
    shown = "".join(
        f'<span class="key"><svg viewBox="0 0 22 11" aria-hidden="true"><rect width="22" height="11" class="{kind}"/></svg>{word}</span>'
        for kind, word in keys
    )
    told = "Numbers are the phases below. " if which == "close" and _marks(run) else ""
    who = "“client” wrote through the address, the others directly to each node's server."
    yield f"<figcaption>{shown}<br>{told}{who}</figcaption></figure>"


def _long(run: Mapping[str, Any]) -> bool:
    story = run.get("story") or {}
    if not story:
        return False
    close, whole = story["close"], story["whole"]
    return float(whole["to"]) - float(whole["from"]) > _WHOLE * (float(close["to"]) - float(close["from"]))


def _recovery(run: Mapping[str, Any], number: int) -> Iterator[str]:
    phases = run.get("recovery", ())
    if not phases or run["first_write_s"] is None:
        return
    reached = [float(phase["at"]) for phase in phases if phase["state"] == KNOWN and phase["name"] != "rejoin"]
    longest = max(reached, default=0.0) or 1.0
    yield "<h3>Where the time went</h3>" + _table("", "phase", "until", "from the fault", "took", "", numbers=(3, 4))
    sign = 0
    for phase in phases:
        name, means = text(phase["name"]), text(phase["means"])
        if phase["state"] != KNOWN:
            word = "not known" if phase["state"] == UNKNOWN else "does not apply"
            yield f"<tr class=muted><td></td><td class=head>{name}</td><td>{means}</td>"
            yield f"<td class=n colspan=2>{word}</td><td class=bar></td></tr>"
            continue
        sign += 1
        at, took = phase["at"], phase["took"]
        bar = picture.span(at - took, at, longest) if at <= longest else ""
        yield (
            f'<tr><td class="sign">{sign}</td><td class=head>{name}</td><td>{means}</td>'
            f"<td class=n>{_figure('phase.' + name, number, at, seconds(at))}</td>"
            f"<td class=n>{seconds(took)}</td><td class=bar>{bar}</td></tr>"
        )
    yield "</tbody></table>"


def _next(run: Mapping[str, Any]) -> Iterator[str]:
    if run.get("next"):
        yield "<h3>What to do now</h3><ol class=next>"
        yield from (f"<li>{text(sentence)}</li>" for sentence in run["next"])
        yield "</ol>"


def _compared(document: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[str]:
    older = alike(document.get("earlier", ()), run)
    if not older:
        return
    now = {**run, "at": document["began"]}
    drawn = [
        (moment(one["at"]), float(one["write_gap_s"]), bool(one["ok"]), one is now)
        for one in [*older, now]
        if one.get("write_gap_s") is not None
    ]
    yield "<h3>Compared with earlier runs</h3>"
    if len(drawn) > 1:
        yield f"<figure>{picture.earlier(drawn, 'The longest silence of each run, in seconds')}"
        yield "<figcaption>The longest silence, the oldest run first.</figcaption></figure>"
    yield _table(
        "when", "primary", "silence", "first write", "in sync again", "acknowledged", "lost", "", numbers=range(2, 7)
    )
    for one in [now, *older[::-1][:_FEW]]:
        when = "this run" if one is now else moment(one["at"])
        yield (
            f"<tr{' class=current' if one is now else ''}><td>{when}</td><td>{text(route(one))}</td>"
            f"<td class=n>{seconds(one['write_gap_s'])}</td><td class=n>{seconds(one['first_write_s'])}</td>"
            f"<td class=n>{seconds(one['rejoined_s'])}</td><td class=n>{count(one['acknowledged'])}</td>"
            f"<td class=n>{count(one['lost'])}</td><td>{_word(one['ok'])}</td></tr>"
        )
    yield "</tbody></table>"


def _account(run: Mapping[str, Any], number: int) -> Iterator[str]:
    details = run.get("details") or {}
    present = details.get("unknown_present")
    rows = [
        (
            "acknowledged",
            count(run["acknowledged"]),
            "the server said that the row is written; it must be on every server",
        ),
        ("lost", count(run["lost"]), "acknowledged, and missing on the primary or on a replica in sync"),
        ("refused", count(details.get("refused")), "certainly not written, and not there"),
        (
            "without an answer",
            count(details.get("unknown")),
            "may be there or not" + (f" ({count(present)} there)" if present is not None else ""),
        ),
        (
            "too many",
            _figure("extra", number, run["extra"], count(run["extra"])),
            "rows that nobody attempted, or twice",
        ),
        (
            "two writers",
            _figure("concurrent_writers", number, run["concurrent_writers"], count(run["concurrent_writers"])),
            "pairs of servers that accepted writes at the same time",
        ),
    ]
    rows += [
        (
            f"on {text(node)}",
            count(found),
            "acknowledged to the probe that writes there directly, and accounted for in the same way",
        )
        for node, found in (details.get("probe_acknowledged") or {}).items()
    ]
    yield "<h3>Account of the writes</h3>" + _table("outcome", "rows", "what it means", numbers=(1,), wide=2)
    yield from (
        f"<tr><td class=head>{name}</td><td class=n>{shown}</td><td class=muted>{means}</td></tr>"
        for name, shown, means in rows
    )
    yield "</tbody></table>"


def _steps(run: Mapping[str, Any]) -> Iterator[str]:
    steps, notes = run.get("steps") or (), (run.get("details") or {}).get("notes") or ()
    if steps:
        yield "<h3>What was done</h3>" + _table("from the fault", "took", "step", "", numbers=(0, 1), wide=2)
        for step in steps:
            why = f'<br><span class="no">{text(step["why"])}</span>' if step.get("why") else ""
            yield (
                f"<tr><td class=n>{step['at']:+.2f} s</td><td class=n>{seconds(step['took'])}</td><td>{text(step['says'])}{why}</td>"
                f"<td>{_word(step['ok'])}</td></tr>"
            )
        yield "</tbody></table>"
    yield from (f"<p class=muted>{text(note)}</p>" for note in notes)


def _before(document: Mapping[str, Any]) -> Iterator[str]:
    if document.get("checks"):
        yield "<h3>Checked before it began</h3><table><tbody>"
        for check in document["checks"]:
            kind, word = (
                ("ok", "ok") if check["ok"] else ("open", "accepted") if check["ok"] is False else ("open", "not known")
            )
            first = f'<td class=head>{text(check["name"])}</td><td class="head {kind}">{word}</td>'
            yield f"<tr>{first}<td class=wide>{text(check['says'])}</td></tr>"
        yield "</tbody></table>"
    if document.get("environment"):
        yield "<h3>Environment</h3><dl class=plain>"
        yield from (f"<dt>{text(what)}</dt><dd>{text(how)}</dd>" for what, how in document["environment"])
        yield "</dl>"


def _foot(document: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "<footer>All times are seconds from the fault, by the clock of the machine with the client; what nodes told of "
        "themselves is known to some hundredths. A silence is the time between two acknowledgements. That something is not "
        "known means that no log and no history that could be read tells of it. "
        f"Made by {text(document.get('made_by') or NONE)}; the figures are those of the JSON report.</footer>"
    )
