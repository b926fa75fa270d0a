"""ocf:hafailover:vip on a real Ethernet between network namespaces."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from wire import Node, ethernet, launcher, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launcher(tmp_path_factory.mktemp("root"), "vip")


@pytest.fixture
def nodes() -> Iterator[dict[str, Node]]:
    with ethernet() as nodes:
        yield nodes


class Vip:
    """The resource, with parameters, on any node."""

    def __init__(self, agent: Path, **params: str) -> None:
        self.agent = agent
        self.env = {f"OCF_RESKEY_{name}": value for name, value in params.items()}
        # All namespaces share one /run, with other workers' as well.
        self.name = self.env["OCF_RESOURCE_INSTANCE"] = f"vip{os.getpid()}"

    def __call__(self, node: Node, action: str, interval: int = 0) -> subprocess.CompletedProcess[str]:
        env = {**self.env, "OCF_RESKEY_CRM_meta_interval": str(interval)}
        return node.exec(str(self.agent), action, env=env)


def reason(done: subprocess.CompletedProcess[str]) -> str:
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ocf-exit-reason:")]
    return line.partition(":")[2]


def refuses(done: subprocess.CompletedProcess[str], rc: int, *words: str) -> None:
    assert done.returncode == rc, done
    for word in words:
        assert word in reason(done)


ADDRESSES = pytest.mark.parametrize("ip", ["10.77.0.50", "fd77::50"])


@ADDRESSES
def test_life_of_an_address(nodes: dict[str, Node], agent: Path, ip: str) -> None:
    vip, node = Vip(agent, ip=ip), nodes["a"]
    wait_until(lambda: "fe80" in node.state())
    before = node.state()
    assert vip(node, "monitor").returncode == 7
    assert vip(node, "stop").returncode == 0
    assert vip(node, "start").returncode == 0
    assert any(address.startswith(ip + "/") for address in node.addresses())
    assert vip(node, "monitor").returncode == 0
    assert vip(node, "monitor", interval=10000).returncode == 0
    assert nodes["client"].exec("ping", "-c1", "-W2", ip).returncode == 0
    assert vip(node, "start").returncode == 0, "starting what runs succeeds"
    assert vip(node, "stop").returncode == 0
    assert node.state() == before
    assert node.processes() == []
    assert vip(node, "monitor").returncode == 7


@ADDRESSES
def test_neighbours_follow_at_once_after_the_old_node_fell_silent(nodes: dict[str, Node], agent: Path, ip: str) -> None:
    vip, client = Vip(agent, ip=ip), nodes["client"]
    vip(nodes["a"], "start")
    assert client.exec("ping", "-c1", "-W2", ip).returncode == 0
    assert client.neighbour(ip) == nodes["a"].mac
    client.ip("link", "set", "port-a", "down")
    assert vip(nodes["b"], "start").returncode == 0
    assert client.neighbour(ip) == nodes["b"].mac


@ADDRESSES
def test_neighbour_that_missed_the_first_announcement_is_told_again(
    nodes: dict[str, Node], agent: Path, ip: str
) -> None:
    vip, client = Vip(agent, ip=ip, repeats="2"), nodes["client"]
    vip(nodes["b"], "start")
    client.ip("neigh", "replace", ip, "lladdr", nodes["a"].mac, "dev", "switch", "nud", "stale")
    wait_until(lambda: client.neighbour(ip) == nodes["b"].mac, seconds=30)
    wait_until(lambda: nodes["b"].processes() == [], seconds=30)


def test_nothing_is_announced_for_an_address_that_was_taken_away(nodes: dict[str, Node], agent: Path) -> None:
    vip, client = Vip(agent, ip="10.77.0.50"), nodes["client"]
    vip(nodes["a"], "start")
    nodes["a"].ip("addr", "del", "10.77.0.50/24", "dev", "eth0")
    client.ip("neigh", "replace", "10.77.0.50", "lladdr", nodes["b"].mac, "dev", "switch", "nud", "stale")
    wait_until(lambda: nodes["a"].processes() == [], seconds=30)
    assert client.neighbour("10.77.0.50") == nodes["b"].mac


@ADDRESSES
def test_duplicate_is_refused_with_the_other_hardware_address(nodes: dict[str, Node], agent: Path, ip: str) -> None:
    vip = Vip(agent, ip=ip)
    vip(nodes["a"], "start")
    before = nodes["b"].addresses()
    refuses(vip(nodes["b"], "start"), 1, ip, "already in use", nodes["a"].mac)
    assert nodes["b"].addresses() == before
    assert nodes["b"].processes() == []
    assert vip(nodes["a"], "monitor", interval=10000).returncode == 0, "the owner is not disturbed by the question"


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
    nodes: dict[str, Node], agent: Path, ip: str, own: str, deaf: bool
) -> None:
    """Without that it would wait for ever: from an address that has gone nothing can be sent. Others' connections stay."""
    vip, python = Vip(agent, ip=ip), ["/usr/bin/python3", "-IS", "-c"]
    assert vip(nodes["a"], "start").returncode == 0
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    inside = [["ip", "netns", "exec", nodes[name].name] for name in ("a", "client")]
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
                nodes["a"].ip("route", "del", "local", ip, "dev", "eth0", "table", "local")
            assert vip(nodes["a"], "stop").returncode == 0
            assert client.stdout.read().split() == ["ConnectionResetError", "TimeoutError"]
        finally:
            server.kill()


