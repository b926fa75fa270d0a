"""What facts about a Tomcat mean. Pure: facts in, a reason or a plan out."""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hafailover.agents.tomcat.jkstatus import Member


class Budget(NamedTuple):
    """How a stop spends its time, in seconds: sessions may finish, then requests, then the JVM; then it is killed."""

    drain: float
    finish: float
    term: float


def budget(left: float, drain: float, finish: float, term: float, reserve: float) -> Budget:
    """Share out ``left`` seconds, of which ``reserve`` are kept for killing: a stop that is late has the node fenced.

    The JVM's own end comes first, for a killed one may leave files half written; then requests, then sessions.
    """
    rest = max(0.0, left - reserve)
    term = min(term, rest)
    finish = min(finish, rest - term)
    return Budget(min(drain, rest - term - finish), finish, term)


def no_drain(members: Mapping[str, Member], worker: str) -> str | None:
    """Why one Apache must not be told to leave this worker alone, or None."""
    if worker not in members:
        return f"it has no worker {worker}, only {', '.join(members)}"
    if not any(member.serves for name, member in members.items() if name != worker):
        # It would answer 503 at once; like this it serves until the end.
        return "no other worker takes requests there"
    return None


def idle(busy: Sequence[int]) -> bool:
    """Whether no Apache that answers waits for this worker any more; with none that answers nobody knows of any."""
    return not any(busy)


def restart_waits(members: Sequence[Mapping[str, Member]], worker: str) -> str | None:
    """Why a restart that everybody needs must wait, or None: one worker after the other, and never the last one."""
    for known in members:
        others = [name for name, member in known.items() if name != worker and member.serves]
        if not others:
            return "no other worker takes requests now"
    return None


def yields(members: Sequence[Mapping[str, Member]], worker: str) -> bool:
    """Whether two began at once and this one has to give way: after it was stopped in Apache, no other serves there."""
    return any(
        not any(member.serves for name, member in known.items() if name != worker)
        and any(name < worker and member.activation == "STP" for name, member in known.items())
        for known in members
    )


def changed(known: Mapping[str, int], newest: Mapping[str, int]) -> list[str]:
    """The resources that began anew since they were last looked at."""
    return [name for name, number in newest.items() if number != known.get(name, 0)]
