"""Scheduled events run on exactly one server, the promoted one.

Three things make that so. The event scheduler is off wherever the server is not promoted: it starts off, it is switched off before the
server becomes read-only (events of privileged users would write on), and it is switched on when the server is promoted. A replica
stores every event as disabled, also those that are disabled on the primary; which those are is kept in the cluster while there is a
primary to ask, because after its death only the cluster remembers. The new primary enables the others, in its own copy alone.
"""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR
from hafailover.agents.mariadb.records import Refused
from hafailover.agents.mariadb.sql import Connection, SqlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.ocf import Context

PROPERTY = "events"
LONGEST = 32768  # bytes of the list; the CIB is read by every node all the time
_SCHEMA = "v=1"
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-$")
_NO_SUCH_EVENT = 1539


def halt(server: Connection) -> bool:
    """Switch the scheduler off; True when it was on. What runs at this moment goes on, and is ended with the other sessions."""
    if str(server.row("SELECT @@global.event_scheduler AS v")["v"]) != "ON":
        return False
    server.run("SET GLOBAL event_scheduler=OFF")
    return True


def keep_running(ctx: Context, cluster: Cluster, server: Connection) -> None:
    """On the promoted server: enable what its time as a replica has disabled, run the scheduler, and keep the list of what stays off."""
    if not ctx.params["events"]:
        return
    found = server.rows("SELECT db, name, definer, status FROM mysql.event")
    asleep = [row for row in found if row["status"] == "SLAVESIDE_DISABLED"]
    if asleep:
        off = read(cluster.pacemaker.property(_group(cluster), PROPERTY))
        _wake(ctx, server, asleep, off)
        found = server.rows("SELECT db, name, definer, status FROM mysql.event")
    if str(server.row("SELECT @@global.event_scheduler AS v")["v"]) != "ON":
        server.run("SET GLOBAL event_scheduler=ON")
        ctx.event("events", f"the event scheduler runs here now; {len(asleep)} events were disabled as a replica's")
        _forget(ctx)  # another primary may have kept a list since this one last did
    _remember(ctx, cluster, write((row["db"], row["name"]) for row in found if row["status"] == "DISABLED"))


def _wake(ctx: Context, server: Connection, asleep: list[dict[str, Any]], off: frozenset[tuple[str, str]]) -> None:
    # A replica's copy is its own affair: nothing of this may reach the binary log.
    server.run("SET SESSION sql_log_bin=0")
    for row in asleep:
        try:
            server.run(waking(row["db"], row["name"], row["definer"], (row["db"], row["name"]) not in off))
        except SqlError as error:
            if error.errno != _NO_SUCH_EVENT:  # somebody has dropped it
                ctx.log("warning", f"event {row['db']}.{row['name']} could not be enabled: {error}")
    server.run("SET SESSION sql_log_bin=1")


def waking(db: str, name: str, definer: str, enabled: bool) -> str:
    """The statement that gives an event its state on a primary. Without its definer, the event would become the agent's."""
    user, at, host = definer.rpartition("@")
    account = f"{_quoted(user)}@{_quoted(host)}" if at else _quoted(definer)
    return f"ALTER DEFINER={account} EVENT {_quoted(db)}.{_quoted(name)} {'ENABLE' if enabled else 'DISABLE'}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _kept(ctx: Context) -> str:
    return f"{RUN_DIR}/{ctx.instance}.events"


def _forget(ctx: Context) -> None:
    if os.path.exists(_kept(ctx)):
        os.unlink(_kept(ctx))


def _group(cluster: Cluster) -> str:
    return f"hafailover-{cluster.resource}"


def _remember(ctx: Context, cluster: Cluster, text: str) -> None:
    """Keep the list in the cluster when it has changed; a partition without quorum has nothing to say about it."""
    path = _kept(ctx)
    try:
        with open(path) as file:
            if file.read() == text:
                return
    except OSError:
        pass  # nothing was kept since the node booted
    if len(text) > LONGEST:
        raise Refused(
            f"too many events are disabled to remember them ({len(text)} bytes): drop those that are not needed"
        )
    if not cluster.pacemaker.quorate():
        return
    cluster.pacemaker.set_property(_group(cluster), PROPERTY, text)
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def write(names: Iterable[tuple[str, str]]) -> str:
    """The text for a list of events (schema, name)."""
    return f"{_SCHEMA} off=" + ",".join(sorted(f"{_escaped(db)}.{_escaped(name)}" for db, name in names))


def read(text: str | None) -> frozenset[tuple[str, str]]:
    """The events (schema, name) in such a text; none when there is no text, or it cannot be read."""
    schema, _, names = (text or "").partition(" off=")
    if schema != _SCHEMA:
        return frozenset()
    pairs = (entry.partition(".") for entry in names.split(",") if entry)
    return frozenset((_unescaped(db), _unescaped(name)) for db, _, name in pairs)


def _escaped(name: str) -> str:
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in name.encode())


def _unescaped(text: str) -> str:
    first, *others = text.split("%")
    raw = first.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in others)
    return raw.decode("utf-8", "replace")
