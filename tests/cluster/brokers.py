"""What the tests of a broker cluster ask and do; run as a program it is one client that publishes or consumes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pika
from pika.exceptions import AMQPError

QUEUE = "work"
UNIT = "rabbitmq-server.service"
MNESIA = "/var/lib/rabbitmq/mnesia"
_DISTRIBUTION = 25672


def connect(hosts: list[str], password: str, turn: int) -> Any:
    """A connection to one of the brokers; AMQPError or OSError."""
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            hosts[turn % len(hosts)],
            credentials=pika.PlainCredentials("app", password),
            heartbeat=4,
            blocked_connection_timeout=5,
            socket_timeout=3,
            stack_timeout=5,
        )
    )


def publish(hosts: list[str], password: str, log: Path) -> None:
    """Publish numbers, on from the last in the log, with confirms, each until it is confirmed; then, and only then, it is in the log."""
    before = log.read_text().split() if log.exists() else []
    number, turn = 1 + int(before[-2] if before else 0), 0
    while True:
        try:
            channel = connect(hosts, password, turn).channel()
            channel.queue_declare(QUEUE, durable=True)
            channel.confirm_delivery()
            while True:
                body = str(number).encode()
                properties = pika.BasicProperties(delivery_mode=2)
                channel.basic_publish("", QUEUE, body, properties, mandatory=True)  # raises unless confirmed
                with log.open("a") as file:
                    file.write(f"{number} {time.time():.2f}\n")
                number += 1
                time.sleep(0.05)
        except (AMQPError, OSError):
            turn += 1
            time.sleep(0.2)


def consume(hosts: list[str], password: str, log: Path) -> None:
    """Note each message, then acknowledge it."""
    turn = 1
    while True:
        try:
            channel = connect(hosts, password, turn).channel()
            channel.queue_declare(QUEUE, durable=True)
            for method, _, body in channel.consume(QUEUE):
                with log.open("a") as file:
                    file.write(f"{body.decode()} {time.time():.2f}\n")
                channel.basic_ack(method.delivery_tag)
        except (AMQPError, OSError):
            turn += 1
            time.sleep(0.2)


class Load:
    """A publisher and a consumer outside of the nodes, and their ledger."""

    def __init__(self, lab: Any, hosts: list[str], password: str, directory: Path) -> None:
        self._lab, self._hosts, self._password, self._directory = lab, hosts, password, directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for what in ("publish", "consume"):
            self.begin(what)

    def begin(self, what: str) -> None:
        """Start the publisher or the consumer."""
        argv = [sys.executable, __file__, what, str(self._directory / what), *self._hosts]
        process = self._lab.client_popen(argv, stdin=subprocess.PIPE)
        process.stdin.write(self._password.encode())
        process.stdin.close()
        self._running[what] = process

    def end(self, what: str) -> None:
        """End it."""
        process = self._running.pop(what)
        process.terminate()
        process.wait(timeout=20)

    def close(self) -> None:
        """End both."""
        for what in list(self._running):
            self.end(what)

    def numbers(self, what: str) -> set[int]:
        """What was confirmed ("publish") or has arrived ("consume")."""
        return {number for number, _ in self.lines(what)}

    def lines(self, what: str) -> list[tuple[int, float]]:
        """The same with the Unix time of each."""
        path = self._directory / what
        text = path.read_text() if path.exists() else ""
        return [(int(line.split()[0]), float(line.split()[1])) for line in text.splitlines() if line.count(" ") == 1]


def until(what: str, check: Any, seconds: float = 180.0) -> Any:
    """Poll until ``check`` returns something true, and return it."""
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.3)


def shell(lab: Any, node: str, script: str, timeout: float = 120) -> str:
    """Run a script in a node; its output. AssertionError when it fails."""
    done = lab.exec(node, ["bash", "-euc", script], timeout=timeout)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return str(done.stdout).strip()


def well(lab: Any, node: str, members: list[str]) -> bool:
    """Whether the broker on ``node`` runs, is known to be well, and sees all ``members`` running."""
    if lab.states()[node].power != "on":
        return False
    script = (
        f"cd {MNESIA}/rabbit@{node} && cat cluster_nodes.config nodes_running_at_shutdown && ls /run/hafailover && "
        "ss -ltnH '( sport = :5672 )' | grep -c ."
    )
    done = lab.exec(node, ["sh", "-c", script], timeout=30)
    lines = done.stdout.split("\n")
    notes = [f"mq.{note}" in lines for note in ("idle", "booting", "unwell", "apart")]
    return done.returncode == 0 and "mq.since" in lines and not any(notes) and all(
        f"rabbit@{name}" in lines[0] and f"rabbit@{name}" in lines[1] for name in members
    )  # fmt: skip


def healthy(lab: Any, members: list[str] | None = None) -> None:
    """Wait until every broker is well, and Pacemaker agrees."""
    names = members or lab.data_nodes

    def all_well() -> bool:
        return all(well(lab, node, names) for node in names) and (members is not None or not lab.problems())

    until("all brokers are well", all_well)


def events(lab: Any, node: str, name: str, since: float) -> list[str]:
    """The messages of the agent's events of this name."""
    return [record["MESSAGE"] for record in lab.journal(node, since, [f"HAFAILOVER_EVENT=rabbitmq.{name}"])]


def reason(lab: Any, node: str) -> str:
    """The exit reasons that Pacemaker holds of the resource on ``node``."""
    return str(
        lab.exec(node, ["cibadmin", "-Q", "-A", f"//node_state[@uname='{node}']//lrm_resource[@id='mq']"]).stdout
    )


def standby(lab: Any, node: str, by: str, on: bool) -> None:
    """Put a node into standby, or take it out."""
    lab.exec(by, ["crm_standby", "-N", node, "-v", "on" if on else "off"], check=True)


def ended(lab: Any, node: str) -> bool:
    """Whether no broker runs there."""
    return lab.exec(node, ["pgrep", "-x", "beam.smp"]).returncode != 0


def sever(lab: Any, node: str, peer: str) -> None:
    """Cut the brokers' connection alone: Pacemaker goes on as if nothing was."""
    rules = "".join(
        f"  chain {hook} {{\n    type filter hook {hook} priority 0\n"
        f"    ip {side} {peer} tcp dport {_DISTRIBUTION} drop\n    ip {side} {peer} tcp sport {_DISTRIBUTION} drop\n  }}\n"
        for hook, side in (("input", "saddr"), ("output", "daddr"))
    )
    done = lab.exec(node, ["nft", "-f", "-"], input=f"table inet severed {{\n{rules}}}\n")
    assert done.returncode == 0, done.stderr


def mend(lab: Any, node: str) -> None:
    """Undo ``sever``; nothing if it was not done."""
    lab.exec(node, ["nft", "delete", "table", "inet", "severed"])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        {"publish": publish, "consume": consume}[sys.argv[1]](sys.argv[3:], sys.stdin.read(), Path(sys.argv[2]))
