"""``hafailover apply``: bring a topology's configuration into the running cluster."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import click
from hafailover.crm import apply, local, members, members_run, render, topology
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.crm.members import Steps
from hafailover.crm.topology import Topology


@click.command()
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path())
@click.option("--dry-run", is_flag=True, help="Say what would change and what the cluster would do; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask, and allow running services to be interrupted.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.IntRange(0, 86400),
    default=300,
    show_default=True,
    help="How long to wait until everything runs.",
)
@click.option("-o", "--output", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(topology_file: str, dry_run: bool, yes: bool, wait: int, output: str) -> None:
    """Bring the configuration of TOPOLOGY into the cluster that runs on this node.

    Only what differs is changed. Standby, maintenance, bans and everything that hafailover did not make stay as they
    are; what an earlier apply made and TOPOLOGY no longer has is removed. A node that TOPOLOGY has and the cluster has
    not is taken in first, one that is stopped and no longer in TOPOLOGY is removed.

    \b
    Example:
      hafailover apply /etc/hafailover/topology.yml --dry-run
    """
    wanted = topology.load(topology_file)
    if not local.installed("cibadmin"):
        raise HafailoverError("Pacemaker is not installed on this machine; run this on a node of the cluster")
    if os.geteuid() != 0:
        raise UsageError(local.NOT_ROOT)
    live = apply.live_cib()
    apply.wait_for_coordinator(min(wait, 60), _say)
    live = apply.live_cib()
    apply.refuse_other_cluster(wanted, live)
    deadline = time.monotonic() + wait
    todo = _membership(wanted, live)
    report: dict[str, Any] = {
        "topology": topology_file,
        "cluster": wanted.name,
        "membership": todo.sentences(),
        "changes": [],
        "effects": [],
        "notes": [],
        "applied": False,
        "not_running": [],
        "waited_s": 0.0,
    }
    if output == "text":
        for sentence in todo.sentences():
            click.echo(f"{'would ' if dry_run else ''}{sentence}")
    if todo and dry_run:
        # What Pacemaker would then do cannot be simulated without the node.
        report["changes"] = [change.as_dict() for change in apply.changes(wanted, live)]
        if output == "text":
            click.echo("\n".join(str(change) for change in apply.changes(wanted, live)))
    else:
        done = _change_members(wanted, todo, deadline, yes)
        try:
            _configure(wanted, report, dry_run=dry_run, yes=yes, wait=wait, output=output)
        except RefusedError as error:
            if not done:
                raise
            raise IncompleteError(f"{'; '.join(done)}; but the configuration is not applied: {error}") from None
    if todo and not dry_run:
        report["not_running"] += members_run.silent_device(wanted, deadline, _say)
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    elif report["applied"]:
        click.echo(f"applied: {len(report['changes'])} changes, settled after {report['waited_s']} s")
    if report["not_running"]:
        left = "; ".join(report["not_running"])
        raise IncompleteError(f"the configuration is in the cluster, but after {wait} s: {left}. See hafailover status")


def _membership(wanted: Topology, live: Any) -> Steps:
    """What has to be done about the cluster's nodes; RefusedError when it must not be done now."""
    asked, facts = members_run.wanted(wanted), members_run.look(wanted, live)
    todo = members.steps(asked, facts)
    reason = members.refusal(asked, facts, todo) or members_run.still_needed(wanted, todo.removed)
    if reason:
        raise RefusedError(f"{reason}. Nothing was changed")
    return todo


def _change_members(wanted: Topology, todo: Steps, deadline: float, yes: bool) -> list[str]:
    """Carry out ``todo``; what was done, in sentences. RefusedError when nobody agrees to lose a node."""
    done: list[str] = []
    if todo.leaving and not yes:
        gone = ", ".join(todo.leaving)
        if not on_terminal():
            raise RefusedError(f"this would remove {gone} from the cluster; nothing was changed. Allow it with --yes")
        if not click.confirm(f"Remove {gone} from the cluster?", err=True):
            raise RefusedError("not applied, nothing was changed")

    def tell(sentence: str) -> None:
        done.append(sentence)
        _say(sentence)

    if todo:
        members_run.carry_out(wanted, todo, deadline, _say, tell)
    return done


def _configure(wanted: Topology, report: dict[str, Any], *, dry_run: bool, yes: bool, wait: int, output: str) -> None:
    """Plan, tell, and unless it is a dry run, patch the cluster and wait; fills in ``report``."""
    plan = apply.plan(wanted, apply.live_cib())
    report["changes"] = [change.as_dict() for change in plan.changes]
    report["effects"] = [effect.as_dict() for effect in plan.effects]
    report["notes"] = [*plan.notes, *render.service_notes(wanted)]
    if output == "text":
        _show(plan)
    for note in report["notes"]:
        _say(f"note: {note}")
    if dry_run or not plan.needed:
        return
    _agree(plan, yes)
    apply.commit(wanted, plan)
    report["applied"] = True
    started = time.monotonic()
    report["not_running"] = apply.settle(wanted, wait, _say)
    report["waited_s"] = round(time.monotonic() - started, 1)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _show(plan: apply.Plan) -> None:
    if not plan.needed:
        click.echo("nothing to do: the cluster has this configuration already")
        return
    for change in plan.changes:
        click.echo(str(change))
    if not plan.changes:
        click.echo("no change in the configuration; only the record of what hafailover has set is brought up to date")
    for effect in plan.effects:
        click.echo(f"the cluster would {effect}")


def on_terminal() -> bool:
    """Whether there is somebody who can be asked."""
    return sys.stdin.isatty()


def _agree(plan: apply.Plan, yes: bool) -> None:
    if yes:
        return
    interrupts = "; ".join(str(effect) for effect in plan.disruptive)
    if on_terminal():
        if not click.confirm("Apply?" if not interrupts else f"This interrupts: {interrupts}. Apply?", err=True):
            raise RefusedError("not applied, nothing was changed")
    elif interrupts:
        raise RefusedError(
            f"this would interrupt running services ({interrupts}); nothing was changed. Allow it with --yes"
        )
