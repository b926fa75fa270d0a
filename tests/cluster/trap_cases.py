"""What is done to real servers for ``test_traps``: run inside a node as ``trap_cases.py CASE [ARGUMENT]...``, prints what was seen as JSON.

The numbered traps are here, the other cases in ``trap_facts``. ``without`` names the guard that is taken away: a function of the agent is
replaced in this process, or a setting in the configuration.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import trap_facts
from servers import ADDRESSES, Server, locked, pair, recorded, until
from trap_recovery import NOBODY, RECOVER_ALL, ROWS, TRUNCATE, recoverable

# isort: split
from hafailover.agents import ocf
from hafailover.agents.mariadb import roles, sql
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import Connection


class Guard:
    """A guard of the agent that is taken away; ``used`` counts how often the agent would have relied on it."""

    def __init__(self) -> None:
        self.used = 0

    @contextlib.contextmanager
    def statement(self, *dropped: str) -> Iterator[None]:
        """The agent does not send these statements."""
        real = Connection.run

        def run(connection: Connection, statement: str, *values: Any) -> None:
            if statement in dropped:
                self.used += 1
            else:
                real(connection, statement, *values)

        with mock.patch.object(Connection, "run", run):
            yield

    @contextlib.contextmanager
    def role(self) -> Iterator[None]:
        """The server is recovered as if another one were promoted."""
        real = Unit.start

        def start(unit: Unit, options: tuple[str, ...], *patience: float) -> Any:
            self.used += options.count(RECOVER_ALL)
            return real(unit, tuple(TRUNCATE if option == RECOVER_ALL else option for option in options), *patience)

        with mock.patch.object(Unit, "start", start):
            yield

    @contextlib.contextmanager
    def receiving(self) -> Iterator[None]:
        """A promotion stops both threads and starts the SQL thread again, instead of stopping the IO thread alone."""
        guard = self

        def end(receiving: roles.Receiving) -> None:
            if guard.used:
                return
            guard.used += 1
            with sql.local(receiving._ctx.params["socket"], 60) as server:
                server.run("STOP SLAVE")
                server.run("START SLAVE SQL_THREAD")

        with mock.patch.object(roles.Receiving, "end", end):
            yield

    @contextlib.contextmanager
    def resuming(self) -> Iterator[None]:
        """After a promotion that was refused the IO thread is started, whatever became of the SQL thread."""
        guard = self

        def resume(receiving: roles.Receiving, server: Connection) -> None:
            guard.used += 1
            receiving.ended(60)
            server.run("START SLAVE IO_THREAD")

        with mock.patch.object(roles.Receiving, "resume", resume):
            yield

    @contextlib.contextmanager
    def skip_slave_start(self) -> Iterator[None]:
        """The server is started without ``--skip-slave-start``."""
        real = Unit.start

        def start(unit: Unit, options: tuple[str, ...], *patience: float) -> Any:
            self.used += 1
            return real(unit, (*options, "--skip-slave-start=OFF"), *patience)

        with mock.patch.object(Unit, "start", start):
            yield

    @contextlib.contextmanager
    def nothing(self) -> Iterator[None]:
        yield


def _picture(one: Server, two: Server, guard: Guard) -> dict[str, Any]:
    """What both hold."""
    return {
        "one": one.ids(),
        "two": two.ids(),
        "equal": one.checksum() == two.checksum(),
        "guard used": guard.used,
    }


def _answered_and_not_durable(**options: object) -> tuple[Server, Server]:
    """A pair whose primary died so that its engine forgets the last transaction, although two holds it and the client was answered.

    The engine writes a commit that is in the binary log with the next write, or after innodb_flush_log_at_timeout: 1 s, the width of the
    race in production. Here there is no next write, and the timeout is as long as it may be.
    """
    one, two = pair(**options)
    one.run("SET GLOBAL innodb_flush_log_at_timeout=2700")
    one.insert(*range(ROWS))
    one.kill()
    until("two has applied all that was acknowledged", lambda: two.ids() == list(range(ROWS)))
    return one, two


def trap_1(without: str) -> dict[str, Any]:
    """Recovery as a replica removes an acknowledged transaction, which the new primary sends back."""
    one, two = _answered_and_not_durable(**({"gtid_strict_mode": "OFF"} if without == "gtid_strict_mode" else {}))
    two.promote()
    two.insert(100)
    guard = Guard()
    removed = {
        "": guard.nothing(),
        "rpl_semi_sync_slave_enabled": guard.statement("SET GLOBAL rpl_semi_sync_slave_enabled=ON"),
        "gtid_strict_mode": guard.statement("SET GLOBAL gtid_strict_mode=ON"),
    }
    with removed[without]:
        one.start(promoted="two")
    truncated = one.log().count("Successfully truncated binlog file")
    # What is in the binary log counts as reached, and can be read a moment later.
    until("one has all of two", lambda: (one.reached(two) and 100 in one.ids()) or one.status()["Last_SQL_Errno"])
    return {**_picture(one, two, guard), "truncated": truncated, "threads": one.threads()}


def trap_2(without: str) -> dict[str, Any]:
    """The dead primary returns, nobody else is promoted, and it is promoted again where it is."""
    one, two = _answered_and_not_durable()
    two.run("STOP SLAVE IO_THREAD")  # as if it reconnected a moment later than the next write
    guard = Guard()
    with guard.role() if without else guard.nothing():
        one.start(promoted=NOBODY)
    truncated = one.log().count("Successfully truncated binlog file")
    one.promote()
    one.insert(100)
    two.run("START SLAVE IO_THREAD")
    until("two replicates again", lambda: two.threads() == ["Yes", "Yes"] and two.has_received(one))
    one.insert(101)
    until("two replicates on", lambda: 101 in two.ids())
    return {**_picture(one, two, guard), "truncated": truncated, "threads": two.threads()}


def trap_3_promote(without: str) -> dict[str, Any]:
    """The primary dies while its replica has received more than it has applied; the replica is promoted."""
    one, two = pair()
    guard = Guard()
    with locked(two) as session:
        one.insert(*range(ROWS))
        one.kill()
        applied = len(two.ids())
        end = threading.Timer(2.0, session.close)  # promote must wait until the SQL thread can go on
        end.start()
        with guard.receiving() if without else guard.nothing():
            two.promote()
        end.join()
    return {"applied before": applied, "two": two.ids(), "guard used": guard.used, "primary": recorded().primary}


def trap_3_refused(without: str) -> dict[str, Any]:
    """The same, but the promotion is refused because the SQL thread stops with an error."""
    one, two = pair()
    two.run("SET sql_log_bin=0", "INSERT INTO proof.rows VALUES (2, 'in the way')")
    guard = Guard()
    refused = ""
    with locked(two) as session:
        one.insert(*range(ROWS))
        one.kill()
        end = threading.Timer(2.0, session.close)
        end.start()
        try:
            with guard.resuming() if without else guard.nothing():
                two.promote()
        except ocf.OcfError as error:
            refused = error.reason
        end.join()
    until("the SQL thread has stopped", lambda: two.status()["Last_SQL_Errno"])
    return {"refused": refused, "held": recoverable(two), "threads": two.threads(), "guard used": guard.used}


def trap_3_restart(without: str) -> dict[str, Any]:
    """The same, but the replica is killed and restarted while the primary is gone."""
    one, two = pair()
    guard = Guard()
    with locked(two):
        one.insert(*range(ROWS))
        one.kill()
        applied = len(two.ids())
        two.kill()
    with guard.skip_slave_start() if without else guard.nothing():
        two.start(promoted=NOBODY)

    def settled() -> bool:
        with contextlib.suppress(ocf.OcfError):
            two.monitor()  # whatever it does, it must not throw anything away
        return len(two.ids()) == ROWS or not recoverable(two)

    until("what was received is applied, or lost", settled)
    return {"applied before": applied, "two": two.ids(), "guard used": guard.used}


def main() -> None:
    case, *arguments = sys.argv[1:]
    try:
        found = {**vars(trap_facts), **globals()}[case](*arguments)
    finally:
        for name in ADDRESSES:
            Server(name).remove()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
