#!/usr/bin/python3
"""What grows with the cluster: the time of a failover and of a move, and the cost of a monitor, with more nodes and more resources.

Each size has a lab of its own, in which agents that do nothing and ours take turns: what Pacemaker itself needs grows, too. All nodes
share one machine's processors, so more nodes are also less machine for each; the ratio is what counts. Extra resources are
ocf:pacemaker:Dummy with a monitor every ten seconds.

    bench/growth.py                          # all sizes, a Markdown table
    bench/growth.py --size 3x1 -n 10 -o json
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import agent_cost
import common
import failover
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.errors import UsageError
from hafailover.vagrant import assembly
from hafailover.vagrant.drill import session
from hafailover.vagrant.lab import Lab

LAB = "growth"
SCENARIOS = ("kill-primary", "switchover")
_HEALTHY = 120.0  # seconds
MONITORS = ("ocf:hafailover:mariadb (Promoted)", "ocf:heartbeat:mysql (Promoted)")


class Size(NamedTuple):
    """How many database nodes the cluster has, and how many resources beside the database and its address."""

    nodes: int
    extras: int

    def __str__(self) -> str:
        return f"{self.nodes}x{self.extras}"


SIZES = (Size(2, 1), Size(2, 10), Size(2, 50), Size(3, 1), Size(5, 1))


class Growth(NamedTuple):
    """One size: seconds of ``scenario`` with agents that do nothing and with ours, each one's median over ``runs``."""

    nodes: int
    extras: int
    scenario: str
    runs: int
    null_s: float | None
    hafailover_s: float | None
    ratio: float | None
    not_ok: int


class Monitor(NamedTuple):
    """One size: processor time of a promoted database's monitor, the median in milliseconds."""

    nodes: int
    extras: int
    monitor: str
    runs: int
    cpu_ms: float


def topology(size: Size) -> str:
    """Its text. An even number of nodes has a quorum device, as a pair should."""
    lines = [
        "version: 1",
        "lab: true",
        "cluster: {name: growth, secrets_dir: secrets, encryption: off, detection: {token: 1s}}",
        "nodes:",
    ]
    lines += [f"  db{i}: {{id: {i}, links: [10.77.0.{10 + i}, 10.77.1.{10 + i}]}}" for i in range(1, size.nodes + 1)]
    if size.nodes % 2 == 0:
        lines.append("quorum: {device: {host: 10.77.0.9, algorithm: ffsplit, tls: off}}")
    lines += ["vips:", "  vip: {ip: 10.77.0.100/24, follows: db.primary}", "services:", "  db: {type: mariadb}"]
    return "\n".join(lines) + "\n"


def extra(number: int) -> str:
    """One more resource, in the CIB's XML."""
    name = f"extra-{number}"
    return (
        f'<primitive id="{name}" class="ocf" provider="pacemaker" type="Dummy"><operations>'
        f'<op id="{name}-monitor" name="monitor" interval="10s" timeout="60s"/></operations></primitive>'
    )


def parsed(text: str) -> Size:
    """A size from NODESxEXTRAS; UsageError."""
    nodes, _, extras = text.partition("x")
    if not (nodes.isdigit() and extras.isdigit()) or not 2 <= int(nodes) <= 9:
        raise UsageError(f"a size is NODESxEXTRAS with two to nine nodes, such as 3x10, not {text}")
    return Size(int(nodes), int(extras))


def measure(size: Size, runs: int, scratch: Path, say: session.Progress) -> tuple[list[Growth], list[Monitor]]:
    """A lab of that size is made, measured and removed. HafailoverError."""
    directory = scratch / str(size)
    directory.mkdir()
    file = directory / "topology.yml"
    file.write_text(topology(size))
    rows = [row for row in failover.ROWS if row.name in SCENARIOS]
    stacks = [failover.NULL, Hafailover.name]
    with session.lab(LAB, say, file) as lab:
        _add(lab, size.extras)
        samples = list(failover.measure(lab, stacks, rows, runs, max(1, runs // 2), directory, say))
        # Ours have just been put back, and have to find a primary again.
        assembly.await_health(lab, _HEALTHY, say)
        now = agent_cost.role(lab)
        costs = agent_cost.measure(lab, now.primary, now, runs=10 * runs)
    results = {(one.scenario, one.agents): one for one in failover.results(samples, rows, stacks)}
    found = []
    for row in rows:
        null, ours = (results[row.name, name] for name in stacks)
        not_ok = null.not_ok + ours.not_ok
        found.append(Growth(*size, row.name, runs, null.median_s, ours.median_s, ours.ratio_to_null, not_ok))
    return found, [Monitor(*size, one.monitor, one.runs, one.cpu_ms) for one in costs if one.monitor in MONITORS]


def _add(lab: Lab, count: int) -> None:
    for number in range(1, count + 1):
        argv = ["cibadmin", "--create", "--scope", "resources", "--xml-pipe"]
        lab.exec(lab.data_nodes[0], argv, input=extra(number), check=True)


def table(found: Sequence[Growth], monitors: Sequence[Monitor]) -> str:
    """Both in Markdown."""

    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    lines = [
        "| nodes | extra resources | scenario | floor s | ours s | ratio | runs | not ok |",
        "|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one.nodes} | {one.extras} | {one.scenario} | {shown(one.null_s)} | {shown(one.hafailover_s)} | {shown(one.ratio)} "
        f"| {one.runs} | {one.not_ok} |"
        for one in found
    ]
    lines += ["", "| nodes | extra resources | monitor | CPU ms | runs |", "|--:|--:|---|--:|--:|"]
    lines += [f"| {one.nodes} | {one.extras} | {one.monitor} | {one.cpu_ms} | {one.runs} |" for one in monitors]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = common.parser(
        "What a failover, a move and a monitor cost with more nodes and resources; in labs of its own."
    )
    parser.add_argument("-n", "--runs", type=int, default=4, help="runs of each scenario with each set (default: 4)")
    parser.add_argument("--size", action="append", metavar="NODESxEXTRAS", help="only these (repeatable), such as 3x10")
    options = parser.parse_args()
    if options.lab:
        parser.error("each size has a lab of its own: --lab names none of them")
    say = session.Progress()
    scratch = Path(tempfile.mkdtemp(prefix="hafailover-bench-"))
    found: list[Growth] = []
    monitors: list[Monitor] = []
    with common.ending("growth"), say.until_end(), session.interruptible():
        for size in [parsed(text) for text in options.size or map(str, SIZES)]:
            growth, cost = measure(size, options.runs, scratch, say)
            found += growth
            monitors += cost
    shutil.rmtree(scratch)
    common.answer(options, {"results": found, "monitors": monitors}, table(found, monitors))


if __name__ == "__main__":
    main()
