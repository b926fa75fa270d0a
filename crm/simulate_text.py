"""The answer of ``simulate`` as a timeline for a tired person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hafailover.crm.simulate_places import Place
from hafailover.crm.simulate_run import FENCE, Step
from hafailover.crm.simulation import Result

_WORDS = {"migrate_to": "move away", "migrate_from": "move here", "reload": "reload", "reload-agent": "reload"}


def lines(result: Result) -> Iterator[str]:
    """What fails, what follows in order, what runs where afterwards."""
    yield f"{result.scene.name}: {'; '.join(str(one.failure) for one in result.seen)}"
    yield f"  ({result.scene.source})"
    yield ""
    yield "before"
    yield from _table(result.before)
    yield ""
    yield "what happens"
    yield from _column("at once", "; ".join(str(one.failure) for one in result.seen))
    noticed = [
        (_most(one.at_most), f"{one.failure.node or 'quorum device'}: {one.text}")
        if one.noticed
        else ("never", one.text)
        for one in result.seen
    ]
    for left, right in dict.fromkeys(noticed):  # the members of a group are often noticed in the same way
        yield from _column(left, right)
    if result.quorum is not None:
        yield from _column("", result.quorum.text)
    yield from _steps(result)
    yield ""
    yield "after"
    yield from _table(result.after)
    yield ""
    yield from (f"  ! {problem}" for problem in (*result.problems, *result.stopped, *result.fewer))
    if result.whole and not result.fewer:
        yield "  everything that ran before runs, as far as there are nodes for it"
    yield from (f"  note: {note}" for note in result.notes)
    yield from (f"  assumed: {sentence}" for sentence in result.scene.assumed)


def _steps(result: Result) -> Iterator[str]:
    if not result.steps:
        yield from _column("then", "the cluster does nothing")
        return
    for number, step in enumerate(result.steps):
        yield from _column("then" if number == 0 else "", f"{_sentence(step):<44} {_takes(step, result)}".rstrip())
    total = (
        "it is not known when this is over"
        if result.by is None
        else f"all of this is over {duration(result.by)} after the failure"
    )
    worst = "" if result.by is None else ", if every action takes all the time it may"
    yield from _column("at most" if result.by is not None else "", f"{total}{worst}")


def _sentence(step: Step) -> str:
    if step.action == FENCE:
        return f"fence {step.node}"
    return f"{_WORDS.get(step.action, step.action)} {step.resource} on {step.node}"


def _takes(step: Step, result: Result) -> str:
    if step in result.held:
        return f"waits for the fencing of {', '.join(step.waits_for)}, for ever" if step.waits_for else "never comes"
    if step.failed:
        return "fails"
    return "time unknown" if step.at_most is None else f"takes at most {duration(step.at_most)}"


def _most(limit: float | None) -> str:
    return "unknown" if limit is None else f"≤ {duration(limit)}"


def _column(left: str, right: str) -> Iterator[str]:
    yield f"  {left:>9}  {right}".rstrip()


def _table(places: Mapping[str, Place]) -> Iterator[str]:
    width = max((len(name) for name in places), default=0)
    for name, place in places.items():
        yield f"  {name:<{width}}  {_where(place)}"


def _where(place: Place) -> str:
    if not place.anywhere:
        return "stopped"
    if not place.promoted:
        return ", ".join(place.running)
    also = f", also on {', '.join(place.running)}" if place.running else ""
    return f"primary on {', '.join(place.promoted)}{also}"


def duration(seconds: float) -> str:
    """``2.2 s``, ``2 min``, ``4 min 20 s``, ``1 h 5 min``."""
    if seconds < 60:
        return f"{round(seconds, 1):g} s"
    whole = int(-(-seconds // 1))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    parts = [
        f"{hours} h" if hours else "",
        f"{minutes} min" if minutes else "",
        f"{left} s" if left and not hours else "",
    ]
    return " ".join(part for part in parts if part)
