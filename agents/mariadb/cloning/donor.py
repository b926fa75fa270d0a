"""The donor's side: a backup of this node's running server, streamed to the peer that asked.

mariadb-backup logs in as root over the unix socket, so no password exists that could be seen. It blocks commits only for the moment at
its end; if it cannot get that lock in time, because a commit waits for a replica that is gone, say, it is ended, and the peer tries again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator

from hafailover.agents import RUN_DIR
from hafailover.agents.mariadb import sql
from hafailover.agents.mariadb.cloning import facts, pace
from hafailover.agents.mariadb.cloning.link import ALIVE, DATA, END, Link
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.ocf import Context

BACKUP = "mariadb-backup"
_CHUNK = 1 << 18  # bytes
_LOOK_EVERY = 2.0  # seconds between two looks at the locks that the backup waits for, and between signs of life
_LOCK_PATIENCE = 20.0  # seconds that a backup may wait for a lock, with commits of others waiting behind it
_END_PATIENCE = 60.0  # seconds from the last byte to the end of the program
# Never part of a backup.
_LEFT_OUT = ("mariadb-bin.", "mariadb-relay-bin.", "ib_logfile", "ibtmp", ".hafailover")


def offer(ctx: Context) -> dict[str, object]:
    """What a clone of this node would be: its size in bytes, the rate in bytes per second (0: unlimited), and why not, or ""."""
    cluster, unit = Cluster(ctx), Unit(ctx)
    refusal = facts.donor_refusal(ctx, cluster, unit, cluster.journal())
    return {
        "node": cluster.node,
        "size": pace.size_of(unit.datadir, _LEFT_OUT),
        "rate": ctx.params["clone_rate"] * pace.MIB,
        "version": ".".join(map(str, unit.version())),
        "refusal": refusal or "",
    }


def donate(link: Link, ctx: Context) -> None:
    """Stream a backup: a message with what it will be, data, and an end frame with the exit code and this server's state after it."""
    cluster = Cluster(ctx)
    entry = cluster.journal()
    found = offer(ctx)
    if found["refusal"]:
        link.refuse(str(found["refusal"]))
        return
    ctx.require(BACKUP)
    with _only_one(ctx.instance) as alone:
        if not alone:
            link.refuse(f"{cluster.node} is being cloned already")
            return
        link.say({**found, "epoch": entry.epoch, "state": _state(ctx)})
        ctx.event("donate", f"a peer clones this server: {pace.mib(float(str(found['size'])))}")
        rc, said = _stream(link, ctx, int(str(found["rate"])))
        end = {"rc": rc, "error": said, "epoch": cluster.journal().epoch, "state": _state(ctx) if rc == 0 else ""}
        link.send(END, json.dumps(end).encode())
        ctx.event("donated", "the clone was streamed" if rc == 0 else f"the clone failed: {said}")


def position_of(ctx: Context, file: str, offset: int) -> str | None:
    """The GTID position at a place of this server's binary log; None when that file is gone."""
    with sql.own(ctx) as server:
        found = server.row("SELECT BINLOG_GTID_POS(%s, %s) AS v", file, offset)["v"]
    return None if found is None else str(found)


@contextlib.contextmanager
def _only_one(resource: str) -> Iterator[bool]:
    with open(f"{RUN_DIR}/{resource}.donate.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _state(ctx: Context) -> str:
    with sql.own(ctx) as server:
        return str(server.row("SELECT @@global.gtid_binlog_state AS v")["v"])


def _stream(link: Link, ctx: Context, rate: int) -> tuple[int, str]:
    """Run the backup and send what it prints; its exit code and the last thing it said. LinkError when the peer is gone."""
    with tempfile.TemporaryDirectory(prefix="hafailover-") as target, tempfile.TemporaryFile() as errors:
        argv = [
            BACKUP,
            f"--defaults-file={ctx.params['config']}",
            "--backup",
            "--stream=mbstream",
            f"--target-dir={target}",  # only for its own temporary files
            f"--datadir={ctx.params['datadir']}",
            f"--socket={ctx.params['socket']}",
            "--user=root",
            f"--startup-wait-timeout={int(_LOCK_PATIENCE)}",
        ]
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        try:
            rc = _pump(link, ctx, child, rate)
        except _Blocked as blocked:
            return 1, str(blocked)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait(_END_PATIENCE)
            if child.stdout:
                child.stdout.close()
        size = errors.seek(0, os.SEEK_END)
        errors.seek(max(0, size - 4000))
        lines = errors.read().decode(errors="replace").strip().splitlines()
        return rc, "" if rc == 0 else lines[-1] if lines else f"{BACKUP} ended with {rc}"


class _Blocked(Exception):
    """The backup waits for a lock, and others for the backup."""


def _pump(link: Link, ctx: Context, child: subprocess.Popen[bytes], rate: int) -> int:
    bucket = pace.TokenBucket(rate)
    looked = time.monotonic()
    blocked_since = 0.0
    assert child.stdout is not None  # it was asked for
    fd = child.stdout.fileno()
    while True:
        ready, _, _ = select.select([fd], [], [], _LOOK_EVERY)
        now = time.monotonic()
        if now - looked >= _LOOK_EVERY:
            looked = now
            waiter = _lock_waiter(ctx)
            blocked_since = (blocked_since or now) if waiter else 0.0
            if waiter and now - blocked_since > _LOCK_PATIENCE:
                _kill_session(ctx, waiter)
                raise _Blocked(
                    f"the backup waited for a lock for {_LOCK_PATIENCE:.0f} s; it was ended so that commits go on"
                )
        if not ready:
            link.send(ALIVE)
            continue
        data = os.read(fd, _CHUNK)
        if not data:
            return child.wait(_END_PATIENCE)
        bucket.take(len(data))
        link.send(DATA, data)


def _lock_waiter(ctx: Context) -> int | None:
    """The session of a backup that waits for its lock, or None; a server that does not answer now is asked again."""
    try:
        with sql.own(ctx) as server:
            row = server.row(
                "SELECT id FROM information_schema.processlist WHERE info LIKE 'BACKUP STAGE%' AND state LIKE 'Waiting for%'"
            )
            return int(row["id"]) if row else None
    except SqlError:
        return None


def _kill_session(ctx: Context, session: int) -> None:
    try:
        with sql.own(ctx) as server:
            server.run(f"KILL CONNECTION {session}")
    except SqlError as error:
        ctx.log("warning", f"ending the backup's session: {error}")
