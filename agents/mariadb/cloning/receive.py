"""Receiving a clone: connect to a donor, unpack its stream, make it a consistent data directory. The old data are not touched."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import subprocess
import tempfile
import time

from hafailover.agents.mariadb import replication
from hafailover.agents.mariadb.cloning import link, pace, position
from hafailover.agents.mariadb.cloning.donor import BACKUP
from hafailover.agents.mariadb.cloning.link import ALIVE, DATA, END, Link, LinkError, PeerRefused
from hafailover.agents.mariadb.cloning.notes import Progress
from hafailover.agents.mariadb.cloning.position import PositionError
from hafailover.agents.mariadb.cloning.swap import Swap
from hafailover.agents.mariadb.peer_port import peer_port
from hafailover.agents.mariadb.server import Unit
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

UNPACK = "mbstream"
_INFO = ("xtrabackup_binlog_info", "mariadb_backup_binlog_info")  # before and from 11.1 on
_NOT_DATA = ("xtrabackup_", "mariadb_backup_", "backup-my.cnf")
_WRITE_PATIENCE = 120.0  # seconds in which the disk must take some of what arrived
_PREPARE_PATIENCE = 6 * 3600.0  # seconds for the recovery of the clone
_SYNC_PATIENCE = 3600.0


class CloneError(Exception):
    """This attempt has failed, and the next may not; the message says why. The old data are as they were."""


class Refusal(Exception):
    """It cannot be done, and trying again would not help; the message is a sentence. The old data are as they were."""


class Clone(NamedTuple):
    """A complete clone in ``new``: whose it is, its position, and the state that its binary log must begin with."""

    donor: str
    position: str
    state: str
    size: int


def call(ctx: Context, node: str, idle: float = link.IDLE_TIMEOUT) -> Link:
    """Connect to the peer service on ``node``; LinkError."""
    secret = link.key(ctx.instance, replication.login(ctx.params["credentials"]).password)
    number = peer_port(ctx.params["port"], ctx.params["clone_port"])
    return link.connect(addresses(ctx.params["nodes"])[node], number, secret, idle)


def offer(ctx: Context, names: tuple[str, ...]) -> dict[str, Any]:
    """What the first of ``names`` that is fit offers; Refusal or CloneError with everybody's reason otherwise."""
    reasons = []
    for name in names:
        try:
            with call(ctx, name) as peer:
                peer.say({"v": link.VERSION, "do": "offer"})
                found = peer.hear()
            if not found.get("refusal"):
                return found
            reasons.append(str(found["refusal"]))
        except (LinkError, PeerRefused) as error:
            reasons.append(f"{name}: {error}")
    raise CloneError("nobody to clone from: " + "; ".join(reasons))


def check(ctx: Context, offered: dict[str, Any], unit: Unit, swap: Swap) -> None:
    """Refusal when the clone would not fit: in bytes, in version, or because the data are not all in one place."""
    mine, theirs = ".".join(map(str, unit.version()[:2])), ".".join(str(offered["version"]).split(".")[:2])
    if mine != theirs:
        raise Refusal(
            f"{offered['node']} runs MariaDB {theirs}, this node {mine}: a clone needs the same series on both"
        )
    with open(ctx.params["config"], encoding="utf-8") as file:
        outside = pace.elsewhere(file.read(), swap.datadir)
    refusal = outside or pace.space_refusal(int(offered["size"]), pace.free(swap.datadir), swap.datadir)
    if refusal:
        raise Refusal(refusal)


