"""What a browser's requests and the database's rows prove: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple


class Request(NamedTuple):
    """A request's end: ``number`` is what was counted (0: the login), ``at`` Unix time, ``took`` seconds, ``by`` the Tomcat's node
    ("" when it failed), ``again`` whether it was sent twice, ``lost`` whether the answer was that there is no such session."""

    user: str
    number: int
    at: float
    took: float
    by: str
    again: bool
    lost: bool
    error: str


class Verdict(NamedTuple):
    """``failed`` requests (those of lost sessions are not among them), ``again`` those sent twice by the rule of browsers, sessions
    ``lost``, ``gap`` the longest time of a browser without an answer (seconds), ``missing`` acknowledged writes that are not
    in the database."""

    requests: int
    failed: int
    again: int
    lost: int
    gap: float
    missing: int
    first_error: str


def parse(entry: dict[str, object]) -> Request:
    """A line of the client. KeyError when it is none."""
    return Request(
        str(entry["user"]),
        int(str(entry["number"])),
        float(str(entry["at"])),
        float(str(entry["took"])),
        str(entry.get("by", "")),
        bool(entry.get("again")),
        bool(entry.get("lost")),
        str(entry.get("error", "")),
    )


def judge(browsers: Iterable[Sequence[Request]], rows: Collection[tuple[str, int]]) -> Verdict:
    """The verdict over all browsers; ``rows`` are (user, number) as the database has them."""
    everything = [list(requests) for requests in browsers]
    every = [request for requests in everything for request in requests]
    failed = [request for request in every if request.error and not request.lost]
    acknowledged = {(request.user, request.number) for request in every if not request.error and request.number}
    return Verdict(
        requests=len(every),
        failed=len(failed),
        again=sum(request.again for request in every),
        lost=sum(request.lost for request in every),
        gap=max((_gap(requests) for requests in everything), default=0.0),
        missing=len(acknowledged - set(rows)),
        first_error=failed[0].error if failed else "",
    )


def _gap(requests: Sequence[Request]) -> float:
    """The longest time between two answers, the slowest answer included."""
    times = [request.at for request in requests if not request.error]
    return max((later - earlier for earlier, later in zip(times, times[1:])), default=0.0)


def problems(verdict: Verdict, planned: bool) -> list[str]:
    """What is not as it must be; a ``planned`` stop may fail no request."""
    found = []
    if verdict.lost:
        found.append(f"{verdict.lost} sessions were lost")
    if verdict.missing:
        found.append(f"{verdict.missing} acknowledged writes are not in the database")
    if planned and verdict.failed:
        found.append(f"{verdict.failed} requests failed in a planned stop: {verdict.first_error}")
    if not verdict.requests - verdict.failed - verdict.lost:
        found.append("no request was answered")
    return found