def test_a_stop_that_was_ended_half_way_is_seen_and_mended_by_the_next_start(
    nodes: dict[str, Node], agent: Path
) -> None:
    """What is left then is an address that this node announces, and for which it takes nothing."""
    vip, node, client = Vip(agent, ip="10.77.0.50"), nodes["a"], nodes["client"]
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
    nodes: dict[str, Node], agent: Path, ip: str
) -> None:
    vip, python = Vip(agent, ip=ip), ["/usr/bin/python3", "-IS", "-c"]
    assert vip(nodes["a"], "start").returncode == 0
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as stack:

        def begin(name: str, *words: str) -> subprocess.Popen[str]:
            argv = ["ip", "netns", "exec", nodes[name].name, *python, *words]
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
        assert vip(nodes["a"], "stop").returncode == 0
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.read().splitlines() == ["ConnectionResetError", "not taken"]


def test_duplicate_is_taken_without_asking_when_detection_is_off(nodes: dict[str, Node], agent: Path) -> None:
    Vip(agent, ip="10.77.0.50")(nodes["a"], "start")
    assert Vip(agent, ip="10.77.0.50", dad="0")(nodes["b"], "start").returncode == 0


@ADDRESSES
def test_detection_keeps_its_budget_when_nobody_answers(nodes: dict[str, Node], ip: str) -> None:
    program = f"""
import sys, time
module = sys.modules["hafailover"] = type(sys)("hafailover")
module.__path__ = [{str(CHECKOUT)!r}]
from hafailover.agents.vip import neighbours, netlink, parse
link = next(link for link in netlink.links().values() if link.name == "eth0")
wire = neighbours.open_wire(link, parse({ip!r})[0])
begun = time.monotonic()
assert neighbours.other_claimant(wire, 0.04) is None
print(time.monotonic() - begun)
"""
    spent = sorted(float(nodes["a"].exec("/usr/bin/python3", "-IS", "-c", program).stdout) for _ in range(5))
    assert spent[0] >= 0.04
    assert spent[0] < 0.2, "the shortest, for this machine may be busy; the kernel's own question would take 1 s"


