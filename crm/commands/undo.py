"""``hafailover undo``: take back the last change of the cluster's configuration."""

from __future__ import annotations

import os
import time
from typing import Any

import click
from hafailover.crm import apply, apply_lock, completion, consent, local, plan, undo, undo_store
from hafailover.crm.commands.apply import agree, keep, settled
from hafailover.crm.commands.json_answer import JsonCommand, give, known, output
from hafailover.crm.errors import HafailoverError, IncompleteError, UsageError
from hafailover.crm.progress import tell
from hafailover.crm.undo_store import Damaged, Entry


@click.command(cls=JsonCommand)
@click.argument("number", type=click.IntRange(1), required=False, shell_complete=completion.changes)
@click.option("--list", "list_", is_flag=True, help="List what is kept on this node, the oldest first, and leave.")
@consent.options("allow running services to be interrupted, and the primary to be taken away")
@click.option("--despite-changes", is_flag=True, help="Go on although somebody has changed the configuration since.")
@click.option(
    "--wait", metavar="SECONDS", type=click.IntRange(0, 86400), default=300, show_default=True, help="How long to wait."
)
@output
def command(
    number: int | None, list_: bool, dry_run: bool, yes: bool, despite_changes: bool, wait: int, output: str
) -> None:
    """Take back the last change that hafailover apply (or undo) made from this node; with NUMBER also every one since that one,
    the newest first.

    Only what the change did is taken back: standby, maintenance, bans, what somebody added, and what the agents have noted stay. It is
    refused when somebody has changed the configuration since. An undo can be undone. Nodes that were taken in or removed stay so.

    \b
    Example:
      hafailover undo --dry-run
      hafailover undo
      hafailover undo --list
    """
    if os.geteuid() != 0:
        raise UsageError(local.NOT_ROOT)
    if list_:
        _list(output)
        return
    if not local.installed("cibadmin"):
        raise HafailoverError("Pacemaker is not installed on this machine; run this on a node of the cluster")
    taken = undo.chosen(undo_store.entries(), number)
    report = known({"undo": taken.number, "what": taken.what, "applied": False, "not_running": []})
    if dry_run:
        live = apply.live_cib()
        kept = [undo.settled(one, live, time.time()) if isinstance(one, Entry) else one for one in undo_store.entries()]
        taken = undo.chosen([one for one in kept if one is not None], number)
        report.update(undo=taken.number, what=taken.what)
        _look(taken, despite_changes, report, output)
    else:
        apply.live_cib()
        with local.signals_as_interrupt(), apply_lock.held(f"undo {taken.number}"):
            apply.wait_for_coordinator(min(wait, 60), _say)
            # Somebody may have made or finished another change until the lock was ours.
            taken = undo.chosen(undo.settle(apply.live_cib()), number)
            report.update(undo=taken.number, what=taken.what)
            made = _look(taken, despite_changes, report, output)
            if made.needed:
                _carry_out(taken, made, report, yes, wait)
    if output == "text" and report["applied"]:
        tell(f"taken back: {taken.what}")
    if report["not_running"]:
        left = "; ".join(report["not_running"])
        raise IncompleteError(f"the configuration is in the cluster, but after {wait} s: {left}. See hafailover status")
    if output == "json":
        give(report)


def _look(taken: undo.Taken, despite: bool, report: dict[str, Any], output: str) -> apply.Plan:
    live = apply.live_cib()
    undo.refuse(taken, live, despite)
    made = undo.plan(taken, live)
    report.update(plan.as_dict(made))
    if output == "text":
        click.echo(f"taking back {taken}")
        if made.needed:
            click.echo("\n".join(plan.lines(made)))
        else:
            click.echo("nothing to do: the cluster has the configuration from before it already")
    for note in made.notes:
        _say(f"note: {note}")
    return made


def _carry_out(taken: undo.Taken, made: apply.Plan, report: dict[str, Any], yes: bool, wait: int) -> None:
    agree(made, yes, "Take it back")
    finish = f"hafailover undo {taken.number} takes back the rest"
    keep(f"undo of {taken.what}", taken.cluster, made, lambda: apply.carry_out(made, undo.again(taken), finish))
    report["applied"] = True
    started = time.monotonic()
    report["not_running"] = settled(lambda: apply.settled(undo.own(made.tree), wait, _say))
    report["waited_s"] = round(time.monotonic() - started, 1)


def _list(output: str) -> None:
    entries = undo_store.entries()
    if output == "json":
        give([_listed(one) for one in entries])
    else:
        click.echo("\n".join(map(str, entries)) or "nothing is kept on this node")


def _listed(one: Entry | Damaged) -> dict[str, Any]:
    if isinstance(one, Damaged):
        return {"number": one.number, "state": "damaged", "why": one.why}
    state = one.state or "made"
    return {"number": one.number, "when": one.when, "who": one.who, "what": one.what, "state": state}


def _say(text: str) -> None:
    tell(text, err=True)
