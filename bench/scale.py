#!/usr/bin/env python3
"""What a configuration costs as the cluster grows: CPU seconds of generating, reading, writing and checking it.

Each figure is the median of some runs, in one process that has loaded its modules; the ratio is to the size before, where all that is
linear has about 2.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator

import common  # noqa: F401
from hafailover.crm import generate, lint, topology, yamldoc
from hafailover.crm.formats import cib, crmsh, pcs
from hafailover.crm.lint import sources

SIZES = ((8, 125), (16, 250), (32, 500), (64, 1000))


def text(nodes: int, resources: int) -> str:
    """A topology with ``nodes`` nodes and ``resources`` resources: one in ten is a database, the others are addresses that follow one."""
    databases = max(1, resources // 10)
    lines = ["version: 1", "lab: true", "cluster: {name: big, encryption: off}", "nodes:"]
    lines += [f"  n{i}: {{id: {i + 1}, links: [10.0.{i}.1, 10.1.{i}.1]}}" for i in range(nodes)]
    lines.append("vips:")
    lines += [
        f"  vip{i}: {{ip: 10.0.{100 + i // 200}.{1 + i % 200}/16, follows: db{i % databases}.primary}}"
        for i in range(resources - databases)
    ]
    lines.append("services:")
    lines += [
        f"  db{i}: {{type: mariadb, port: {3306 + i}, datadir: /srv/db{i}, socket: /run/mysqld/db{i}.sock}}"
        for i in range(databases)
    ]
    return "\n".join(lines)


def work(nodes: int, resources: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """(name, what is measured) of each step, on a cluster of this size."""
    source = text(nodes, resources)
    wanted = topology.parse(yamldoc.parse(source, "scale.yml"))
    configuration = generate.configuration(wanted)
    written = cib.text(configuration).encode()
    root = cib.parse(written, "scale.xml")
    yield "read topology", lambda: topology.parse(yamldoc.parse(source, "scale.yml"))
    yield "generate", lambda: generate.configuration(wanted)
    yield "read cib", lambda: cib.read(cib.parse(written, "scale.xml"))
    yield "model", lambda: cib.read(root)
    yield "write cib", lambda: cib.text(configuration)
    yield "write crmsh", lambda: crmsh.text(configuration)
    yield "write pcs", lambda: pcs.text(configuration)
    yield "lint", lambda: list(lint.check(sources.of_topology(wanted)))


def measure(step: Callable[[], object], runs: int) -> float:
    """Median CPU seconds of ``step``."""
    seconds = []
    for _ in range(runs):
        gc.collect()
        began = time.process_time()
        step()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


def main() -> None:
    """Print the curve."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5, help="runs of each step")
    arguments.add_argument(
        "-o", "--output", choices=["markdown", "json"], default="markdown", help="form of the answer"
    )
    given = arguments.parse_args()
    curve: dict[str, list[float]] = {}
    for nodes, resources in SIZES:
        for name, step in work(nodes, resources):
            curve.setdefault(name, []).append(measure(step, given.runs))
    if given.output == "json":
        print(json.dumps({"sizes": SIZES, "seconds": curve}))  # noqa: T201
        return
    print("| CPU seconds | " + " | ".join(f"{nodes}/{resources}" for nodes, resources in SIZES) + " |")  # noqa: T201
    print("|---|" + "---|" * len(SIZES))  # noqa: T201
    for name, seconds in curve.items():
        ratios = ["", *(f" (x{after / before:.1f})" if before else "" for before, after in zip(seconds, seconds[1:]))]
        print(f"| {name} | " + " | ".join(f"{one:.3f}{ratio}" for one, ratio in zip(seconds, ratios)) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