def receive(ctx: Context, unit: Unit, swap: Swap, donor: str, progress: Progress) -> Clone:
    """Fill ``new`` with a prepared clone of ``donor``; CloneError or Refusal, and then ``new`` is worthless."""
    for program in (BACKUP, UNPACK):
        ctx.require(program)
    try:
        with call(ctx, donor) as peer:
            peer.say({"v": link.VERSION, "do": "donate"})
            head = peer.hear()
            check(ctx, head, unit, swap)
            progress.phase("receive", f"receiving {pace.mib(head['size'])} from {donor}", donor=donor)
            end = _unpack(peer, swap.new, int(head["size"]), progress)
    except LinkError as error:
        raise CloneError(f"the stream from {donor} broke off: {error}") from None
    except PeerRefused as refused:
        raise CloneError(f"{donor} refuses: {refused}") from None
    if end.get("rc") != 0:
        raise CloneError(f"the backup on {donor} failed: {end.get('error') or 'no reason given'}")
    if end.get("epoch") != head["epoch"]:
        raise CloneError(f"another node was promoted while {donor} was cloned")
    progress.phase("prepare", "making the clone consistent", donor=donor)
    _prepare(ctx, swap.new)
    try:
        at = _position(ctx, donor, position.read_info(_info(swap.new)))
        state = position.state_at(str(head["state"]), at, str(end["state"]))
    except PositionError as error:
        raise CloneError(str(error)) from None
    _tidy(swap.new)
    _own(swap.new, ctx.params["user"])
    done = ctx.run(["sync", "-f", swap.new], timeout=_SYNC_PATIENCE)
    if done.rc != 0:
        raise CloneError(f"the clone cannot be brought to disk: {done.err.strip()}")
    return Clone(donor, at, state, int(head["size"]))


def _position(ctx: Context, donor: str, info: position.Info) -> str:
    """The backup's position in every domain, as the donor reads it from its binary log.

    The backup itself notes ``gtid_current_pos``, which lacks a domain that another server wrote in last.
    """
    try:
        with call(ctx, donor) as peer:
            peer.say({"v": link.VERSION, "do": "position", "file": info.file, "offset": info.offset})
            found = peer.hear()["position"]
    except (LinkError, PeerRefused) as error:
        raise CloneError(f"{donor} does not tell where the clone stands: {error}") from None
    return info.gtid if found is None else str(found)


def _unpack(peer: Link, directory: str, size: int, progress: Progress) -> dict[str, Any]:
    """Feed the stream to mbstream; the donor's end frame. CloneError when the program here fails."""
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [UNPACK, "-x", "-C", directory], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        )
        assert child.stdin is not None  # it was asked for
        os.set_blocking(child.stdin.fileno(), False)
        try:
            end = _feed(peer, child.stdin, size, progress)
            child.stdin.close()
            rc = child.wait(_WRITE_PATIENCE)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            rc = -1
        finally:
            if child.poll() is None:
                child.kill()
            child.wait(_WRITE_PATIENCE)
            with contextlib.suppress(OSError):  # what it had not taken of the stream is of no use
                child.stdin.close()
        if rc != 0:
            errors.seek(0)
            lines = errors.read(4000).decode(errors="replace").strip().splitlines()
            raise CloneError(f"{UNPACK} failed: {lines[-1] if lines else 'it took no more data'}")
        return end


def _feed(peer: Link, out: BinaryIO | Any, size: int, progress: Progress) -> dict[str, Any]:
    done = 0
    while True:
        kind, payload = peer.receive()
        if kind == END:
            progress.amount(done, max(done, size))
            return link.decode(payload)
        if kind == ALIVE:
            continue
        if kind != DATA:
            raise LinkError(f"a frame of kind {kind!r} in the middle of a stream")
        _write_all(out.fileno(), payload)
        done += len(payload)
        progress.amount(done, size)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    end = time.monotonic() + _WRITE_PATIENCE
    while view:
        _, ready, _ = select.select([], [fd], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise CloneError(f"the disk took nothing for {_WRITE_PATIENCE:.0f} s")
        view = view[os.write(fd, view) :]


def _prepare(ctx: Context, directory: str) -> None:
    done = ctx.run([BACKUP, "--prepare", f"--target-dir={directory}"], timeout=_PREPARE_PATIENCE)
    if done.rc != 0:
        lines = (done.err or done.out).strip().splitlines()
        raise CloneError(
            f"the clone cannot be made consistent: {lines[-1] if lines else f'{BACKUP} ended with {done.rc}'}"
        )


def _info(directory: str) -> str:
    for name in _INFO:
        with contextlib.suppress(FileNotFoundError), open(f"{directory}/{name}", encoding="utf-8") as file:
            return file.read()
    raise PositionError("the backup does not say at which position it was taken")


def _tidy(directory: str) -> None:
    for name in os.listdir(directory):
        if name.startswith(_NOT_DATA):
            os.unlink(f"{directory}/{name}")


def _own(directory: str, user: str) -> None:
    owner = pwd.getpwnam(user)
    for parent, names, files in os.walk(directory):
        for name in (*names, *files):
            os.chown(f"{parent}/{name}", owner.pw_uid, owner.pw_gid, follow_symlinks=False)
