"""hafailover drill web: break the web tier of a lab while users click, and account for every request and session."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from hafailover.vagrant.drill import target
from hafailover.vagrant.drill.loads.frame import TOPOLOGIES, LoadDrill, Struck
from hafailover.vagrant.drill.loads.result import NODE, Column, Run, seconds
from hafailover.vagrant.drill.loads.web import load, oracle
from hafailover.vagrant.drill.loads.web.faults import FAULTS
from hafailover.vagrant.drill.loads.web.load import Browsers
from hafailover.vagrant.lab import Lab


@dataclass(frozen=True)
class WebRun(Run):
    """``gap`` is the longest time of a user without an answer, ``back`` from the fault until the lab was healthy again."""

    requests: int | None = None
    failed: int | None = None
    sent_twice: int | None = None
    sessions_lost: int | None = None
    writes_lost: int | None = None
    gap: float | None = seconds()
    back: float | None = seconds()


class WebDrill(LoadDrill[Browsers, WebRun]):
    """Break Tomcats, Apaches and their database on purpose while users click, and count what they lost.

    Three clients outside the cluster log in through the virtual address, keep cookie and connection as browsers do, and count
    up; every number is written to the database. Each FAULT (without one: all of them) strikes each node in turn. Afterwards
    no session may be lost, every acknowledged number must be in the database, and a planned stop may have failed no request. A
    client sends a request twice only as browsers do: a GET on a kept connection that was closed before an answer began.

    The application is a small one that the lab deploys in the place of CloudStack, whose packages cannot be had.

    Exit code 0: all is as it must be; 1: something is not; 2: wrong usage.

    \b
    Example:
      hafailover drill web
      hafailover drill web stop-tomcat stop-apache -n 5 -o json
    """

    name = "web"
    topology = TOPOLOGIES / "cloudstack-pair.yml"
    faults = FAULTS
    default = tuple(FAULTS)
    result = WebRun
    columns = (
        NODE,
        Column("requests", lambda run: run.requests),
        Column("failed", lambda run: run.failed),
        Column("twice", lambda run: run.sent_twice),
        Column("sessions lost", lambda run: run.sessions_lost),
        Column("writes lost", lambda run: run.writes_lost),
        Column("gap s", lambda run: run.gap, digits=2),
        Column("back s", lambda run: run.back, digits=2),
    )

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._site, self._aim = load.site(lab.name), target.of_lab(lab.name)
        self.nodes = self._site.nodes

    def load(self) -> AbstractContextManager[Browsers]:
        """Three users of the application."""
        load.prepare(self.lab, self._aim)
        return load.browsing(self.lab, self._site.url)

    def judged(self, browsers: Browsers, struck: Struck) -> WebRun:
        """What the users saw, and the database's rows."""
        found = oracle.judge(browsers.requests(), load.rows(self.lab, self._aim))
        return WebRun(
            struck.fault,
            struck.node,
            (*struck.problems, *oracle.problems(found, struck.planned)),
            requests=found.requests,
            failed=found.failed,
            sent_twice=found.again,
            sessions_lost=found.lost,
            writes_lost=found.missing,
            gap=found.gap,
            back=struck.back,
        )
