#!/usr/bin/python3
"""What the safety costs: the same two servers with our agents and semi-synchronous replication, and without.

Writers in closed loop (one row, one commit, the next) through the virtual address, one connection and eight. The variants take
turns in every round, so that whatever else the machine does falls on all of them. What makes a commit durable on one server
(sync_binlog=1, innodb_flush_log_at_trx_commit=1) is the same in all; what differs is what replication adds:

* hafailover: our agents; a commit waits until a replica has it on disk (AFTER_SYNC, no fallback, sync_relay_log=1)
* asynchronous: nobody waits and no agent runs; sync_relay_log as it is by default
* stock semi-sync: the server's defaults (AFTER_COMMIT, falls back after 10 s, sync_relay_log=10000), no agent runs
* unsynced relay log: as hafailover, but sync_relay_log as it is by default: what the replica's fsync for each event costs
* without agents: as hafailover, but Pacemaker and the agents are at rest: what the agents themselves cost

    bin/hafailover lab up
    bench/price.py                      # a Markdown table
    bench/price.py --rounds 7 -o json
"""

from __future__ import annotations

import contextlib
import json
import secrets
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import common
from hafailover.crm.drill import database
from hafailover.crm.drill.conditions import Written
from hafailover.crm.drill.ledger import Ledger
from hafailover.crm.drill.settled import look
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import cgroups, host
from hafailover.vagrant.drill import target
from hafailover.vagrant.lab import Lab

OURS, ASYNC, STOCK, BARE = "hafailover", "asynchronous", "stock semi-sync", "without agents"
UNSYNCED = "unsynced relay log"
CONNECTIONS = (1, 8)
SETTLED_WITHIN = 120.0

# Runs on the lab's network: one process per connection. Input: where and how long; output: each commit's seconds.
WRITER = """
import json, multiprocessing, sys, time
import pymysql

def write(task, start, found):
    connection = pymysql.connect(host=task["host"], port=task["port"], user=task["user"], password=task["password"],
                                 database=task["database"], autocommit=True, read_timeout=30)
    statement = "INSERT INTO %s (writer, seq, server) VALUES ('price', 1, @@server_id)" % task["table"]
    start.wait()
    took, end = [], time.perf_counter() + task["seconds"]
    while True:
        begun = time.perf_counter()
        connection.query(statement)
        now = time.perf_counter()
        took.append(now - begun)
        if now >= end:
            break
    found.put(took)

task = json.load(sys.stdin)
fork = multiprocessing.get_context("fork")
start, found = fork.Barrier(task["connections"] + 1), fork.Queue()
writers = [fork.Process(target=write, args=(task, start, found)) for _ in range(task["connections"])]
for writer in writers:
    writer.start()
start.wait()
begun = time.perf_counter()
took = [found.get(timeout=task["seconds"] + 60) for _ in writers]
seconds = time.perf_counter() - begun
for writer in writers:
    writer.join()
json.dump({"seconds": seconds, "took": [one for each in took for one in each]}, sys.stdout)
"""


class Sample(NamedTuple):
    """One run of one variant: commits per second, latencies in ms, and processor time in ms per 1,000 commits.

    A node's processor time is everything that runs on it: the server, Pacemaker, Corosync, the agents.
    """

    variant: str
    connections: int
    per_second: float
    median_ms: float
    p99_ms: float
    primary_cpu: float
    replica_cpu: float


