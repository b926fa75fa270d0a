"""hafailover lab: a real cluster on this machine, and the means to break it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable

import click
from hafailover.crm import completion
from hafailover.crm import topology as topologies
from hafailover.crm.command_group import Group
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.progress import Progress
from hafailover.vagrant import health, host, image, state
from hafailover.vagrant.lab import Lab, Options

DEFAULT_TOPOLOGY = Path(__file__).resolve().parent / "topologies" / "mariadb-pair.yml"


def _lab_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--lab",
        "name",
        metavar="NAME",
        envvar="HAFAILOVER_LAB",
        shell_complete=completion.labs,
        help="Which lab; not needed when there is only one. [env: HAFAILOVER_LAB]",
    )(function)


def _chosen(name: str | None) -> str:
    if name:
        return host.check_name(name)
    host.require()
    known = state.names()
    if not known:
        raise HafailoverError("there is no lab; 'hafailover lab up' makes one.")
    if len(known) > 1:
        raise UsageError(f"there are several labs ({', '.join(known)}): say which with --lab NAME.")
    return known[0]


@click.group(cls=Group, name="lab")
def command() -> None:
    """Run a real cluster on this machine.

    Nodes are containers with systemd, their own disk, network, Corosync and Pacemaker, and a power switch that fencing
    uses. Needs root.

    \b
    Example:
      hafailover lab up
      hafailover lab exec db1 -- crm_mon -1
      hafailover lab cut db1
      hafailover lab down
    """


@command.command()
@click.argument("name", default="default", envvar="HAFAILOVER_LAB")
@click.option(
    "-t",
    "--topology",
    "file",
    type=click.Path(path_type=Path),
    default=DEFAULT_TOPOLOGY,
    help="Topology file.",
    shell_complete=completion.topologies,
)
@click.option("--suite", default=image.DEFAULT_SUITE, show_default=True, help="Debian release of the nodes.")
@click.option(
    "--packages",
    "sets",
    multiple=True,
    metavar="SET",
    help="A further package set for the nodes.",
    shell_complete=completion.package_sets,
)
@click.option("--extra-nodes", type=click.IntRange(0, 8), default=0, help="Further full cluster nodes, without data.")
@click.option(
    "--spare",
    "spares",
    multiple=True,
    metavar="NAME",
    help="A further machine with everything installed that is in no cluster, to be added to the topology later.",
)
@click.option(
    "--share",
    "shares",
    multiple=True,
    metavar="NAME",
    help="A directory of this machine that all cluster nodes see as /shared/NAME (a directory, not a disk).",
)
@click.option(
    "--disk",
    type=click.IntRange(512, 16384),
    metavar="MIB",
    help="Put each database's datadir on a file system of its own of so many MiB, which can be filled.",
)
@click.option("--timeout", type=float, default=120.0, show_default=True, help="Seconds to wait for a healthy cluster.")
def up(
    name: str,
    file: Path,
    suite: str,
    sets: Sequence[str],
    extra_nodes: int,
    spares: Sequence[str],
    shares: Sequence[str],
    disk: int | None,
    timeout: float,
) -> None:
    """Make the lab NAME (default: default) and wait until its cluster is healthy.

    \b
    Example: hafailover lab up two --topology vagrant/topologies/mariadb-pair.yml
    """
    progress = Progress()
    topology = topologies.load(file)
    options = Options(
        suite,
        tuple(sets),
        extra_nodes,
        tuple(map(host.check_name, shares)),
        timeout,
        disk or 0,
        tuple(map(host.check_name, spares)),
    )
    known = name in state.names()
    with progress.until_end():
        progress.now(f"lab {name} is made", log=False)
        lab = Lab.up(name, topology, options, progress)
    verb = "is already up" if known else f"is up after {progress.seconds:.1f} s"
    click.echo(f"lab {name} {verb}: {', '.join(lab.nodes)}. 'hafailover lab down {name}' removes it.")


@command.command()
@click.argument("name", required=False, envvar="HAFAILOVER_LAB", shell_complete=completion.labs)
def down(name: str | None) -> None:
    """Remove the lab NAME, whatever state it is in.

    \b
    Example: hafailover lab down
    """
    progress = Progress()
    if name is None and not (os.geteuid() == 0 and state.names()):
        host.require()
        click.echo("there is no lab.")
        return
    chosen = _chosen(name)
    if Lab.down(chosen):
        click.echo(f"lab {chosen} is removed ({progress.seconds:.1f} s).")
    else:
        click.echo(f"there is no lab {chosen}.")


@command.command("list", cls=JsonCommand)
@output
def list_(output: str) -> None:
    """List all labs on this machine, also what is left of broken ones.

    \b
    Example: hafailover lab list -o json
    """
    host.require()
    rows = []
    for name in state.names():
        found = state.read(name)
        alive = found is not None and Lab.open(name).provider.alive()
        phase = "broken" if not alive else found.phase if found else "broken"
        rows.append({"name": name, "phase": phase, "nodes": [m.name for m in found.plan.machines] if found else []})
    if output == "json":
        give(rows)
        return
    for row in rows:
        click.echo(f"{row['name']}: {row['phase']}: {', '.join(row['nodes']) or 'no nodes'}")


@command.command(cls=JsonCommand)
@click.argument("name", required=False, envvar="HAFAILOVER_LAB", shell_complete=completion.labs)
@output
def status(name: str | None, output: str) -> None:
    """Show nodes, power, cables and whether the cluster is healthy. Exit code 0 if it is, 1 if not.

    \b
    Example: hafailover lab status -o json
    """
    lab = Lab.open(_chosen(name))
    problems = lab.problems()
    states = lab.states()
    if output == "json":
        nodes = {
            machine.name: {
                "role": machine.role,
                "addresses": [interface.address for interface in machine.interfaces],
                **states[machine.name]._asdict(),
            }
            for machine in lab.nodes.values()
        }
        report = {"name": lab.name, "healthy": not problems, "problems": problems, "nodes": nodes}
        give({**report, **lab.provider.details()})
    else:
        click.echo(f"lab {lab.name}: {'healthy' if not problems else 'not healthy'}")
        for machine in lab.nodes.values():
            node = states[machine.name]
            what = node.power + (", cut" if node.cut else "") + (", held off" if node.held else "")
            links = ", ".join(interface.address for interface in machine.interfaces)
            click.echo(f"  {machine.name:<12} {machine.role:<7} {what:<10} {links}")
        for problem in problems:
            click.echo(f"  problem: {problem}")
        for line in health.resources(lab):
            click.echo(f"  {line}")
    if problems:
        sys.exit(1)


@command.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_lab_option
@click.argument("node", shell_complete=completion.lab_nodes)
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str | None, node: str, argv: Sequence[str]) -> None:
    """Run a command in NODE as root, with this terminal's streams; its exit code is ours.

    \b
    Example: hafailover lab exec db1 -- mariadb -e 'SELECT @@hostname'
    """
    words = list(argv[1:] if argv and argv[0] == "--" else argv)
    line = Lab.open(_chosen(name)).command(node, words)
    sys.stdout.flush()
    # The program takes this process's place, so that streams, signals and the exit code are its own.
    os.execvpe(line[0], line, {**host.ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")})  # noqa: S606


@command.command()
@_lab_option
@click.argument("node", shell_complete=completion.lab_nodes)
def cut(name: str | None, node: str) -> None:
    """Pull all network cables of NODE.

    \b
    Example: hafailover lab cut db1
    """
    Lab.open(_chosen(name)).cut(node)
    click.echo(f"{node} is cut from the network; 'hafailover lab heal {node}' puts its cables back.")


@command.command()
@_lab_option
@click.argument("node", shell_complete=completion.lab_nodes)
def heal(name: str | None, node: str) -> None:
    """Put all network cables of NODE back.

    \b
    Example: hafailover lab heal db1
    """
    Lab.open(_chosen(name)).heal(node)
    click.echo(f"{node} is on the network.")


@command.command()
@_lab_option
@click.option("-s", "--signal", "number", default="KILL", show_default=True, help="Name or number of the signal.")
@click.argument("node", shell_complete=completion.lab_nodes)
@click.argument("target", metavar="UNIT|PID")
def kill(name: str | None, number: str, node: str, target: str) -> None:
    """Send a signal to the main process of a unit, or to a process, in NODE.

    \b
    Example: hafailover lab kill db1 hafailover-mariadb-db.service
    """
    Lab.open(_chosen(name)).kill(node, target, _signal(number))
    click.echo(f"{target} on {node} got signal {number}.")


def _signal(text: str) -> int:
    names = {signal.Signals(n).name: n for n in signal.valid_signals() if n < signal.SIGRTMIN}
    for candidate in (text.upper(), "SIG" + text.upper()):
        if candidate in names:
            return int(names[candidate])
    if text.isdigit() and int(text) in names.values():
        return int(text)
    raise UsageError(f"no signal {text!r}; known are {', '.join(sorted(n[3:] for n in names))}.")


@command.group()
def power() -> None:
    """Give or take the power of a node.

    \b
    Example:
      hafailover lab power off db1 --hold
      hafailover lab power on db1
    """


@power.command("off")
@_lab_option
@click.option("--hold", is_flag=True, help="Keep it off: fencing, which reboots, cannot turn it on again.")
@click.argument("node", shell_complete=completion.lab_nodes)
def power_off(name: str | None, hold: bool, node: str) -> None:
    """Take the power of NODE: all it ran is dead at once, its disk stays.

    The cluster then fences it, and a fencing reboot ends with the power on; --hold prevents that.

    \b
    Example: hafailover lab power off db1 --hold
    """
    Lab.open(_chosen(name)).power_off(node, hold=hold)
    click.echo(f"{node} is off.")


@power.command("on")
@_lab_option
@click.argument("node", shell_complete=completion.lab_nodes)
def power_on(name: str | None, node: str) -> None:
    """Give NODE its power back; it boots and joins the cluster by itself.

    \b
    Example: hafailover lab power on db1
    """
    lab = Lab.open(_chosen(name))
    lab.power_on(node)
    lab.await_boot(node)
    click.echo(f"{node} has booted.")


@command.command()
@_lab_option
@click.option("--since", help="What journalctl --since takes, such as '-5min'.")
@output
@click.argument("node", shell_complete=completion.lab_nodes)
def logs(name: str | None, since: str | None, output: str, node: str) -> None:
    """Print the journal of NODE, also when it is off.

    \b
    Example: hafailover lab logs db1 --since -5min
    """
    lab = Lab.open(_chosen(name))
    if output == "json":
        for record in lab.journal(node, since):
            click.echo(json.dumps(record))
    else:
        click.echo(lab.logs(node, since), nl=False)
