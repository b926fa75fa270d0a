"""``hafailover plan``: what applying a topology would change in the running cluster, and what the cluster would do about it."""

from __future__ import annotations

import sys
from typing import Any

import click
from hafailover.crm import apply, completion, local, plan, render, simulate, simulate_state, topology
from hafailover.crm.commands.json_answer import JsonCommand, give, known, output
from hafailover.crm.errors import CHANGES, HafailoverError, RefusedError, UsageError
from hafailover.crm.formats import cib
from hafailover.crm.members import Steps
from hafailover.crm.topology import Topology


@click.command(cls=JsonCommand)
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path(), shell_complete=completion.topologies)
@click.option(
    "--cib", "saved", metavar="FILE", type=click.Path(), help="Compare with a saved CIB instead of the live one."
)
@output
def command(topology_file: str, saved: str | None, output: str) -> None:
    """Say what hafailover apply TOPOLOGY would change, and what the cluster would stop, move, restart or reload for it. Changes nothing.

    What the cluster would do is asked of Pacemaker's own simulator. Secrets are not shown.

    Exit code: 0 nothing to do; 5 there are changes; 1 it failed; 2 wrong usage; 3 apply would refuse it, for the reason given.

    \b
    Example:
      hafailover plan /etc/hafailover/topology.yml
      hafailover plan topology.yml --cib saved.xml -o json
    """
    wanted = topology.load(topology_file)
    report: dict[str, Any] = {"topology": topology_file, "cluster": wanted.name, "membership": [], **plan.UNKNOWN}
    report.update(notes=[], lint=[], refused=None, needs_yes=[])
    known(report)
    lines = _look(wanted, saved, report)
    if output == "text":
        click.echo("\n".join(lines))
        for note in report["notes"]:
            click.echo(f"note: {note}", err=True)
        for finding in report["lint"]:
            click.echo(f"note: apply would refuse this without --yes: {finding}", err=True)
    if report["refused"]:
        raise RefusedError(f"apply would refuse it: {report['refused']}")
    if output == "json":
        give(report)
    if report["needed"]:
        sys.exit(CHANGES)


def _look(wanted: Topology, saved: str | None, report: dict[str, Any]) -> list[str]:
    """Fill in ``report``, and tell the same in lines; RefusedError as apply would raise it."""
    todo, known = Steps(), True
    if saved is None:
        live, todo, notes = _live(wanted, report)
    else:
        live, known, notes = _saved(saved)
    report["membership"] = todo.sentences()
    made: apply.Plan | None = None
    if todo.added or todo.removed or not known:
        # What the cluster would do cannot be simulated without the node, or without knowing what runs.
        changes = apply.changes(wanted, live)
        report.update(needed=bool(todo or changes), changes=[one.as_dict() for one in changes])
        if todo:
            notes.append("what the cluster would do is known when the nodes have joined")
        lines = [*report["membership"], "", *map(str, changes)]
    else:
        made = apply.plan(wanted, live)
        report.update(plan.as_dict(made))
        report["needed"] = made.needed or bool(todo)
        notes = [*made.notes, *notes]
        lines = [*report["membership"], *plan.lines(made)]
    report["notes"] = [*notes, *render.service_notes(wanted)]
    report["lint"] = plan.lint_errors(wanted)
    report["needs_yes"] = plan.needs_yes(made, todo.leaving, report["lint"])
    return lines


def _live(wanted: Topology, report: dict[str, Any]) -> tuple[Any, Steps, list[str]]:
    """The live CIB, what is to be done about its nodes, and what else has to be known; notes in ``report`` why apply would refuse now."""
    if not local.installed("cibadmin"):
        raise HafailoverError(
            "Pacemaker is not installed on this machine; run this on a node of the cluster, or give a saved CIB with --cib"
        )
    if not local.may_ask_cluster():
        raise UsageError(local.NOT_ROOT)
    live = apply.live_cib()
    apply.refuse_other_cluster(wanted, live)
    notes: list[str] = []
    todo = Steps()
    missing = [node for node in wanted.nodes if live.find(f"configuration/nodes/node[@uname='{node}']") is None]
    try:
        todo = plan.membership(wanted, live)
    except RefusedError:
        raise
    except HafailoverError as error:
        # Whoever is only in the group haclient may not ask Corosync.
        if missing or _leaving(wanted, live):
            raise
        notes.append(f"whether apply would refuse because of the nodes is not known: {error}")
    reason = simulate.cannot_change()
    if reason:
        report["refused"] = f"{reason}; apply would wait for that first"
    return live, todo, [*notes, *plan.absent(simulate.nodes())]


def _leaving(wanted: Topology, live: Any) -> bool:
    nodes = live.iterfind("configuration/nodes/node")
    return any(node.get("uname") not in wanted.nodes for node in nodes if node.get("type", "member") == "member")


def _saved(file: str) -> tuple[Any, bool, list[str]]:
    """The CIB in ``file``, brought up when it does not say what runs; whether that is known; and what was assumed."""
    document = cib.load(file)
    if not local.installed("crm_simulate"):
        raise HafailoverError(
            "crm_simulate is not installed on this machine: install pacemaker-cli-utils, or run this on a node"
        )
    if simulate_state.has_status(document.root):
        return document.root, True, []
    try:
        state = simulate_state.running(document.root)
    except HafailoverError as error:
        return document.root, False, [f"what the cluster would do is not known: {file} has no status, and {error}"]
    assumed = f"{file} has no status: what the cluster would do is told of one in which everything runs where it should"
    return state.cib, True, [assumed, *(f"assumed: {one}" for one in state.assumed)]