@ADDRESSES
def test_second_owner_is_reported_and_not_failed(nodes: dict[str, Node], agent: Path, ip: str) -> None:
    vip = Vip(agent, ip=ip)
    vip(nodes["a"], "start")
    other = (
        ["addr", "add", f"{ip}/24", "dev", "eth0"] if "." in ip else ["addr", "add", f"{ip}/64", "dev", "eth0", "nodad"]
    )
    nodes["b"].ip(*other)
    nodes["client"].ip("neigh", "replace", ip, "lladdr", nodes["b"].mac, "dev", "switch", "nud", "stale")
    refuses(vip(nodes["a"], "monitor", interval=10000), 190, nodes["b"].mac)
    assert nodes["client"].neighbour(ip) == nodes["a"].mac, "the owner claims it again"
    assert vip(nodes["a"], "monitor").returncode == 0, "a probe does not ask the neighbours"
    nodes["b"].ip("addr", "del", *other[2:5])
    assert vip(nodes["a"], "monitor", interval=10000).returncode == 0


def test_question_of_an_inventory_tool_is_no_second_owner(nodes: dict[str, Node], agent: Path) -> None:
    vip = Vip(agent, ip="10.77.0.50")
    asking = """
import socket, struct, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
mac, ip = bytes.fromhex("02000000ee01"), socket.inet_aton("10.77.0.50")
for _ in range(40):
    frame = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, bytes(4), bytes(6), ip)
    sock.sendto(frame, ("eth0", 0x806, 0, 0, bytes([255] * 6)))
    time.sleep(0.005)
"""
    asker = subprocess.Popen(["ip", "netns", "exec", nodes["b"].name, "/usr/bin/python3", "-c", asking])
    try:
        time.sleep(0.05)
        assert vip(nodes["a"], "start").returncode == 0
    finally:
        assert asker.wait(10) == 0


def test_missing_link_is_a_failure_even_though_the_address_is_there(nodes: dict[str, Node], agent: Path) -> None:
    vip = Vip(agent, ip="10.77.0.50")
    vip(nodes["a"], "start")
    nodes["client"].ip("link", "set", "port-a", "down")
    wait_until(lambda: "LOWER_UP" not in nodes["a"].show("link", "show", "eth0")[0]["flags"])
    refuses(vip(nodes["a"], "monitor", interval=10000), 1, "eth0", "no link")
    nodes["a"].ip("link", "set", "eth0", "down")
    refuses(vip(nodes["a"], "monitor", interval=10000), 1, "eth0 is down")
    assert vip(nodes["a"], "stop").returncode == 0
    refuses(vip(nodes["a"], "start"), 1, "cannot take 10.77.0.50", "eth0 is down")


def test_interface_is_found_by_the_narrowest_network(nodes: dict[str, Node], agent: Path) -> None:
    node = nodes["a"]
    for number, address in enumerate(("10.0.0.1/8", "10.78.0.1/16", "10.78.5.1/25"), start=1):
        node.ip("link", "add", f"eth{number}", "type", "veth", "peer", "name", f"far{number}")
        node.ip("link", "set", f"eth{number}", "up")
        node.ip("link", "set", f"far{number}", "up")
        node.ip("addr", "add", address, "dev", f"eth{number}")
    for ip, interface, prefix in (
        ("10.1.1.1", "eth1", 8),
        ("10.78.9.9", "eth2", 16),
        ("10.78.5.99", "eth3", 25),
        ("10.77.0.99", "eth0", 24),
    ):
        assert Vip(agent, ip=ip)(node, "start").returncode == 0
        assert f"{ip}/{prefix}" in node.addresses(interface)
        assert Vip(agent, ip=ip)(node, "stop").returncode == 0


def test_address_outside_of_every_network_needs_an_interface(nodes: dict[str, Node], agent: Path) -> None:
    refuses(Vip(agent, ip="192.0.2.9")(nodes["a"], "start"), 5, "192.0.2.9", "set nic", "10.77.0.1/24 on eth0")
    assert Vip(agent, ip="192.0.2.9")(nodes["a"], "monitor").returncode == 7
    assert Vip(agent, ip="192.0.2.9", nic="eth0")(nodes["a"], "start").returncode == 0
    assert "192.0.2.9/32" in nodes["a"].addresses()
    assert (
        Vip(agent, ip="192.0.2.9", nic="eth0", cidr_netmask="255.255.255.0")(nodes["b"], "validate-all").returncode == 0
    )
    refuses(Vip(agent, ip="192.0.2.9", nic="eth9")(nodes["a"], "validate-all"), 5, "eth9", "lo, eth0")


