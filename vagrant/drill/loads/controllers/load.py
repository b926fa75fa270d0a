"""Everything that is asked of a pair of controllers from outside at once: writes to the database, messages, looks into the caches."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hafailover.crm import render
from hafailover.crm.drill import database
from hafailover.crm.drill.crew import Crew
from hafailover.crm.drill.ledger import CLIENT, Ledger, acknowledgements
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import UsageError
from hafailover.crm.topology import Service
from hafailover.vagrant import state
from hafailover.vagrant.drill import amqp
from hafailover.vagrant.drill.loads import wait
from hafailover.vagrant.drill.loads.client import Client
from hafailover.vagrant.drill.loads.frame import Load
from hafailover.vagrant.drill.target import of_lab, topology_of
from hafailover.vagrant.lab import Lab

# The client's own time for a cache that failed. OpenStack's default is five minutes, in which nothing of a returned cache is seen.
DEAD = 10.0
# A host that is given no processor for a second is no dead cache: with less patience one pause counted the last living one out, too.
_PATIENCE = 2.0
_CACHE = {"keys": 200, "every": 0.05, "patience": _PATIENCE, "dead": DEAD}
_WRITES, _MESSAGES, _LOOKS = 50, 20, 40  # of each that must go on before and after a fault
_DRAINED_WITHIN = 120.0
_EVERY = 0.02  # seconds between two writes


class Aim(NamedTuple):
    """Where the load goes: the database, the brokers' addresses, port and account, the caches' addresses with their port."""

    database: Target
    brokers: list[str]
    account: tuple[str, str]
    caches: list[tuple[str, int]]


def aim_of(lab: Lab) -> Aim:
    """Find it in the topology of ``lab``; UsageError if there is no database with an address, no broker or no cache."""
    found = of_lab(lab.name)
    wanted = topology_of(lab.name).with_secrets_dir(state.directory(lab.name) / "secrets")
    brokers, caches = (_only(wanted.services, kind) for kind in ("rabbitmq", "memcached"))
    if not brokers.options["users"]:
        raise UsageError(f"{wanted.file}: {brokers.name} has no user of its own; a drill needs one to log in with")
    user = next(iter(brokers.options["users"]))
    reference = brokers.options["users"][user].get("password", f"file:{brokers.name}-{user}")
    password = render.secret_path(wanted, reference).read_text().strip()
    links = {name: node.links[0] for name, node in wanted.nodes.items()}
    return Aim(
        found,
        [links[node] for node in brokers.nodes],
        (user, password),
        [(links[node], caches.options["port"]) for node in caches.nodes],
    )


def _only(services: Any, kind: str) -> Service:
    for service in services.values():
        if service.type == kind:
            found: Service = service
            return found
    raise UsageError(
        f"the lab's topology has no service of type {kind}; see vagrant/topologies/openstack-controllers.yml"
    )


class Loads(Load):
    """The three clients and what each was told. Use as a context manager: leaving it ends them."""

    def __init__(self, lab: Lab, aim: Aim, primary: str) -> None:
        self._lab, self.aim = lab, aim
        self._stack = contextlib.ExitStack()
        self.ledger = Ledger()
        password = secrets.token_urlsafe(24)
        database.prepare(lab, primary, password)
        login = {"user": database.USER, "password": password, "database": database.SCHEMA, "table": database.TABLE}
        where = {"host": aim.database.ip, "port": aim.database.port, "interval": _EVERY}
        self.crew = Crew(lab, self.ledger, login, where, {})
        self.cache = Client(lab, "cache", {**_CACHE, "servers": aim.caches})

    def __enter__(self) -> Loads:
        with contextlib.ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hafailover-amqp-")))
            stack.enter_context(self.crew)
            stack.enter_context(self.cache)
            self.messages = amqp.Load(self._lab, self.aim.brokers, self.aim.account, directory)
            stack.callback(self.messages.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def goes_on(self, without: str = "") -> None:
        """Wait until each of them got on since now; HafailoverError names those that did not."""
        counts: dict[str, tuple[Callable[[], int], int]] = {
            "write to the database is acknowledged": (self._writes, _WRITES),
            "message arrives": (self._arrived, _MESSAGES),
            "look into a cache is answered": (self._looks, _LOOKS),
        }
        wait.until_more(
            counts, lambda late: "; ".join(filter(None, (f"no {', no '.join(late)} any more", self.cache.words)))
        )

    def end(self) -> list[str]:
        """Ask for no more, and let everything that was confirmed arrive. What does not is for the evidence to show."""
        self.crew.stop()
        killed = self.cache.stop()
        self.messages.end("publish")
        until = time.monotonic() + _DRAINED_WITHIN
        while self.messages.numbers("publish") - self.messages.numbers("consume") and time.monotonic() < until:
            time.sleep(0.2)
        return [*self.crew.problems, *([f"the client of the caches: {killed}"] if killed else [])]

    def _writes(self) -> int:
        return len(acknowledgements(self.ledger.attempts(), CLIENT))

    def _arrived(self) -> int:
        return len(self.messages.numbers("consume"))

    def _looks(self) -> int:
        return sum("hit" in line for line in self.cache.said())
