"""Browsers outside of a lab's nodes that use its test application, and what they saw."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable

from hafailover.crm.drill import database
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import UsageError
from hafailover.vagrant.drill.loads import wait
from hafailover.vagrant.drill.loads.client import Client
from hafailover.vagrant.drill.loads.frame import Load
from hafailover.vagrant.drill.loads.web import oracle
from hafailover.vagrant.drill.loads.web.oracle import Request
from hafailover.vagrant.drill.target import topology_of
from hafailover.vagrant.lab import Lab
from hafailover.vagrant.standins import test_application


@dataclass(frozen=True)
class Site:
    """A lab's web service: names of the clones and units of its Tomcats and Apaches, and the URL that browsers use."""

    tomcat: str
    tomcat_unit: str
    apache: str
    apache_unit: str
    address: str
    url: str
    nodes: tuple[str, ...]


def site(name: str) -> Site:
    """The site of the lab ``name``; UsageError if its topology has no Tomcats behind Apaches with an address."""
    wanted = topology_of(name)
    for apache in wanted.services.values():
        tomcat = wanted.services.get(apache.options.get("tomcats", "")) if apache.type == "apache" else None
        vip = next((vip for vip in wanted.vips.values() if vip.follows == apache.name), None)
        if tomcat and vip:
            port = apache.options["port"]
            return Site(
                tomcat=tomcat.name,
                tomcat_unit=tomcat.options.get("unit", "tomcat10.service"),
                apache=apache.name,
                apache_unit=apache.options["unit"],
                address=vip.name,
                url=f"http://{vip.interface.ip}{'' if port == 80 else f':{port}'}/{test_application.CONTEXT}",
                nodes=tomcat.nodes,
            )
    raise UsageError(f"{wanted.file}: has no Tomcats behind an Apache that an address follows; a web drill needs them")


def prepare(lab: Lab, target: Target) -> None:
    """Make the application's table and account on the primary; HafailoverError when there is no primary."""
    database.sql(lab, database.primary(lab, target), test_application.tables())


def rows(lab: Lab, target: Target) -> set[tuple[str, int]]:
    """What the database has, as (user, number)."""
    found = database.sql(lab, database.primary(lab, target), test_application.ROWS, 60)
    return {(user, int(number)) for user, number in found}


class Browsers(Load):
    """Several users at once, who log in and count up until they are ended; each says on the way what it saw."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = clients

    def requests(self) -> list[list[Request]]:
        """What each has asked for, as far as it has ended."""
        return [[oracle.parse(entry) for entry in client.said()] for client in self._clients]

    def goes_on(self, without: str = "") -> None:
        """Wait until each was answered ten times more."""

        def stalled(_: object) -> str:
            errors = [one.error for requests in self.requests() for one in requests[-1:] if one.error]
            errors += [client.words for client in self._clients if client.words]
            return f"browsers are not answered any more: {(errors or ['no answer'])[0]}"

        wait.until_more({str(at): (self._answered(client), 10) for at, client in enumerate(self._clients)}, stalled)

    @staticmethod
    def _answered(client: Client) -> Callable[[], int]:
        return lambda: sum("error" not in entry for entry in client.said())

    def end(self) -> list[str]:
        """Ask for nothing any more; the requests under way are waited for."""
        return [killed for client in self._clients if (killed := client.stop())]


@contextlib.contextmanager
def browsing(lab: Lab, url: str, count: int = 3, every: float = 0.1, patience: float = 60.0) -> Iterator[Browsers]:
    """``count`` users within a block. ``every``: seconds between two requests of one; ``patience``: for an answer."""
    prefix = f"{time.time():.0f}"
    with contextlib.ExitStack() as stack:
        orders = {"url": url, "every": every, "patience": patience}
        clients = [Client(lab, "web", {**orders, "user": f"{prefix}-{number}"}) for number in range(count)]
        yield Browsers([stack.enter_context(client) for client in clients])