def test_address_in_the_wrong_place_is_a_failure_that_start_mends(nodes: dict[str, Node], agent: Path) -> None:
    node = nodes["a"]
    node.ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    node.ip("link", "set", "eth1", "up")
    node.ip("addr", "add", "10.77.0.50/32", "dev", "eth1")
    vip = Vip(agent, ip="10.77.0.50/24", nic="eth0")
    refuses(vip(node, "monitor"), 1, "10.77.0.50/32 on eth1", "24")
    assert vip(node, "start").returncode == 0
    assert "10.77.0.50/24" in node.addresses("eth0")
    assert node.addresses("eth1") == [address for address in node.addresses("eth1") if address.startswith("fe80")]
    node.ip("addr", "add", "10.77.0.50/32", "dev", "eth1")
    refuses(vip(node, "monitor"), 1, "2 times", "eth0", "eth1")
    assert vip(node, "stop").returncode == 0
    assert "10.77.0.50" not in node.state()


def test_stop_spares_the_nodes_own_address_when_ours_came_first(nodes: dict[str, Node], agent: Path) -> None:
    node, vip = nodes["a"], Vip(agent, ip="10.77.0.50")
    vip(node, "start")
    node.ip("addr", "del", "10.77.0.1/24", "dev", "eth0")  # a network restart: away, and back as a secondary one
    vip(node, "start")
    node.ip("addr", "replace", "10.77.0.50/24", "dev", "eth0")
    node.ip("addr", "add", "10.77.0.1/24", "dev", "eth0")
    assert vip(node, "stop").returncode == 0
    assert "10.77.0.1/24" in node.addresses()
    assert "10.77.0.50" not in node.state()


def test_ipv6_connections_of_the_node_do_not_start_from_the_address(nodes: dict[str, Node], agent: Path) -> None:
    vip, node = Vip(agent, ip="fd77::2:50"), nodes["a"]
    vip(node, "start")
    (route,) = node.show("-6", "route", "get", "fd77::2:51")  # the address is the closest match, and yet
    assert route["prefsrc"] == "fd77::1"


def test_address_on_an_interface_without_neighbours(nodes: dict[str, Node], agent: Path) -> None:
    vip, node = Vip(agent, ip="192.0.2.9", nic="lo"), nodes["a"]
    assert vip(node, "start").returncode == 0
    assert vip(node, "monitor", interval=10000).returncode == 0
    assert node.processes() == []
    assert vip(node, "stop").returncode == 0


def test_stop_ends_an_announcer_that_does_not_answer(nodes: dict[str, Node], agent: Path) -> None:
    vip, node = Vip(agent, ip="10.77.0.50"), nodes["a"]
    vip(node, "start")
    (pid,) = node.processes()
    os.kill(int(pid), signal.SIGSTOP)
    assert vip(node, "stop").returncode == 0
    wait_until(lambda: node.processes() == [], seconds=30)


def test_without_privileges_it_says_so(nodes: dict[str, Node], agent: Path) -> None:
    vip = Vip(agent, ip="10.77.0.50")
    argv = ["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-all", str(agent), "start"]
    refuses(nodes["a"].exec(*argv, env=vip.env), 4, "not permitted", "root")


def test_output_ends_with_the_agent(nodes: dict[str, Node], agent: Path) -> None:
    """Pacemaker reads an agent's output to its end; an announcer that kept it open would make start last 6 seconds."""
    vip = Vip(agent, ip="10.77.0.50")
    begun = time.monotonic()
    assert vip(nodes["a"], "start").returncode == 0
    assert time.monotonic() - begun < 5.5
    assert len(nodes["a"].processes()) == 1
    group = os.getpgid(int(nodes["a"].processes()[0]))
    assert group != os.getpgid(0)
