"""``hafailover simulate``: what would happen if a node were lost, or a resource failed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from hafailover.crm import completion, local, simulate_scene, simulate_text, simulation
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import INCOMPLETE, HafailoverError, UsageError


@click.command(cls=JsonCommand)
@click.argument(
    "source", metavar="[TOPOLOGY | CIB.xml]", type=click.Path(), required=False, shell_complete=completion.topologies
)
@click.option("--live", is_flag=True, help="The cluster that runs on this node, as it is now.")
@click.option(
    "--fail",
    "fail",
    metavar="NAME",
    shell_complete=completion.failing,
    multiple=True,
    required=True,
    help="A node that is lost, a resource whose check fails (RESOURCE or RESOURCE@NODE), or quorum-device. May be repeated: all at once.",
)
@click.option("--stop-fails", is_flag=True, help="The resources that fail cannot be stopped either.")
@click.option(
    "--quorum",
    type=click.Choice(["kept", "lost"]),
    help="Whether what is left has quorum, where that is not known (a CIB does not say).",
)
@output
def command(
    source: str | None, live: bool, fail: tuple[str, ...], stop_fails: bool, quorum: str | None, output: str
) -> None:
    """Say what would happen, in order, if something failed. Nothing is changed, and no cluster is needed for a TOPOLOGY.

    A TOPOLOGY, and a CIB without a status, is simulated with all nodes there and everything running; a CIB with a status and the live
    cluster as they are. Times are the most that may pass, not what is usual: how long Corosync waits, and the actions' timeouts.

    Exit code: 0 everything that ran still runs somewhere; 4 something is left without; 2 wrong usage; 1 it cannot be simulated.

    \b
    Example:
      hafailover simulate topology.yml --fail db1
      hafailover simulate topology.yml --fail vip --stop-fails
      hafailover simulate --live --fail db2 --fail quorum-device -o json
    """
    if live == (source is not None):
        raise UsageError("say what to simulate: a TOPOLOGY, a CIB.xml, or --live" + (", not both" if live else ""))
    if not local.installed("crm_simulate"):
        raise HafailoverError(
            "crm_simulate is not installed on this machine: install pacemaker-cli-utils, or run this on a node of a cluster or of the lab"
        )
    if live and not local.may_ask_cluster():
        raise UsageError(local.NOT_ROOT)
    scene = simulate_scene.live() if live else simulate_scene.read(Path(os.fspath(source or "")))
    told = None if quorum is None else quorum == "kept"
    result = simulation.simulate(scene, fail, stop_fails=stop_fails, quorum=told)
    if output == "json":
        give(result.as_dict())
    else:
        click.echo("\n".join(simulate_text.lines(result)))
    if not result.whole:
        sys.exit(INCOMPLETE)
