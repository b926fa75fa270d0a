"""hafailover drill controllers: break a pair of OpenStack controllers under load, and count what clients lost."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hafailover.crm.drill import database, oracle
from hafailover.crm.drill.judge import Judge
from hafailover.crm.drill.ledger import CLIENT, acknowledgements, gaps
from hafailover.crm.drill.oracle import Comparison
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.vagrant.drill.loads import faults
from hafailover.vagrant.drill.loads.controllers.load import Loads, aim_of
from hafailover.vagrant.drill.loads.faults import Fault, Stage
from hafailover.vagrant.drill.loads.frame import TOPOLOGIES, LoadDrill, Struck
from hafailover.vagrant.drill.loads.gaps import longest
from hafailover.vagrant.drill.loads.result import Column, Run, seconds, seconds_by_kind
from hafailover.vagrant.lab import Lab

_PROCESSES = {"mariadbd": "mysql", "beam.smp": "rabbitmq", "memcached": "memcache"}


def _kill(stage: Stage) -> None:
    """The node lives on: every service of it dies at once."""
    for name, user in _PROCESSES.items():
        faults.kill(stage, name, user)
    stage.goes_on()


FAULTS: Mapping[str, Fault] = {
    "power-off": Fault("A node loses its power; it is given back when the other one works", faults.power_off),
    "kill": Fault("The database server, the broker and the cache of a controller are killed", _kill),
    "cut": Fault("A node loses its network and is fenced", faults.cut),
    "move": Fault("The database's primary is moved, as planned", faults.move_database, planned=True),
}


@dataclass(frozen=True)
class ControllersRun(Run):
    """``acknowledged`` and ``lost`` count by kind ("database", "messages"); ``cache`` counts hits, misses, errors by which the client
    noticed that a cache was gone, and failures, of which there must be none. ``gaps`` are the longest silence of each kind of load
    around the fault, ``back`` is from the fault until the lab was healthy. ``node`` held the address when the fault struck, ``after``
    holds it at the end."""

    after: str | None = None
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    cache: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, float | None] = seconds_by_kind()
    back: float | None = seconds()


class ControllersDrill(LoadDrill[Loads, ControllersRun]):
    """Break the controller that holds the address while clients use database, brokers and caches.

    Outside of the cluster one client writes rows through the address, one publishes messages with confirms and one consumes them, and
    one hashes its keys over the caches of both controllers. Each FAULT (without one: all of them) strikes the controller that holds the
    address at that moment, so that it goes over and back. Afterwards every acknowledged row and every confirmed message must be there,
    and no look into the caches may have failed except those by which the client noticed that one is gone.

    Exit code 0: nothing was lost and all came back; 1: something is not as it must be; 2: wrong usage.

    \b
    Example:
      hafailover drill controllers
      hafailover drill controllers power-off -n 10 -o json
    """

    name = "controllers"
    topology = TOPOLOGIES / "openstack-controllers.yml"
    faults = FAULTS
    default = tuple(FAULTS)
    in_turn = False
    result = ControllersRun
    columns = (
        Column("from", lambda run: run.node, left=True),
        Column("to", lambda run: run.after, left=True),
        Column("rows", lambda run: run.acknowledged.get("database")),
        Column("lost", lambda run: run.lost.get("database")),
        Column("messages", lambda run: run.acknowledged.get("messages")),
        Column("lost", lambda run: run.lost.get("messages")),
        Column("misses", lambda run: run.cache.get("misses")),
        Column("noticed", lambda run: run.cache.get("noticed")),
        Column("failed", lambda run: run.cache.get("failed")),
        Column("write s", lambda run: run.gaps.get("database")),
        Column("publish s", lambda run: run.gaps.get("publish")),
        Column("consume s", lambda run: run.gaps.get("consume")),
        Column("cache s", lambda run: run.gaps.get("cache")),
        Column("back s", lambda run: run.back),
    )

    @classmethod
    def require(cls) -> None:
        """The client of the caches runs on this machine."""
        if importlib.util.find_spec("pymemcache") is None:
            raise UsageError("the client of the caches needs pymemcache; install python3-pymemcache on this machine")

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._aim = aim_of(lab)
        self.nodes = tuple(self._aim.database.nodes)

    def victim(self) -> str:
        """The controller that holds the address."""
        seen = database.cluster(self.lab, self._aim.database)
        if len(seen.promoted) != 1 or seen.address != seen.promoted[0]:
            raise HafailoverError(
                f"the address is on {seen.address}, the primary on {', '.join(seen.promoted) or 'no node'}"
            )
        return seen.promoted[0]

    def load(self) -> Loads:
        """Writer, publisher, consumer, and the client of the caches."""
        return Loads(self.lab, self._aim, self.victim())

    def judged(self, loads: Loads, struck: Struck) -> ControllersRun:
        """Every promise is looked at."""
        lab = self.lab
        after = self.victim()
        Judge(lab, self._aim.database, Hafailover()).await_same_position()
        servers = {one: database.contents(lab, one) for one in self._aim.database.nodes}
        attempts = loads.ledger.attempts()
        rows = oracle.compare(attempts, servers, after)
        written = acknowledgements(attempts, CLIENT)
        confirmed, arrived = loads.messages.lines("publish"), loads.messages.lines("consume")
        missing = {number for number, _ in confirmed} - {number for number, _ in arrived}
        looks = loads.cache.said()
        cache = {
            "hits": sum(line.get("hit") is True for line in looks),
            "misses": sum(line.get("hit") is False for line in looks),
            "noticed": sum(bool(line.get("noticed")) for line in looks),
            "failed": sum(line.get("noticed") is False for line in looks),
        }
        silences = {
            "database": gaps(written, struck.at, database.health(lab, after).server_id).fault,
            "publish": longest(at for _, at in confirmed),
            "consume": longest(at for _, at in arrived),
            "cache": longest(line["at"] for line in looks if "hit" in line),
        }
        return ControllersRun(
            struck.fault,
            struck.node,
            (*struck.problems, *_wrong(rows, servers, after, missing, looks)),
            after=after,
            acknowledged={"database": len(written), "messages": len(confirmed)},
            lost={"database": len(rows.lost), "messages": len(missing)},
            cache=cache,
            gaps=silences,
            back=struck.back,
        )


def _wrong(
    rows: Comparison,
    servers: Mapping[str, oracle.Server],
    after: str,
    missing: set[int],
    looks: Sequence[Mapping[str, Any]],
) -> list[str]:
    """A sentence for each promise that was not kept."""
    problems = [*oracle.disagreements(rows, ()), *oracle.roles(servers, [after])]
    if missing:
        shown = ", ".join(map(str, sorted(missing)[:5]))
        problems.append(f"{len(missing)} messages were confirmed and never arrived: {shown}")
    failed = [line["error"] for line in looks if line.get("noticed") is False]
    if failed:
        problems.append(
            f"{len(failed)} looks into the caches failed after a dead one was noticed, such as: {failed[0]}"
        )
    if not any(line.get("hit") for line in looks):
        problems.append("the caches never had what was stored in them")
    return problems
