"""What becomes of connections when an address moves: those who wait are told, and those who come again meet the new node."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from vips import ADDRESSES, Vip, refuses
from wire import Node

# Waits for a word on a connection to the first address and on one to the second; says what became of each.
_CLIENT = """
import socket, sys
held = [socket.create_connection((host, 3306), timeout=20) for host in sys.argv[1:3]]
print("connected", flush=True)
for connection in held:
    connection.settimeout(float(sys.argv[3]))
    try:
        print(connection.recv(1), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""
# Listens as mariadbd does, for IPv6 and IPv4 on one socket, takes two connections and answers neither.
_SERVER = """
import socket, sys
listener = socket.create_server(("::", 3306), family=socket.AF_INET6, dualstack_ipv6=True)
print("listens", flush=True)
held = [listener.accept() for _ in range(2)]
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("ip", "own", "deaf"),
    [("10.77.0.50", "10.77.0.1", False), ("10.77.0.50", "10.77.0.1", True), ("fd77::50", "fd77::1", False)],
    ids=["IPv4", "after a stop that was ended half way", "IPv6"],
)
def test_whoever_waits_for_an_answer_is_told_that_the_address_goes(
    namespaces: dict[str, Node], vip_agent: Path, ip: str, own: str, deaf: bool
) -> None:
    """Without that it would wait for ever: from an address that has gone nothing can be sent. Others' connections stay."""
    vip, python = Vip(vip_agent, ip=ip), ["/usr/bin/python3", "-IS", "-c"]
    assert vip(namespaces["a"], "start").returncode == 0
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    inside = [["ip", "netns", "exec", namespaces[name].name] for name in ("a", "client")]
    with (
        subprocess.Popen([*inside[0], *python, _SERVER], **pipes) as server,
        ExitStack() as stack,
    ):
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "listens\n"
            client = stack.enter_context(subprocess.Popen([*inside[1], *python, _CLIENT, ip, own, "3"], **pipes))
            stack.callback(client.kill)
            assert client.stdout is not None
            assert client.stdout.readline() == "connected\n"
            if deaf:
                namespaces["a"].ip("route", "del", "local", ip, "dev", "eth0", "table", "local")
            assert vip(namespaces["a"], "stop").returncode == 0
            assert client.stdout.read().split() == ["ConnectionResetError", "TimeoutError"]
        finally:
            server.kill()


def test_a_stop_that_was_ended_half_way_is_seen_and_mended_by_the_next_start(
    namespaces: dict[str, Node], vip_agent: Path
) -> None:
    """What is left then is an address that this node announces, and for which it takes nothing."""
    vip, node, client = Vip(vip_agent, ip="10.77.0.50"), namespaces["a"], namespaces["client"]
    assert vip(node, "start").returncode == 0
    local = ("route", "show", "table", "local", "10.77.0.50")
    before = node.ip(*local)
    assert before
    node.ip("route", "del", "local", "10.77.0.50", "dev", "eth0", "table", "local")
    marker = Path(f"/run/hafailover/{vip.name}.leaving")
    marker.touch()
    try:
        refuses(vip(node, "monitor", interval=10000), 1, "10.77.0.50", "not finished")
        assert client.exec("ping", "-c1", "-W1", "10.77.0.50").returncode != 0
        assert vip(node, "start").returncode == 0
        assert not marker.exists()
    finally:
        marker.unlink(missing_ok=True)
    assert node.ip(*local) == before
    assert vip(node, "monitor", interval=10000).returncode == 0
    assert client.exec("ping", "-c1", "-W2", "10.77.0.50").returncode == 0


# Connects again at once whenever it is reset; says whether somebody has taken it after that.
_HASTY = """
import socket, sys
def connected():
    connection = socket.create_connection((sys.argv[1], 3306), timeout=2)
    connection.settimeout(10)
    return connection
held = connected()
print("connected", flush=True)
try:
    held.recv(1)
except OSError as error:
    print(type(error).__name__, flush=True)
try:
    connected()
    print("taken", flush=True)
except OSError:
    print("not taken", flush=True)
"""


@ADDRESSES
def test_whoever_connects_again_at_once_does_not_meet_the_node_that_the_address_leaves(
    namespaces: dict[str, Node], vip_agent: Path, ip: str
) -> None:
    vip, python = Vip(vip_agent, ip=ip), ["/usr/bin/python3", "-IS", "-c"]
    assert vip(namespaces["a"], "start").returncode == 0
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:

        def begin(name: str, *words: str) -> subprocess.Popen[str]:
            argv = ["ip", "netns", "exec", namespaces[name].name, *python, *words]
            process = stack.enter_context(subprocess.Popen(argv, **pipes))
            stack.callback(process.kill)
            return process

        server = begin("a", _SERVER)
        assert server.stdout is not None
        assert server.stdout.readline() == "listens\n"
        clients = [begin("client", _HASTY, ip) for _ in range(2)]
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "connected\n"
        assert vip(namespaces["a"], "stop").returncode == 0
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.read().splitlines() == ["ConnectionResetError", "not taken"]
