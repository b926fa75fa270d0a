"""The units around a clone: the socket on which peers are heard, and the worker that rebuilds this node.

Both exist only while the instance is started. The socket costs no memory: a program runs for each connection, and ends with it. systemd-run
cannot make a socket that accepts (it wants a template for its services), so its two files are written to /run/systemd/system.
"""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR, units
from hafailover.agents.mariadb.peer_port import peer_port
from hafailover.agents.nodes import addresses
from hafailover.agents.ocf import Context

UNIT_DIR = "/run/systemd/system"
_PEER_PROGRAM = "/usr/lib/hafailover/mariadb-peer"
_WORKER_PROGRAM = "/usr/lib/hafailover/mariadb-rejoin"
_MOST_CONNECTIONS = 8
_TIMEOUT = 15.0  # seconds for each call of systemd's tools


def peer_marker(resource: str) -> str:
    """A file that is there while the socket listens; systemd removes it with the socket."""
    return f"{RUN_DIR}/{resource}.peer"


def listen(ctx: Context) -> None:
    """Have systemd listen for peers; a failure is logged, for the server serves without it."""
    name = _peer(ctx.instance)
    address = addresses(ctx.params["nodes"]).get(ctx.node)
    if address is None:
        return
    where = f"[{address}]" if ":" in address else address
    number = peer_port(ctx.params["port"], ctx.params["clone_port"])
    socket = f"""[Unit]
Description=Peers of {ctx.instance}: cloning and rejoining
[Socket]
ListenStream={where}:{number}
FreeBind=yes
Accept=yes
MaxConnections={_MOST_CONNECTIONS}
ExecStopPost=/bin/rm -f {peer_marker(ctx.instance)}
"""
    service = f"""[Unit]
Description=A peer of {ctx.instance}
CollectMode=inactive-or-failed
[Service]
ExecStart={_PEER_PROGRAM} {ctx.instance}
StandardInput=socket
StandardOutput=journal
Nice=10
IOSchedulingPriority=7
CPUWeight=20
IOWeight=20
"""
    os.makedirs(UNIT_DIR, exist_ok=True)
    old = [_write(f"{UNIT_DIR}/{name}.socket", socket), _write(f"{UNIT_DIR}/{name}@.service", service)]
    if any(old):
        ctx.run(["systemctl", "daemon-reload"], timeout=_TIMEOUT)
        ctx.run(["systemctl", "stop", f"{name}.socket"], timeout=_TIMEOUT)
    done = ctx.run(["systemctl", "start", f"{name}.socket"], timeout=_TIMEOUT)
    if done.rc != 0:
        ctx.log("warning", f"peers cannot reach this node for cloning, port {number}: {done.err.strip()}")
        return
    os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    with open(peer_marker(ctx.instance), "w"):
        pass


def close(ctx: Context) -> None:
    """Stop listening, and end what is being done for a peer."""
    name = _peer(ctx.instance)
    if not os.path.exists(f"{UNIT_DIR}/{name}.socket"):
        return
    ctx.run(["systemctl", "stop", f"{name}.socket", f"{name}@*.service"], timeout=_TIMEOUT)
    for path in (f"{UNIT_DIR}/{name}.socket", f"{UNIT_DIR}/{name}@.service", peer_marker(ctx.instance)):
        if os.path.exists(path):
            os.unlink(path)


def start_worker(ctx: Context) -> str | None:
    """Start the rejoin worker unless it runs; return why it could not be started, or None. It is started again if it is killed."""
    unit = worker(ctx.instance)
    if worker_runs(ctx):
        return None
    ctx.run(["systemctl", "reset-failed", unit], timeout=_TIMEOUT)
    properties = {
        "Restart": "on-failure",
        "RestartSec": "3",
        "StartLimitIntervalSec": "3600",
        "StartLimitBurst": "10",
        "Nice": "5",
        "IOSchedulingPriority": "7",
        "TimeoutStopSec": "10",
    }
    argv = [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit}",
        f"--description=Rebuilds {ctx.instance} on this node",
    ]
    argv += [f"--property={key}={value}" for key, value in properties.items()]
    done = ctx.run([*argv, _WORKER_PROGRAM, ctx.instance], timeout=_TIMEOUT)
    return done.err.strip() or "systemd-run failed" if done.rc != 0 else None


def worker_runs(ctx: Context) -> bool:
    """Whether the worker is there, or about to be started again; OcfError when systemd does not answer in time."""
    name = worker(ctx.instance)
    return not units.state(ctx, [name])[name].dead


def worker_exists(resource: str) -> bool:
    """The same by a look at a file, which costs nothing; systemd collects a unit that has ended."""
    return os.path.exists(f"/run/systemd/transient/{worker(resource)}")


def end_worker(ctx: Context) -> bool:
    """End the worker, if it runs; whether there was one. What it had begun is finished or undone by the next start."""
    if not worker_exists(ctx.instance):
        return False
    ctx.run(["systemctl", "stop", worker(ctx.instance)], timeout=_TIMEOUT)
    return True


def worker(resource: str) -> str:
    """The worker's unit."""
    return f"hafailover-mariadb-{resource}-rejoin.service"


def _peer(resource: str) -> str:
    return f"hafailover-mariadb-{resource}-peer"


def _write(path: str, text: str) -> bool:
    """Write a unit's file; whether another text was there, which systemd may have read."""
    try:
        with open(path) as file:
            if file.read() == text:
                return False
        changed = True
    except FileNotFoundError:
        changed = False
    with open(path, "w") as file:
        os.fchmod(
            file.fileno(), 0o644
        )  # Pacemaker's umask is strict, and systemd warns, at every connection, of units that few may read
        file.write(text)
    return changed
