"""hafailover drill random: whatever a seed makes happen, one fault after the other, each accounted for."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
from hafailover.crm import topology
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.drill import report
from hafailover.crm.drill.engine import Drill
from hafailover.crm.drill.report import Run
from hafailover.crm.drill.scenario import DISK_MIB
from hafailover.crm.drill.stacks import Hafailover
from hafailover.crm.errors import FAILED, UsageError
from hafailover.crm.progress import under_way
from hafailover.vagrant import host, state
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.drill import counts, evidence, options, seeded, session, target
from hafailover.vagrant.drill.seeded import Fault, Shape
from hafailover.vagrant.lab import Lab

_USUAL = 20.0  # seconds that a fault takes from break to healthy; for the length of a printed plan


@click.command(name="random", cls=JsonCommand)
@click.option("--seed", type=click.IntRange(0), metavar="S", help="What decides everything; without it, one is drawn.")
@click.option(
    "--duration",
    default="10m",
    show_default=True,
    metavar="T",
    callback=options.duration,
    help="How long to begin new faults.",
)
@options.interval
@click.option("--from", "first", type=click.IntRange(1), default=1, metavar="K", help="Begin with fault K of the seed.")
@click.option("--only", type=click.IntRange(1), metavar="K", help="Fault K of the seed alone.")
@click.option("--plan", "plan_only", is_flag=True, help="Print what the seed would do, and leave.")
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(seeded.KINDS),
    metavar="KIND",
    help=f"Leave this kind of fault out; may be repeated. Kinds: {', '.join(seeded.KINDS)}.",
)
@options.lab()
@options.keep("Keep every fault's ledger in DIR; else only those of faults that failed, with the nodes' journals.")
@output
def command(
    seed: int | None,
    duration: float,
    interval: float,
    first: int,
    only: int | None,
    plan_only: bool,
    without: Sequence[str],
    lab_name: str | None,
    file: Path | None,
    keep: Path | None,
    output: str,
) -> None:
    """Break whatever a seed chooses, heal it, and account for every write, again and again.

    Processes are killed and paused, nodes lose power and cables, disks fill, replication is stopped, the quorum device
    goes; also two at once. After each fault everything must come back by itself. The same seed on the same number
    of nodes always does the same, and each fault can be replayed alone.

    Exit code 0: nothing was lost and all ended healthy; 1: something is not as it must be; 2: wrong usage.

    \b
    Example:
      hafailover drill random --seed 7 --duration 1h
      hafailover drill random --seed 7 --only 31
    """
    seed = secrets.randbelow(10**6) if seed is None else seed
    if plan_only:
        _print_plan(seed, _wanted(first, only, duration), _shape_of(lab_name, file), frozenset(without), output)
        return
    host.require()
    say = session.Progress()
    say(f"seed {seed}")
    with say.until_end(), session.interruptible(), session.lab(lab_name, say, file, DISK_MIB) as lab:
        _require_disks(lab, without)
        faults = _faults(seed, first, only, duration, _shape(lab), frozenset(without))
        done = _carry_out(lab, faults, keep, interval, say)
    failed = any(not run.ok for run in done)
    if output == "json":
        document = {"seed": seed, "runs": [run.as_json() for run in done], "counts": counts.as_json(done)}
        give(document)
    else:
        click.echo(report.as_table(done))
        click.echo(counts.as_table(done, seed))
    if failed or not done:
        sys.exit(FAILED)


def _wanted(first: int, only: int | None, duration: float) -> range:
    return range(only, only + 1) if only is not None else range(first, first + int(duration / _USUAL) + 1)


def _print_plan(seed: int, numbers: range, shape: Shape, without: frozenset[str], output: str) -> None:
    faults = [seeded.fault(seed, number, shape, without) for number in numbers]
    if output == "json":
        plan = [
            {"number": one.number, "kind": one.kind, "what": seeded.describe(one), "steps": _steps(one)}
            for one in faults
        ]
        give({"seed": seed, "plan": plan})
        return
    for one in faults:
        click.echo(f"{one.number:4} {one.kind}: {seeded.describe(one)}")


def _steps(fault: Fault) -> list[dict[str, object]]:
    return [{step.action: dict(step.parameters)} for step in seeded.scenario(fault).steps]


def _shape_of(lab_name: str | None, file: Path | None) -> Shape:
    """The shape of the lab that would be used, without touching any."""
    found = state.read(lab_name) if lab_name else None
    if found is not None and file is None:
        return _shape(Lab.open(str(lab_name)))
    wanted = topology.load(file or DEFAULT_TOPOLOGY)
    servers = max((len(s.nodes) for s in wanted.services.values() if s.type == "mariadb"), default=0)
    if servers < 2:
        raise UsageError(f"{wanted.file}: has no mariadb service on two or three nodes")
    return Shape(min(servers - 1, 2), wanted.quorum.device is not None)


def _shape(lab: Lab) -> Shape:
    return Shape(min(len(target.of_lab(lab.name).nodes) - 1, 2), lab.quorum_node is not None)


def _require_disks(lab: Lab, without: Sequence[str]) -> None:
    if not lab.plan.disks and "fill" not in without:
        raise UsageError(
            f"lab {lab.name} has no small disks that may be filled: make it with 'hafailover lab up {lab.name} --disk "
            f"{DISK_MIB}', or leave them alone with --without fill."
        )


def _faults(
    seed: int, first: int, only: int | None, duration: float, shape: Shape, without: frozenset[str]
) -> Iterator[Fault]:
    end = time.monotonic() + duration
    number = first if only is None else only
    while True:
        yield seeded.fault(seed, number, shape, without)
        number += 1
        if only is not None or time.monotonic() >= end:
            return


def _carry_out(
    lab: Lab, faults: Iterator[Fault], keep: Path | None, interval: float, say: session.Progress
) -> list[Run]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    directory = keep or Path(tempfile.mkdtemp(prefix="hafailover-drill-"))
    drill = Drill(lab, target.of_lab(lab.name), Hafailover(), directory, say, interval)
    done: list[Run] = []
    try:
        drill.begin()
        for fault in faults:
            scenario, began = seeded.scenario(fault), time.time()
            say.run = f"{fault.seed}/{fault.number} {fault.kind}: "
            say(scenario.summary)
            under_way(say, "under way")
            run = drill.run(scenario)
            about = {"seed": fault.seed, "number": fault.number, "kind": fault.kind, "fault": scenario.summary}
            done.append(replace(run, details={**run.details, **about}))
            say("ok" if run.ok else "; ".join(run.problems))
            if run.ok:
                _forget(directory, keep, drill)
                continue
            evidence.collect(lab, directory / f"{drill.number:03}-evidence", began, done[-1])
            if run.before is None:
                say("the lab is not healthy and does not become so by itself: 'hafailover status' on a node says why")
                break
        return done
    finally:
        say.run = ""
        with session.undisturbed():
            drill.end()
            if keep is None and done and all(run.ok for run in done):
                shutil.rmtree(directory)
            else:
                say(f"the ledgers are kept in {directory}")


def _forget(directory: Path, keep: Path | None, drill: Drill) -> None:
    """An hour of ledgers of faults that went well is of no use to anybody, unless somebody asked for it."""
    if keep is None:
        for ledger in directory.glob(f"{drill.number:03}-*.jsonl"):
            ledger.unlink()
