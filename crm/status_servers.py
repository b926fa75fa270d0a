"""How far the replicas are behind, and whether commits wait for a copy: asked of the database servers while Pacemaker is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree.ElementTree import Element

from hafailover.crm.status import Instance, Lag, SemiSync, Service, Status
from hafailover.crm.status_facts import database_resources
from hafailover.crm.status_xml import pairs

LIMIT = 1.0
"""Seconds that each server has for all of its answers: somebody waits for the status."""
_GRACE = 0.05  # seconds; those that end at the limit have to tell so yet


class Said(NamedTuple):
    """What a server said.

    held: the last transactions in its binary log. received (None: it is no replica), applied, seconds: as SHOW SLAVE STATUS has them.
    error: why it said nothing, or "".
    """

    held: str = ""
    received: str | None = None
    applied: str = ""
    seconds: int | None = None
    semi_sync: SemiSync | None = None
    writable: bool = False
    error: str = ""

    @property
    def words(self) -> str:
        """What it is, for a person."""
        if self.error:
            return f"no answer: {self.error}"
        if self.received is None:
            return "accepts writes: it is the primary" if self.writable else "read-only, and replicates from nobody"
        lag = "replication is stopped" if self.seconds is None else f"replicates, {self.seconds} s behind"
        return f"ACCEPTS WRITES and {lag}" if self.writable else lag


class Look:
    """A look at all servers that has begun; ``hidden`` says what this user may not see of them."""

    def __init__(self, cib: Element, limit: float = LIMIT) -> None:
        self._end = time.monotonic() + limit
        self._said: dict[str, dict[str, Said]] = {}
        self._threads: list[threading.Thread] = []
        self.hidden: tuple[str, ...] = ()
        gone = _away(cib)
        for _, primitive in database_resources(cib):
            name, params = primitive.get("id", ""), pairs(primitive.find("instance_attributes"))
            self._begin(name, params, gone)

    def _begin(self, name: str, params: Mapping[str, str], gone: frozenset[str]) -> None:
        from hafailover.agents.mariadb import replication
        from hafailover.agents.nodes import addresses
        from hafailover.agents.ocf import OcfError

        try:
            nodes, port = addresses(params.get("nodes", "")), int(params.get("port", "3306"))
            login = replication.login(params.get("credentials", ""))
        except ValueError:
            return
        except OcfError as error:
            self.hidden = (*self.hidden, f"how far the replicas of {name} are behind: {error.reason}")
            return
        found = self._said.setdefault(name, {})
        for node, address in nodes.items():
            if node not in gone:
                # Nobody waits for a server that hangs: the limit ends the wait, not the thread.
                thread = threading.Thread(
                    target=self._ask, args=(node, (address, port), login, found), daemon=True, name=node
                )
                found[node] = Said(error="no answer in time")
                self._threads.append(thread)
                thread.start()

    def _ask(self, node: str, address: tuple[str, int], login: tuple[str, str], found: dict[str, Said]) -> None:
        from hafailover.agents.mariadb import sql

        left = self._end - time.monotonic()
        try:
            where = f"{address[0]}:{address[1]}"
            with sql.Connection(where, address, login[0], login[1], left, left) as server:
                found[node] = _said(server)
        except sql.SqlError as error:
            found[node] = Said(error=str(error))
        except (KeyError, ValueError, TypeError) as error:
            found[node] = Said(error=f"its answer is not understood: {error!r}")

    def said(self) -> dict[str, dict[str, Said]]:
        """Service → node → what it said, once all have answered or their time is over."""
        for thread in self._threads:
            thread.join(max(0.0, self._end + _GRACE - time.monotonic()))
        return {name: dict(found) for name, found in self._said.items()}


def _away(cib: Element) -> frozenset[str]:
    """Nodes of which the CIB says that they are not there: nobody is to wait for their servers."""
    return frozenset(
        state.get("uname", "")
        for state in cib.iterfind("status/node_state")
        if state.get("in_ccm", "") in ("false", "0") or state.get("crmd", "") in ("offline", "0")
    )


def _said(server: object) -> Said:
    from hafailover.agents.mariadb.sql import Connection

    assert isinstance(server, Connection)
    writable, held = server.writable(), server.binlog_position()
    row = server.row("SHOW SLAVE STATUS")
    if not row:
        now = server.semi_sync()
        return Said(held, semi_sync=SemiSync(now.enforcing, now.clients, now.waiting), writable=writable)
    seconds = row.get("Seconds_Behind_Master")
    applied = str(server.row("SELECT @@global.gtid_slave_pos AS v")["v"])
    return Said(held, str(row["Gtid_IO_Pos"]), applied, None if seconds in (None, "") else int(seconds), None, writable)


def with_servers(status: Status, said: Mapping[str, Mapping[str, Said]]) -> Status:
    """``status`` with what the servers said."""
    return status._replace(services=tuple(_service(one, said.get(one.name, {})) for one in status.services))


def _service(service: Service, said: Mapping[str, Said]) -> Service:
    primary = said.get(service.primary or "")
    held = primary.held if primary and not primary.error else None
    return service._replace(
        instances=tuple(
            one._replace(lag=_lag(one, service, said.get(one.node), held), writable=_writable(said.get(one.node)))
            for one in service.instances
        ),
        semi_sync=primary.semi_sync if primary else None,
    )


def _writable(said: Said | None) -> bool | None:
    return None if said is None or said.error else said.writable


def _lag(one: Instance, service: Service, said: Said | None, held: str | None) -> Lag | None:
    if said is None or one.role == "Stopped":
        return None
    if said.error:
        return Lag(error=said.error)
    if one.node == service.primary or said.received is None:
        return None
    from hafailover.agents.mariadb import gtid

    try:
        received = gtid.latest(said.received, said.applied)
        to_receive = None if held is None else gtid.behind(received, held)
        return Lag(said.seconds, to_receive, gtid.behind(said.applied, received))
    except ValueError as error:
        return Lag(error=f"its positions cannot be compared: {error}")
