"""Two nodes and a client on one Ethernet, each in a network namespace of its own, for tests that need a real network."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

MACS = {"a": "02:00:00:00:0a:01", "b": "02:00:00:00:0b:01", "client": "02:00:00:00:0c:01"}
HOSTS = {"a": 1, "b": 2, "client": 3}


PREFIX = "hafailover-test"


class Node:
    """A network namespace; on its interface eth0 it has 10.77.0.N/24 and fd77::N/64."""

    def __init__(self, name: str) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{name}"
        self.mac = MACS[name]

    def ip(self, *words: str) -> str:
        return run("ip", "-n", self.name, *words).stdout

    def show(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ip("-j", *words) or "[]")
        return found

    def exec(self, *argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return run("ip", "netns", "exec", self.name, *argv, check=False, env={**os.environ, **(env or {})})

    def addresses(self, interface: str = "eth0") -> list[str]:
        (link,) = self.show("addr", "show", "dev", interface)
        return [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]

    def neighbour(self, address: str) -> str | None:
        """The hardware address that this node has in its cache for ``address``."""
        return next((entry.get("lladdr") for entry in self.show("neigh") if entry["dst"] == address), None)

    def processes(self) -> list[str]:
        return run("ip", "netns", "pids", self.name).stdout.split()

    def state(self) -> str:
        """Everything that an address could leave behind in the kernel, but for the contents of caches and counters."""
        lines = [self.ip("addr"), self.ip("route", "show", "table", "all"), self.ip("rule")]
        lines.append(self.ip("-6", "route", "show", "table", "all"))
        return "\n".join(line for line in "\n".join(lines).splitlines() if "valid_lft" not in line)


def run(*argv: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=check, capture_output=True, text=True, timeout=30, **options)


def wait_until(what: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def remove_orphans() -> None:
    """Remove the namespaces of test runs that were killed: nothing else would."""
    for line in run("ip", "netns", "list").stdout.splitlines():
        prefix, _, rest = line.split()[0].rpartition(f"{PREFIX}-")
        pid = rest.partition("-")[0]
        if not prefix and pid.isdigit() and not Path(f"/proc/{pid}").exists():
            run("ip", "netns", "del", f"{PREFIX}-{rest}", check=False)


@contextmanager
def ethernet() -> Iterator[dict[str, Node]]:
    """The nodes "a" and "b", and "client", on one switch."""
    remove_orphans()
    nodes = {name: Node(name) for name in MACS}
    switch = Node("client")
    try:
        for node in nodes.values():
            run("ip", "netns", "add", node.name)
            run("ip", "netns", "exec", node.name, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        switch.ip("link", "add", "switch", "address", switch.mac, "type", "bridge")
        switch.ip("link", "set", "switch", "up")
        for name, node in nodes.items():
            node.ip("link", "set", "lo", "up")
            if name == "client":
                interface = "switch"
            else:
                interface = "eth0"
                cable = ["type", "veth", "peer", "name", f"port-{name}", "netns", switch.name]
                node.ip("link", "add", "eth0", "address", node.mac, *cable)
                switch.ip("link", "set", f"port-{name}", "master", "switch", "up")
                node.ip("link", "set", "eth0", "up")
            node.ip("addr", "add", f"10.77.0.{HOSTS[name]}/24", "dev", interface)
            node.ip("addr", "add", f"fd77::{HOSTS[name]}/64", "dev", interface, "nodad")
        for name in ("a", "b"):
            wait_until(lambda node=nodes[name]: "LOWER_UP" in node.show("link", "show", "eth0")[0]["flags"])
        yield nodes
    finally:
        for node in nodes.values():
            run("ip", "netns", "del", node.name, check=False)


def launcher(root: Path, agent: str) -> Path:
    """The launcher of an agent, installed below ``root`` from this checkout."""
    from hafailover.crm.install import AGENTS_DIR, install

    install(root)
    return root / AGENTS_DIR / agent
