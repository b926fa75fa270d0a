"""The machine room of one lab: a daemon that owns its network, boots its nodes, cuts their cables and their power.

It is the parent of every node's systemd-nspawn and holds the lab's mounts and network namespaces in a mount namespace of
its own, so that nothing of a lab outlives its processes. It serves two kinds of unix sockets: ``control.sock`` for
the lab's commands (one JSON object per line each way) and one per node, bind-mounted into it, for its
fence agent (a line "off db2", answered by "ok ..." or "error ..."); the socket tells which node is asking.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import disks, image, network
from hafailover.vagrant.host import run
from hafailover.vagrant.node import Node
from hafailover.vagrant.plan import QUORUM, Plan

FENCE_ACTIONS = ("off", "on", "reboot", "status", "list", "monitor")


class Room:
    """All nodes of a lab and what may be done to them. Methods may be called from several threads at once."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        self.directory = directory
        self.plan = plan
        self.wire = directory / "netns" / "wire"
        self.client = directory / "netns" / "client"
        self._log_lock = threading.Lock()
        self.nodes = {
            machine.name: Node(directory, plan, index, self.wire, self._record)
            for index, machine in enumerate(plan.machines)
        }
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "state": lambda _: self.state(),
            "on": lambda r: self._node(r).power_on(by="lab", hold=False),
            "off": lambda r: self._node(r).power_off(by="lab", hold=bool(r.get("hold"))),
            "cut": lambda r: self._node(r).cut(),
            "heal": lambda r: self._node(r).heal(),
        }

    def build(self) -> None:
        """Make mounts and networks. Everything is private to this process's mount namespace."""
        netns = self.directory / "netns"
        netns.mkdir(exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", str(netns)], timeout=10)
        # nspawn keeps a directory per machine name there, and labs with equal node names would share it.
        Path("/run/systemd/nspawn").mkdir(parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run/systemd/nspawn"], timeout=10)
        network.make_namespace(self.wire)
        network.batch(self.wire, network.bridges(len(self.plan.subnets)))
        network.make_namespace(self.client)
        outside = len(self.plan.machines)
        network.batch(self.wire, network.plug(outside, self.plan.client, self.client, up=True))
        network.batch(self.client, network.addresses(self.plan.client))
        shared = [disks.share(self.directory, disk) for disk in self.plan.shared_disks]
        for node in self.nodes.values():
            node.build(shared)

    def state(self) -> dict[str, Any]:
        """Power, network and process of every node."""
        return {
            "nodes": {name: node.state() for name, node in self.nodes.items()},
            "client": f"/proc/{os.getpid()}/root{self.client}",
        }

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request of the lab's commands."""
        operation = self._operations.get(str(request.get("do")))
        if operation is None:
            raise HafailoverError(f"unknown request {request!r}")
        return operation(request)

    def fence(self, asker: str, line: str) -> str:
        """Carry out one line of the fence agent in node ``asker``; return the answer's text."""
        words = line.split()
        if not words or words[0] not in FENCE_ACTIONS:
            raise HafailoverError(f"unknown fencing request {line!r}; known: {', '.join(FENCE_ACTIONS)}")
        action = words[0]
        if self.nodes[asker].is_cut:
            # The power switches are at the far end of the same cables: a node that can reach nobody fences nobody.
            raise HafailoverError(f"{asker} is cut from the network and does not reach the power switch")
        if action == "monitor":
            return "powered"
        if action == "list":
            return "\n".join(m.name for m in self.plan.machines if m.role != QUORUM)
        target = self.nodes.get(words[1] if len(words) > 1 else "")
        if target is None:
            raise HafailoverError(f"no plug {' '.join(words[1:]) or '(none given)'}")
        if action == "status":
            return "on" if target.state()["power"] != "off" else "off"
        if action == "on":
            target.power_on(by=asker, hold=None)
        else:
            target.power_off(by=asker, hold=None)
            if action == "reboot":
                target.power_on(by=asker, hold=None)
        return "done"

    def _node(self, request: dict[str, Any]) -> Node:
        node = self.nodes.get(str(request.get("node")))
        if node is None:
            raise HafailoverError(f"no node {request.get('node')!r} in lab {self.plan.name}")
        return node

    def _record(self, **entry: Any) -> None:
        """Append to the power log: one JSON object per line with the unix time ``t``."""
        with self._log_lock, (self.directory / "power.log").open("a") as log:
            log.write(json.dumps({"t": time.time(), **entry}) + "\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    """Answers each line by ``answer``; an error becomes an answer, never a dead connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: Path, answer: Callable[[str], str]) -> None:
        super().__init__(str(path), _Handler)
        self.answer = answer
        path.chmod(0o600)


class _Handler(socketserver.StreamRequestHandler):
    timeout = 60.0

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write((server.answer(line.decode(errors="replace").strip()) + "\n").encode())
                self.wfile.flush()


def _control(room: Room) -> Callable[[str], str]:
    def answer(line: str) -> str:
        try:
            return json.dumps({"ok": room.control(json.loads(line))})
        except (HafailoverError, OSError, ValueError) as error:
            return json.dumps({"error": str(error)})

    return answer


def _fence(room: Room, asker: str) -> Callable[[str], str]:
    def answer(line: str) -> str:
        try:
            text = room.fence(asker, line)
        except (HafailoverError, OSError) as error:
            return "error " + str(error).replace("\n", " ")
        return "ok " + text.replace("\n", " ")

    return answer


def main(argv: list[str] | None = None) -> None:
    """Serve the lab in directory ``argv[0]``.

    The plan comes as one line of JSON on standard input, and end of file there means that whoever started us died
    before we were registered: then nothing has been done and nothing is to be done.
    """
    (directory,) = map(Path, argv if argv is not None else sys.argv[1:])
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        return
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    room = Room(directory, Plan.from_json(json.loads(line)))
    image.hold(Path(room.plan.image))
    room.build()
    for name, node in room.nodes.items():
        server = _Server(node.fence_socket, _fence(room, name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
    # Bound last: that it answers says that the room is complete.
    _Server(directory / "control.sock", _control(room)).serve_forever()
