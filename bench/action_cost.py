#!/usr/bin/python3
"""What each action of an agent costs, in processor time and on the clock, while Pacemaker runs it: ours and the stock ones, in turn.

For the time of the measurement a wrapper stands in each agent's place: it starts the agent and writes down what that took, its
children included. Then roles move, by a switchover and by kill -9, and every action that Pacemaker runs meanwhile is counted. And what
stays in memory of ours: every process of ours on each node while nothing happens.

    bench/action_cost.py                        # makes a lab, a Markdown table
    bench/action_cost.py --moves 5 -o json
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import common
import failover
from hafailover.crm.drill import scenario
from hafailover.vagrant.drill import session
from hafailover.vagrant.lab import Lab

OCF = "/usr/lib/ocf/resource.d"
AGENTS = {
    "hafailover": ("hafailover/mariadb", "hafailover/vip"),
    "heartbeat-mysql": ("heartbeat/mysql", "heartbeat/IPaddr2"),
    "heartbeat-mariadb": ("heartbeat/mariadb", "heartbeat/IPaddr2"),
}
COSTS = "/run/hafailover-bench.costs"
CALM = 15.0  # seconds
SCENARIOS = ("switchover", "kill-primary")

WRAPPER = f"""#!/usr/bin/python3 -IS
import os, sys, time
agent = __file__ + ".measured"
begun = time.perf_counter()
pid = os.posix_spawn(agent, [agent, *sys.argv[1:]], os.environ)
_, status, usage = os.wait4(pid, 0)
took = time.perf_counter() - begun
name = "/".join(__file__.split("/")[-2:])
line = "%s %s %.6f %.6f\\n" % (name, " ".join(sys.argv[1:2]), usage.ru_utime + usage.ru_stime, took)
file = os.open("{COSTS}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.write(file, line.encode())
os._exit(os.waitstatus_to_exitcode(status) & 255)
"""
PUT = 'set -e; mv "$0" "$0.measured"; cat >"$0.new"; chmod 755 "$0.new"; mv "$0.new" "$0"'
TAKE = 'if [ -e "$0.measured" ]; then mv -f "$0.measured" "$0"; fi'

# Runs in a node: the processes of ours that stay, with what they hold in memory, in kB: all of it, and their share of what is shared.
RESIDENT = """
import json, os
found = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            words = file.read().split("\\0")
        with open(f"/proc/{pid}/smaps_rollup") as file:
            sizes = dict(line.split(":", 1) for line in file.read().splitlines()[1:])
        with open(f"/proc/{pid}/stat") as file:
            age = float(open("/proc/uptime").read().split()[0]) - int(file.read().rpartition(")")[2].split()[19]) / 100
    except OSError:
        continue
    ours = [word for word in words if word.startswith(("/usr/lib/hafailover/", "/usr/lib/ocf/resource.d/hafailover/"))]
    if ours and age > 5:
        found.append([os.path.basename(ours[0]), int(sizes["Rss"].split()[0]), int(sizes["Pss"].split()[0])])
print(json.dumps(found))
"""


class Cost(NamedTuple):
    """Medians over the runs of one action, in milliseconds."""

    agents: str
    agent: str
    action: str
    runs: int
    cpu_ms: float
    wall_ms: float


class Resident(NamedTuple):
    """A process of ours that stays, in MiB: all that it holds, and with what it shares divided among those who share it."""

    node: str
    process: str
    rss_mib: float
    pss_mib: float


@contextlib.contextmanager
def wrapped(lab: Lab, agents: Sequence[str]) -> Iterator[None]:
    """With it every action of ``agents`` is written down on every data node."""
    places = [(node, f"{OCF}/{agent}") for node in lab.data_nodes for agent in agents]
    try:
        for node, place in places:
            lab.exec(node, ["sh", "-c", PUT, place], input=WRAPPER, check=True)
        yield
    finally:
        with session.undisturbed():
            for node, place in places:
                lab.exec(node, ["sh", "-c", TAKE, place])
            for node in lab.data_nodes:
                lab.exec(node, ["rm", "-f", COSTS])


def measure(lab: Lab, name: str, moves: int, ledgers: Path, say: session.Progress) -> list[Cost]:
    """Let roles move with the set of agents ``name``, and gather what its actions took. HafailoverError."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with wrapped(lab, AGENTS[name]), failover.in_place(lab, name, ledgers / name, say) as drill:
        for _ in range(moves):
            for item in SCENARIOS:
                run = drill.run(scenario.load(item))
                say(f"{item} {name}: {'; '.join(run.problems) or 'ok'}")
        for node in lab.data_nodes:
            for line in lab.exec(node, ["cat", COSTS], check=True).stdout.splitlines():
                agent, action, cpu, wall = line.split(" ")
                found.setdefault((agent, action), []).append((float(cpu) * 1000, float(wall) * 1000))
    return [
        Cost(name, agent, action, len(runs), *(round(statistics.median(column), 1) for column in zip(*runs)))
        for (agent, action), runs in sorted(found.items())
    ]


def resident(lab: Lab) -> list[Resident]:
    """The processes of ours that stay on each node."""
    found = []
    for node in lab.data_nodes:
        answer = lab.exec(node, ["/usr/bin/python3", "-c", RESIDENT], check=True).stdout
        found += [
            Resident(node, name, round(rss / 1024, 1), round(pss / 1024, 1)) for name, rss, pss in json.loads(answer)
        ]
    return found


def table(costs: Sequence[Cost], staying: Sequence[Resident]) -> str:
    """Both in Markdown."""
    lines = ["| agent | action | CPU ms | wall ms | runs |", "|---|---|--:|--:|--:|"]
    lines += [f"| {c.agent} | {c.action} | {c.cpu_ms} | {c.wall_ms} | {c.runs} |" for c in costs]
    lines += ["", "| node | process that stays | RSS MiB | PSS MiB |", "|---|---|--:|--:|"]
    lines += [f"| {one.node} | {one.process} | {one.rss_mib} | {one.pss_mib} |" for one in staying]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = common.parser("What each action costs while Pacemaker runs it, ours against the stock agents, in a lab.")
    parser.add_argument("-n", "--moves", type=int, default=5, help="moves of each kind with each set (default: 5)")
    parser.add_argument("--agents", action="append", choices=sorted(AGENTS), help="only these (repeatable)")
    options = parser.parse_args()
    say = session.Progress()
    ledgers = Path(tempfile.mkdtemp(prefix="hafailover-bench-"))
    with (
        common.ending("action_cost"),
        say.until_end(),
        session.interruptible(),
        session.lab(options.lab, say) as lab,
    ):
        time.sleep(CALM)  # a lab that has just come up is still busy with that
        staying = resident(lab)
        names = [name for name in AGENTS if not options.agents or name in options.agents]
        costs = [cost for name in names for cost in measure(lab, name, options.moves, ledgers, say)]
    shutil.rmtree(ledgers)
    common.answer(options, {"results": costs, "resident": staying}, table(costs, staying))


if __name__ == "__main__":
    main()
