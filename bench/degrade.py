#!/usr/bin/python3
"""How long a lost replica holds up the primary's writers.

Two ways to lose it, in turn: its server is stopped (SIGSTOP) while the membership is intact, and its node loses power. For each loss the
longest commit of a client that writes all the time, and the time until the agent has recorded the replica as stale and released
the commits: for the lost node counted from Corosync's new membership on the primary, because the record cannot be written before.

    bin/hafailover lab up
    bench/degrade.py                # a Markdown table
    bench/degrade.py -n 20 -o json
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import common
from hafailover.crm.drill.conditions import Written
from hafailover.crm.drill.ledger import Ledger
from hafailover.crm.drill.settled import look
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill import target
from hafailover.vagrant.lab import Lab

STOPPED, POWER = "server stopped", "node without power"
SETTLED_WITHIN = 120.0
RELEASED_WITHIN = 60.0
READY_WITHIN = 30.0
LEAD = 1.0  # seconds of writing before the loss

# Runs on the primary. One row, one commit, the next; prints the longest one's seconds when its standard input ends.
WRITER = """
import select, sys, time
import pymysql
link = pymysql.connect(user="root", unix_socket=sys.argv[1], autocommit=True)
link.query("CREATE DATABASE IF NOT EXISTS hafailover_bench")
link.query("CREATE TABLE IF NOT EXISTS hafailover_bench.writes (id BIGINT AUTO_INCREMENT PRIMARY KEY)")
longest = 0.0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.005)[0]:
    begun = time.monotonic()
    link.query("INSERT INTO hafailover_bench.writes VALUES ()")
    longest = max(longest, time.monotonic() - begun)
link.query("DROP DATABASE hafailover_bench")
print(longest)
"""


class Sample(NamedTuple):
    """One loss, in seconds. released: until commits were released, counted from the new membership (power) or the stop (stopped)."""

    way: str
    longest_commit: float
    released: float


class Bench:
    """Loses one replica of one lab again and again."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.aim = target.of_lab(lab.name)
        self.unit = f"hafailover-mariadb-{self.aim.database}.service"

    def settled(self) -> str:
        """Wait until all servers are in sync; the primary's node."""
        conditions = Written(self.lab, self.aim, Hafailover(), Ledger(), {})
        found = host.wait(
            "all servers are in sync", SETTLED_WITHIN, lambda: look(self.lab, self.aim, conditions).primary, 0.3
        )
        return str(found)

    def sample(self, way: str) -> Sample:
        """One loss, and everything as it was."""
        primary = self.settled()
        replica = next(node for node in self.aim.nodes if node != primary)
        since = time.time()
        writer = self.lab.popen(
            primary,
            ["/usr/bin/python3", "-I", "-c", WRITER, self.aim.socket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert writer.stdout is not None
            answered = select.select([writer.stdout], [], [], READY_WITHIN)[0]
            if not answered or writer.stdout.readline().strip() != "ready":
                raise HafailoverError(f"the writer on {primary} could not begin")
            time.sleep(LEAD)
            lost = time.time()
            lose, restore = self._ways(replica)[way]
            lose()
            try:
                released = host.wait(
                    "commits are released", RELEASED_WITHIN, lambda: self._released(primary, lost), 0.2
                )
                if way == POWER:
                    lost = self._membership(primary, since)
                longest = float(writer.communicate(input="", timeout=60)[0])
            finally:
                restore()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(writer.pid, signal.SIGKILL)
            writer.wait(10)
        return Sample(way, longest, float(released) - lost)

    def _ways(self, replica: str) -> Mapping[str, tuple[Callable[[], Any], Callable[[], Any]]]:
        def on() -> None:
            self.lab.power_on(replica)
            self.lab.await_boot(replica)

        return {
            STOPPED: (
                lambda: self.lab.kill(replica, self.unit, signal.SIGSTOP),
                lambda: self.lab.kill(replica, self.unit, signal.SIGCONT),
            ),
            POWER: (lambda: self.lab.power_off(replica, hold=True), on),
        }

    def _released(self, node: str, since: float) -> float | None:
        return next(self._times(node, since, "HAFAILOVER_EVENT=degrade", "released"), None)

    def _membership(self, node: str, since: float) -> float:
        found = next(self._times(node, since, "SYSLOG_IDENTIFIER=corosync", "Members left"), None)
        if found is None:
            raise HafailoverError(f"Corosync on {node} has not said that it has a new membership")
        return found

    def _times(self, node: str, since: float, match: str, words: str) -> Any:
        for record in self.lab.journal(node, since, [match]):
            if words in record["MESSAGE"]:
                yield int(record["__REALTIME_TIMESTAMP"]) / 1e6


def summary(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Median and range of each way."""
    rows = []
    for way in (STOPPED, POWER):
        found = [sample for sample in samples if sample.way == way]
        row: dict[str, Any] = {"way": way, "runs": len(found)}
        for name in ("longest_commit", "released"):
            values = sorted(getattr(sample, name) for sample in found)
            row[name] = {
                "median": round(statistics.median(values), 3),
                "range": [round(values[0], 3), round(values[-1], 3)],
            }
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary in Markdown."""
    lines = [
        "| the replica's | runs | longest commit, s (range) | released after, s (range) | counted from |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            "{median:g} ({range[0]:g}-{range[1]:g})".format(**row[name]) for name in ("longest_commit", "released")
        ]
        begin = "the stop" if row["way"] == STOPPED else "the new membership"
        lines.append(f"| {row['way']} | {row['runs']} | {' | '.join(cells)} | {begin} |")
    return "\n".join(lines)


def main() -> None:
    """Measure on the only lab, or the one named, and print."""
    parser = common.parser("How long a lost replica holds up the primary's writers.")
    parser.add_argument("-n", "--runs", type=int, default=10, help="losses of each kind (default: 10)")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    with common.ending("degrade"):
        bench = Bench(common.lab(options.lab))
        samples = []
        for number in range(options.runs):
            for way in (STOPPED, POWER):
                samples.append(bench.sample(way))
                print(f"{number + 1}/{options.runs}: {samples[-1]}", file=sys.stderr)  # noqa: T201
    rows = summary(samples)
    common.answer(options, rows, table(rows))


if __name__ == "__main__":
    main()