class Price:
    """Takes the samples on one lab. ``primary`` and ``replicas`` are its nodes now."""

    def __init__(self, lab: Lab, aim: Target, seconds: float) -> None:
        self.lab, self.aim, self.seconds = lab, aim, seconds
        self.primary = self._settled()
        self.replicas = [node for node in aim.nodes if node != self.primary]
        self._password = secrets.token_urlsafe(24)
        database.prepare(lab, self.primary, self._password)

    def _settled(self) -> str:
        conditions = Written(self.lab, self.aim, Hafailover(), Ledger(), {})
        return host.wait(
            "all servers are in sync", SETTLED_WITHIN, lambda: look(self.lab, self.aim, conditions).primary, 0.3
        )

    def close(self) -> None:
        """Remove the schema and the account."""
        database.clean_up(self.lab, self.primary)

    @contextlib.contextmanager
    def variant(self, name: str) -> Iterator[None]:
        """The servers as ``name`` has them; afterwards ours again, in sync."""
        if name == OURS:
            yield
            return
        if name == UNSYNCED:
            self._sync_relay_log(10000)
            try:
                yield
            finally:
                self._sync_relay_log(1)
            return
        self._rest(True)
        try:
            if name != BARE:
                self._replication(enabled=name == STOCK)
            yield
        finally:
            self._as_ours()
            self._rest(False)
            if self._settled() != self.primary:
                raise HafailoverError("the primary's role has moved while it was measured")

    def _rest(self, rest: bool) -> None:
        """Take the cluster's hands off the servers: no monitors, and no helper beside the primary."""
        argv = ["crm_attribute", "--name", "maintenance-mode", "--update", "true" if rest else "false"]
        self.lab.exec(self.primary, argv, check=True)
        if rest:
            helper = f"hafailover-mariadb-{self.aim.database}-tend.service"
            self.lab.exec(self.primary, ["systemctl", "stop", helper])  # not every version has one
            time.sleep(3.0)  # a monitor that was under way ends

    def _replication(self, enabled: bool) -> None:
        wanted = "SET GLOBAL rpl_semi_sync_master_enabled=OFF;"
        if enabled:
            wanted += (
                "SET GLOBAL rpl_semi_sync_master_wait_point=AFTER_COMMIT; SET GLOBAL rpl_semi_sync_master_timeout=10000;"
                "SET GLOBAL rpl_semi_sync_master_enabled=ON;"
            )
        database.sql(self.lab, self.primary, wanted)
        self._sync_relay_log(10000)

    def _sync_relay_log(self, events: int) -> None:
        for node in self.replicas:
            database.sql(self.lab, node, f"SET GLOBAL sync_relay_log={events}")

    def _as_ours(self) -> None:
        self._sync_relay_log(1)
        database.sql(
            self.lab,
            self.primary,
            "SET GLOBAL rpl_semi_sync_master_wait_point=AFTER_SYNC;"
            "SET GLOBAL rpl_semi_sync_master_timeout=18446744073709551615;",
        )

    def sample(self, name: str, connections: int) -> Sample:
        """Write for the given seconds over so many connections."""
        database.sql(self.lab, self.primary, f"TRUNCATE TABLE {database.SCHEMA}.{database.TABLE}")
        task = {
            "host": self.aim.ip,
            "port": self.aim.port,
            "user": database.USER,
            "password": self._password,
            "database": database.SCHEMA,
            "table": database.TABLE,
            "seconds": self.seconds,
            "connections": connections,
        }
        nodes = [self.primary, *self.replicas]
        before = {node: self._cpu(node) for node in nodes}
        argv = ["/usr/bin/python3", "-I", "-c", WRITER]
        answer = self.lab.client_exec(argv, self.seconds + 90, json.dumps(task), check=True)
        used = {node: self._cpu(node) - before[node] for node in nodes}
        found = json.loads(answer.stdout)
        took = sorted(found["took"])
        thousands = len(took) / 1000
        return Sample(
            name,
            connections,
            len(took) / found["seconds"],
            statistics.median(took) * 1000,
            took[min(len(took) - 1, int(len(took) * 0.99))] * 1000,
            used[self.primary] * 1000 / thousands,
            sum(used[node] for node in self.replicas) * 1000 / thousands,
        )

    def _cpu(self, node: str) -> float:
        """Processor seconds of everything that ever ran on a node since it booted."""
        for directory in cgroups.directories(self.lab.name, node):
            with contextlib.suppress(FileNotFoundError):
                for line in (directory / "cpu.stat").read_text().splitlines():
                    if line.startswith("usage_usec "):
                        return int(line.split()[1]) / 1e6
        raise HafailoverError("this machine has no cgroup v2 hierarchy that counts processor time")


VALUES = ("per_second", "median_ms", "p99_ms", "primary_cpu", "replica_cpu")


def medians(samples: Sequence[Sample]) -> dict[tuple[str, int], dict[str, float]]:
    """Group by variant and connections; the median of each value over the rounds."""
    groups: dict[tuple[str, int], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.variant, sample.connections), []).append(sample)
    return {
        key: {value: statistics.median(getattr(one, value) for one in group) for value in VALUES}
        for key, group in groups.items()
    }


def summary(samples: Sequence[Sample], rounds: int, seconds: float) -> dict[str, Any]:
    """Medians of every variant, and ours divided by each of the others: above 1 is more of it."""
    middle = medians(samples)
    rows = []
    for (variant, connections), values in sorted(middle.items(), key=lambda item: (item[0][1], item[0][0] != OURS)):
        ours = middle[(OURS, connections)]
        ratios = {value: round(ours[value] / values[value], 2) for value in VALUES if values[value]}
        rounded = {value: round(number, 2) for value, number in values.items()}
        rows.append(
            {
                "variant": variant,
                "connections": connections,
                **rounded,
                **({} if variant == OURS else {"ratio": ratios}),
            }
        )
    return {"rounds": rounds, "seconds": seconds, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """The summary in Markdown: the value, and in brackets ours against it."""
    lines = [
        "| variant | connections | commits/s | median ms | p99 ms | primary CPU ms/1000 | replicas CPU ms/1000 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        ratio = row.get("ratio", {})
        cells = [f"{row[value]:g}" + (f" (x{ratio[value]:g})" if value in ratio else "") for value in VALUES]
        lines.append(f"| {row['variant']} | {row['connections']} | {' | '.join(cells)} |")
    lines.append("")
    lines.append(
        f"Medians of {found['rounds']} rounds of {found['seconds']:g} s; in brackets, ours divided by that variant's."
    )
    return "\n".join(lines)


def measure(lab: Lab, variants: Sequence[str], rounds: int, seconds: float) -> list[Sample]:
    """All samples; what each round does is told on standard error."""
    price = Price(lab, target.of_lab(lab.name), seconds)
    samples = []
    try:
        for number in range(rounds):
            turn = number % len(variants)
            for name in [*variants[turn:], *variants[:turn]]:
                with price.variant(name):
                    for connections in CONNECTIONS:
                        samples.append(price.sample(name, connections))
                        print(f"round {number + 1}/{rounds}: {samples[-1]}", file=sys.stderr)  # noqa: T201
    finally:
        price.close()
    return samples


def main() -> None:
    """Measure on the only lab, or the one named, and print."""
    parser = common.parser("The price of the safety, against the same servers without it.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all variants (default: 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of one sample (default: 5)")
    options = parser.parse_args()
    if options.rounds < 1 or not 0 < options.seconds <= 600:
        parser.error("--rounds must be at least 1, --seconds between 0 and 600")
    with common.ending("price"):
        lab = common.lab(options.lab)
        samples = measure(lab, (OURS, ASYNC, STOCK, UNSYNCED, BARE), options.rounds, options.seconds)
    found = summary(samples, options.rounds, options.seconds)
    common.answer(options, found, table(found))


if __name__ == "__main__":
    main()
