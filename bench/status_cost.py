#!/usr/bin/env python3
"""What one look at the cluster costs: ``hafailover status`` against the least that anything in Python that asks Pacemaker could take.

That least is an interpreter that does nothing, and then ``crm_mon -1``. All are run in turn on a node of the lab, so that whatever else the
machine does meets them alike; the ratio of the medians is what compares machines. The programs that status runs are measured, too.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

import common
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.lab import Lab

# Runs in the node: reads {"runs", "commands"}, prints for each command its [wall, cpu] seconds of every run.
MEASURE = """
import json, os, resource, subprocess, sys, time
task = json.load(sys.stdin)
found = [[] for _ in task["commands"]]
for _ in range(task["runs"]):
    for number, argv in enumerate(task["commands"]):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.monotonic()
        subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found[number].append([wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime])
json.dump(found, sys.stdout)
"""
_PYTHON = "/usr/bin/python3"


def commands(lab: Lab, node: str) -> dict[str, list[str]]:
    """What is measured, by title; the first two are the least that there could be."""
    names = lab.exec(node, ["crm_resource", "--list-raw"], check=True).stdout.split()
    database = "db" if any(name.partition(":")[0] == "db" for name in names) else names[0]
    dc = lab.exec(node, ["crmadmin", "-D", "-q"]).stdout.split()
    return {
        "python3 -c pass": [_PYTHON, "-c", "pass"],
        "crm_mon -1": ["crm_mon", "-1"],
        "hafailover status": ["hafailover", "status"],
        "hafailover status -o json": ["hafailover", "status", "-o", "json"],
        "hafailover --version (imports of the command line)": ["hafailover", "--version"],
        "crm_mon -1 --output-as=xml": ["crm_mon", "-1", "--output-as=xml", "--fence-history=2"],
        "cibadmin --query": ["cibadmin", "--query"],
        "attrd_updater -Q (three for a database)": [
            "attrd_updater",
            "-Q",
            "-A",
            "-n",
            f"hafailover-{database}-incarnation",
        ],
        "crmadmin --status": ["crmadmin", "--status", dc[-1] if dc else node],
        "corosync-cfgtool -s (with several links)": ["corosync-cfgtool", "-s"],
        "corosync-quorumtool -s": ["corosync-quorumtool", "-s"],
    }


def measure(lab: Lab, node: str, runs: int) -> dict[str, dict[str, float]]:
    """Title → medians in ms: ``wall``, ``cpu``, and of the fastest run ``least``."""
    chosen = commands(lab, node)
    task = {"runs": runs + 1, "commands": list(chosen.values())}
    answer = lab.exec(node, [_PYTHON, "-c", MEASURE], timeout=60 + 10 * runs, input=json.dumps(task), check=True)
    found = {}
    for title, results in zip(chosen, json.loads(answer.stdout)):
        wall, cpu = zip(*results[1:])  # the first one fills the caches
        found[title] = {
            "wall": round(statistics.median(wall) * 1000, 1),
            "cpu": round(statistics.median(cpu) * 1000, 1),
            "least": round(min(wall) * 1000, 1),
        }
    return found


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """How many times the least possible ``hafailover status`` takes: of the medians, of the processor's time, and of the fastest runs."""
    least = list(found.values())[:2]
    return {
        key: round(found["hafailover status"][key] / sum(one[key] for one in least), 2)
        for key in ("wall", "cpu", "least")
    }


def table(node: str, runs: int, found: dict[str, dict[str, float]]) -> str:
    """The figures in Markdown."""
    lines = [
        f"| on {node}, {runs} runs in turn | wall ms (median) | CPU ms (median) | wall ms (fastest) |",
        "|---|---|---|---|",
    ]
    lines += [f"| {title} | {one['wall']} | {one['cpu']} | {one['least']} |" for title, one in found.items()]
    ratio = ratios(found)
    lines.append(f"| status ÷ (python3 + crm_mon -1) | {ratio['wall']} | {ratio['cpu']} | {ratio['least']} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure on the only lab, or the one named, and print."""
    parser = common.parser("Cost of hafailover status in a lab.")
    parser.add_argument("-n", "--runs", type=int, default=30, help="runs of each (default: 30)")
    parser.add_argument("--node", help="on which node (default: the first)")
    options = parser.parse_args(argv)
    with common.ending("status_cost"):
        lab = common.lab(options.lab)
        node = options.node or lab.cluster_nodes[0]
        if node not in lab.cluster_nodes:
            raise HafailoverError(f"{node} is no node of the lab's cluster")
        found = measure(lab, node, options.runs)
    whole = {"node": node, "runs": options.runs, "ms": found, "ratio": ratios(found)}
    common.answer(options, whole, table(node, options.runs, found))


if __name__ == "__main__":
    main()
