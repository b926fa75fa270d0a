"""hafailover drill: break the lab under load, count what a client lost, and say how long it took."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from hafailover.crm import completion
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.drill import publish, scenario
from hafailover.crm.drill.document import Scene
from hafailover.crm.drill.engine import Drill
from hafailover.crm.drill.report import Run
from hafailover.crm.drill.scenario import Scenario
from hafailover.crm.drill.stacks import Hafailover, Stack
from hafailover.crm.errors import FAILED, UsageError
from hafailover.crm.progress import under_way
from hafailover.vagrant import host, state
from hafailover.vagrant.drill import options, session, target
from hafailover.vagrant.drill.heartbeat import Heartbeat
from hafailover.vagrant.drill.loads.command import command as load_command
from hafailover.vagrant.drill.loads.controllers.drill import ControllersDrill
from hafailover.vagrant.drill.loads.files.drill import FilesDrill
from hafailover.vagrant.drill.loads.web.drill import WebDrill
from hafailover.vagrant.drill.loads.work.drill import WorkDrill
from hafailover.vagrant.drill.null import Null
from hafailover.vagrant.drill.random_command import command as random_command
from hafailover.vagrant.lab import Lab

_STACKS: dict[str, Callable[[], Stack]] = {
    "hafailover": Hafailover,
    "heartbeat-mariadb": lambda: Heartbeat("mariadb"),
    "heartbeat-mysql": lambda: Heartbeat("mysql"),
    "null": Null,
}

OTHERS = {
    "random": random_command,
    "controllers": load_command(ControllersDrill),
    "files": load_command(FilesDrill),
    "web": load_command(WebDrill),
    "work": load_command(WorkDrill),
}
"""The drills that are no scenarios: each is a command of its own, called by the first argument."""


class _Drill(JsonCommand):
    """The drill, whose scenarios are arguments, and the others (``random``, ``work`` …), which have options of their own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in OTHERS:
            return OTHERS[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out what :meth:`make_context` has chosen."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


@click.command(name="drill", cls=_Drill)
@click.argument("scenarios", nargs=-1, metavar="SCENARIO...", shell_complete=completion.lab_drills)
@click.option("-n", "--runs", type=click.IntRange(1), default=1, show_default=True, help="Runs of each scenario.")
@click.option(
    "--agents",
    type=click.Choice(sorted(_STACKS)),
    default=Hafailover.name,
    show_default=True,
    help="What manages the database; null is Pacemaker alone, with agents that do nothing.",
)
@options.lab()
@options.keep("Keep every run's ledger (one line of JSON per write) in DIR; else only a failed drill's are kept.")
@options.interval
@click.option("--all", "all_", is_flag=True, help="Every scenario that comes with the program, also the long ones.")
@click.option("--long", "long_", is_flag=True, help="Those that take too long to be run with all the others.")
@click.option("--list", "list_", is_flag=True, help="List the scenarios and leave.")
@click.option("--yes", is_flag=True, hidden=True, help="Nobody is asked about a lab.")
@publish.options
@output
def command(
    scenarios: Sequence[str],
    runs: int,
    agents: str,
    lab_name: str | None,
    file: Path | None,
    keep: Path | None,
    interval: float,
    all_: bool,
    long_: bool,
    list_: bool,
    yes: bool,
    reports: Sequence[Path],
    compare: Sequence[dict[str, Any]],
    output: str,
) -> None:
    """Break the lab on purpose and count what a client lost.

    A client outside the cluster writes through the virtual address every 10 ms and remembers what was acknowledged.
    Then the scenario strikes; afterwards every row is looked for on every server. A SCENARIO is a name (--list shows
    them) or a YAML file. A lab that runs is used and left running. 'hafailover drill random --help' tells of faults that a
    seed chooses; 'hafailover drill work --help' of a whole StackStorm pair under work, 'drill web' of Tomcats and Apaches
    under clicks, 'drill files' of a GlusterFS volume under writes, 'drill controllers' of a pair of OpenStack controllers.

    On a node of a real cluster, without --lab, it is that cluster that is drilled, after a checklist and a question.

    Exit code 0: every run is ok; 1: some run is not; 2: wrong usage.

    \b
    Example:
      hafailover drill kill-primary switchover -n 5
      hafailover drill power-off-primary -o json
      hafailover drill --all --keep /tmp/ledgers
    """
    if list_:
        _list(output)
        return
    if (all_ or long_) and scenarios:
        raise UsageError("name scenarios, or say --all or --long, not both.")
    names = [name for name in scenario.known() if all_ or (long_ and scenario.load(name).long)]
    if not names and not scenarios:
        raise UsageError("say which scenario to run; 'hafailover drill --list' shows them.")
    chosen = [scenario.load(name) for name in names or scenarios]
    host.require()
    say = session.Progress()
    disk_mib = scenario.DISK_MIB if any(item.fills for item in chosen) else 0
    began = time.time()
    with say.until_end(), session.interruptible(), session.lab(lab_name, say, file, disk_mib) as lab:
        scene = _scene(lab, began, interval)
        done = _drill(lab, _STACKS[agents](), [item for item in chosen for _ in range(runs)], keep, interval, say)
    publish.publish(done, scene, reports, compare, output)
    if not all(run.ok for run in done):
        sys.exit(FAILED)


def _scene(lab: Lab, began: float, interval: float) -> Scene:
    """What a reader of the report has to know about the lab."""
    found = state.read(lab.name)
    rows = [
        ("lab", f"{lab.name}, made of {Path(found.topology_file).name if found else 'an unknown topology'}"),
        ("machines", ", ".join(f"{name} ({machine.role})" for name, machine in lab.nodes.items())),
        ("client", f"one row every {interval * 1000:g} ms through the address, from outside of the nodes"),
        ("host", f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Linux {os.uname().release}"),
    ]
    # A lab of that name may have been another one before.
    topology = {"nodes": sorted(lab.nodes)}
    return Scene("lab", lab.name, began, "outside of the nodes, on the lab's network", rows, topology=topology)


def _list(output: str) -> None:
    names = scenario.known()
    if output == "json":
        known = map(scenario.load, names)
        give([{"scenario": one.name, "summary": one.summary, "long": one.long} for one in known])
        return
    width = max(map(len, names))
    for name in names:
        item = scenario.load(name)
        click.echo(f"{name:{width}}  {item.summary}{' (long)' if item.long else ''}")


def _drill(
    lab: Lab, stack: Stack, scenarios: Sequence[Scenario], keep: Path | None, interval: float, say: session.Progress
) -> list[Run]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    evidence = keep or Path(tempfile.mkdtemp(prefix="hafailover-drill-"))
    drill = Drill(lab, target.of_lab(lab.name), stack, evidence, say, interval)
    done: list[Run] = []
    try:
        drill.begin()
        for number, item in enumerate(scenarios, 1):
            say.run = f"{number}/{len(scenarios)} {item.name}: "
            under_way(say, "under way", number - 1, len(scenarios))
            done.append(drill.run(item))
            say("ok" if done[-1].ok else "; ".join(done[-1].problems))
        return done
    finally:
        say.run = ""
        with session.undisturbed():
            drill.end()
            if keep is None and len(done) == len(scenarios) and all(run.ok for run in done):
                shutil.rmtree(evidence)
            else:
                say(f"the ledgers are kept in {evidence}")
