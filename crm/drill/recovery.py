"""How the time between the fault and the end of it was spent, phase by phase, and what a person should do now. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hafailover.crm.drill.timeline import ORDER

KNOWN, UNKNOWN, NONE = "known", "not known", "does not apply"
_TITLES = {
    "detected": ("detect", "the cluster noticed"),
    "demoted": ("demote", "the old primary had given up its role"),
    "fenced": ("fence", "the old primary was off"),
    "drained": ("drain", "everything received was applied"),
    "promoted": ("promote", "the new primary was writable"),
    "address_up": ("address", "the address was there"),
    "services_up": ("services", "the other services ran there"),
    "first_write": ("client", "the client's first write was acknowledged"),
    "rejoined": ("rejoin", "the node is a replica in sync again"),
}
# What somebody asks for needs not be noticed.
_ASKED_FOR = frozenset(("switchover", "request", "stop-cluster", "standby", "power-off"))
_UNNOTICED = 0.5  # seconds
_SLOWER, _SLOWER_BY = 1.5, 1.0  # how much longer than usual is worth a sentence: times the median, and seconds


class Phase(NamedTuple):
    """``name`` for people. ``at``: seconds from the fault; ``took``: since the phase before it; None where ``state`` is not KNOWN."""

    name: str
    means: str
    at: float | None
    took: float | None
    state: str


def phases(run: Mapping[str, Any]) -> list[Phase]:
    """The phases of a run in its JSON form, in the order in which they came, those without a time where they usually come."""
    told = run.get("phases") or {}
    at: dict[str, float | None] = {name: told.get(name) for name in ORDER}
    at["first_write"], at["rejoined"] = run.get("first_write_s"), run.get("rejoined_s")
    names = list(at)
    known = sorted(
        (name for name in names if at[name] is not None), key=lambda name: (float(at[name] or 0), names.index(name))
    )
    slots = iter(known)
    ordered = [next(slots) if at[name] is not None else name for name in names]
    found, before = [], 0.0
    for name in ordered:
        title, means = _TITLES[name]
        moment = at[name]
        if moment is None:
            found.append(Phase(title, means, None, None, _absent(name, run)))
            continue
        found.append(Phase(title, means, moment, round(moment - before, 3), KNOWN))
        before = moment
    return found


def _absent(name: str, run: Mapping[str, Any]) -> str:
    action = (run.get("details") or {}).get("fault", "")
    moved = run.get("from") != run.get("to")
    if name == "detected" and action in _ASKED_FOR:
        return NONE
    if name == "fenced" and action not in ("power-off", "cut"):
        return NONE
    if name in ("drained", "promoted", "address_up") and not moved:
        return NONE
    if name == "demoted":
        return UNKNOWN if action in ("switchover", "stop-cluster", "standby") else NONE
    return NONE if name == "services_up" else UNKNOWN


def alike(earlier: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those of ``earlier`` runs that were the same: of the same scenario, with the same agents."""
    return [one for one in earlier if (one.get("scenario"), one.get("agents")) == (run["scenario"], run["agents"])]


def longer_later(run: Mapping[str, Any]) -> float | None:
    """The longest silence after service had returned, where it was longer than the fault's: a replica that comes back may cause one."""
    later, gap = (run.get("details") or {}).get("later_gap_s"), run.get("write_gap_s")
    return float(later) if later is not None and gap is not None and later > max(gap, _UNNOTICED) else None


def advice(run: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """What the operator should do or know after a run; ``earlier`` are older ones of the same scenario."""
    return list(_advice(run, earlier))


def _advice(run: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    old, new = run.get("from"), run.get("to")
    if run.get("lost") or run.get("extra") or run.get("concurrent_writers"):
        yield (
            "Do not rely on this cluster until this is explained: rows are missing or too many, or two servers wrote at once. "
            "Keep the ledger and the journals of all nodes, and look at hafailover explain and hafailover history."
        )
    elif not run.get("ok"):
        yield "Look at hafailover status first, then at hafailover explain and hafailover history; run the drill again when all is well."
    if new and old and new != old:
        yield f"{new} is the primary now. To have {old} back: hafailover promote {old}"
    if old and new != old and run.get("rejoined_s") is None and run.get("first_write_s") is not None:
        yield f"{old} is not known to be in sync again: hafailover status says whether it is, and hafailover rejoin {old} brings it back."
    gap, later = run.get("write_gap_s"), longer_later(run)
    if later is not None:
        yield (
            f"When writers had been served again they had no answer for another {later:.2f} s: hafailover history says what happened then, "
            "such as a replica that came back."
        )
    if (
        gap is not None
        and old == new
        and later is None
        and gap < max(_UNNOTICED, 3 * ((run.get("details") or {}).get("baseline_gap_s") or 0))
    ):
        yield f"Writers noticed nothing: their longest silence was {gap:.2f} s."
    elif gap is not None and run.get("ok"):
        repeat = max(2, int(2 * max(gap, later or 0.0) + 0.999))
        yield f"Writers had no answer for {gap:.2f} s. Have applications repeat what failed for at least {repeat} s before they give up."
    unknown = (run.get("details") or {}).get("unknown")
    if unknown:
        there = (run.get("details") or {}).get("unknown_present")
        done = f" ({there} of them had been done)" if there is not None else ""
        yield f"{unknown} writes ended without an answer{done}: an application has to look before it repeats such a write."
    if new != old:
        yield from _longest(run)
    yield from _slower(gap, earlier)
    yield "Repeat this drill after every change of versions, configuration, network or hardware, and else every few months."


def _longest(run: Mapping[str, Any]) -> Iterator[str]:
    first = run.get("first_write_s")
    spent = [
        phase for phase in phases(run) if phase.took is not None and phase.name != "rejoin" and phase.at is not None
    ]
    spent = [phase for phase in spent if first is None or (phase.at or 0) <= first]
    if first and first > 2 and spent:
        longest = max(spent, key=lambda phase: phase.took or 0)
        if (longest.took or 0) > first / 2:
            yield f"Most of it was {longest.name}: {longest.took:.1f} s of {first:.1f} s until {longest.means}."


def _slower(gap: float | None, earlier: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    # What is usual is what was so when all was well.
    gaps = [float(one["write_gap_s"]) for one in earlier if one.get("write_gap_s") is not None and one.get("ok", True)]
    if gap is None or not gaps:
        return
    usual = statistics.median(gaps)
    if gap > usual * _SLOWER and gap > usual + _SLOWER_BY:
        yield f"That is longer than usual: the median of {len(gaps)} earlier runs is {usual:.2f} s. Find out what has changed."
