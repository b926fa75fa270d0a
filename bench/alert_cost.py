#!/usr/bin/python3
"""What an alert costs the cluster: the agent beside an empty script, in turn, with a dead webhook behind it. Needs no lab.

bench/alert_cost.py # a line for a person
bench/alert_cost.py -n 10000 # that many events, then all delivered: how long, how much memory and disk
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / "tests/unit"), str(CHECKOUT / "bench")]

import conftest  # noqa: E402, F401  makes the checkout importable
from alert_nodes import Cluster, Node, Web, until  # noqa: E402


def spawn(program: str, environment: dict[str, str]) -> float:
    """Milliseconds from the start of ``program`` to its end."""
    begun = time.perf_counter()
    _, status = os.waitpid(os.posix_spawn(program, [program], environment), 0)
    if status:
        raise SystemExit(f"{program} ended with {status}")
    return (time.perf_counter() - begun) * 1000


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[sys.argv.index("-n") + 1]) if "-n" in sys.argv else 300
    web = Web()
    web.status = 503
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(Path(directory) / "c")
        cluster.members("db1", "db2")
        node = Node(cluster, "db1", {"hook": web.recipient()})
        empty = Path(directory) / "empty"
        empty.write_text("#!/bin/sh\n")
        empty.chmod(0o755)
        node.start()
        times: dict[str, list[float]] = {"empty": [], "agent": []}
        begun = time.time()
        event = {
            "CRM_alert_kind": "resource",
            "CRM_alert_rsc": "db",
            "CRM_alert_task": "start",
            "CRM_alert_node": "db1",
        }
        for number in range(count):
            now = time.time()
            moment = {
                "CRM_alert_timestamp_epoch": str(int(now)),
                "CRM_alert_timestamp_usec": f"{int(now % 1 * 1e6):06d}",
            }
            given = {
                **node.environment,
                **event,
                **moment,
                "CRM_alert_node_sequence": str(number),
                "CRM_alert_desc": str(number),
            }
            times["empty"].append(spawn(str(empty), given))
            times["agent"].append(spawn(str(node.root / "alert"), given))
        until("all are in the queue", lambda: node.waiting("hook") == count, 120)
        medians = {name: statistics.median(found) for name, found in times.items()}
        last = {name: statistics.quantiles(found, n=100)[98] for name, found in times.items()}
        print(  # noqa: T201
            f"{count} events, webhook dead: agent {medians['agent']:.2f} ms, empty script {medians['empty']:.2f} ms, "
            f"ratio {medians['agent'] / medians['empty']:.2f} (99th percentile {last['agent']:.1f} and {last['empty']:.1f} ms)"
        )
        assert node.service is not None
        resident = int(Path(f"/proc/{node.service.pid}/statm").read_text().split()[1]) * 4096
        disk = sum(path.stat().st_blocks * 512 for path in node.root.rglob("*") if path.is_file())
        web.status = 200
        (node.root / "retry").touch()
        again = time.time()
        until("everything is delivered", lambda: not node.waiting("hook"), 600)
        node.run()
        order = [int(body["description"]) for body, _ in web.got]
        keys = Counter(headers["idempotency-key"] for _, headers in web.got)
        print(  # noqa: T201
            f"waited {again - begun:.0f} s with {resident / 2**20:.0f} MiB of memory and {disk / 2**20:.1f} MiB of disk; then delivered "
            f"in {time.time() - again:.1f} s: {len(order)} events, in order: {order == sorted(order)}, twice: {len(order) - len(keys)}"
        )


if __name__ == "__main__":
    main()
