"""``hafailover apply``: bring a topology's configuration into the running cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from hafailover.crm import (
    apply,
    apply_lock,
    completion,
    consent,
    local,
    members_run,
    plan,
    render,
    simulate,
    topology,
    undo,
    undo_store,
)
from hafailover.crm.apply_outcome import Made
from hafailover.crm.commands.json_answer import JsonCommand, give, known, output
from hafailover.crm.consent import on_terminal
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.crm.members import Steps
from hafailover.crm.progress import tell
from hafailover.crm.topology import Topology


@click.command(cls=JsonCommand)
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path(), shell_complete=completion.topologies)
@consent.options("allow running services to be interrupted, the primary to be taken away, and what lint calls an error")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.IntRange(0, 86400),
    default=300,
    show_default=True,
    help="How long to wait until everything runs.",
)
@output
def command(topology_file: str, dry_run: bool, yes: bool, wait: int, output: str) -> None:
    """Bring the configuration of TOPOLOGY into the cluster that runs on this node.

    Only what differs is changed. Standby, maintenance, bans and everything that hafailover did not make stay as they
    are; what an earlier apply made and TOPOLOGY no longer has is removed. A node that TOPOLOGY has and the cluster has
    not is taken in first, one that is stopped and no longer in TOPOLOGY is removed. What would stop or demote the primary, and a
    TOPOLOGY with what lint calls an error, is refused without --yes. What was before is kept: hafailover undo.

    \b
    Example:
      hafailover plan /etc/hafailover/topology.yml
      hafailover apply /etc/hafailover/topology.yml
    """
    wanted = topology.load(topology_file)
    report = known(_nothing(wanted, topology_file))
    if not local.installed("cibadmin"):
        raise HafailoverError("Pacemaker is not installed on this machine; run this on a node of the cluster")
    if os.geteuid() != 0:
        raise UsageError(local.NOT_ROOT)
    if not dry_run:
        _lint(wanted, yes)
        apply.live_cib()
        with local.signals_as_interrupt(), apply_lock.held(f"apply {Path(topology_file).absolute()}"):
            _run(wanted, report, dry_run=False, yes=yes, wait=wait, output=output)
    else:
        _run(wanted, report, dry_run=True, yes=yes, wait=wait, output=output)
    if report["not_running"]:
        left = "; ".join(report["not_running"])
        raise IncompleteError(f"the configuration is in the cluster, but after {wait} s: {left}. See hafailover status")
    if output == "json":
        give(report)


def _nothing(wanted: Topology, topology_file: str) -> dict[str, Any]:
    """The report of what is done, while nothing is."""
    return {
        "topology": topology_file,
        "cluster": wanted.name,
        "membership": [],
        "changes": [],
        "effects": [],
        "notes": [],
        "applied": False,
        "refused": None,
        "not_running": [],
        "waited_s": 0.0,
    }


def _lint(wanted: Topology, yes: bool) -> None:
    errors = plan.lint_errors(wanted)
    for error in errors if yes else ():
        _say(f"note: lint: {error}")
    if errors and not yes:
        shown = "\n  ".join(errors[: plan.MANY])
        more = f"\n  and {len(errors) - plan.MANY} more" if len(errors) > plan.MANY else ""
        raise RefusedError(
            f"{wanted.file} has what lint calls an error, nothing was changed:\n  {shown}{more}\n"
            "Mend it (hafailover lint explains), ignore the rule with a reason, or apply it all the same with --yes"
        )


def _run(wanted: Topology, report: dict[str, Any], *, dry_run: bool, yes: bool, wait: int, output: str) -> None:
    live = apply.live_cib()
    apply.wait_for_coordinator(min(wait, 60), _say)
    live = apply.live_cib()
    apply.refuse_other_cluster(wanted, live)
    if not dry_run:
        tidy(live)
    deadline = time.monotonic() + wait
    todo = plan.membership(wanted, live)
    report["membership"] = todo.sentences()
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
        except (RefusedError, UsageError, OSError) as error:  # OSError: nobody reads what would be changed
            if not done:
                raise
            raise IncompleteError(f"{'; '.join(done)}; but the configuration is not applied: {error}") from None
    if todo and not dry_run:
        report["not_running"] += members_run.silent_device(wanted, deadline, _say)
    if output == "text" and report["applied"]:
        how = "not everything runs" if report["not_running"] else "settled"
        tell(f"applied: {len(report['changes'])} changes, {how} after {report['waited_s']} s")


def _change_members(wanted: Topology, todo: Steps, deadline: float, yes: bool) -> list[str]:
    """Carry out ``todo``; what was done, in sentences. RefusedError when nobody agrees to lose a node."""
    done: list[str] = []
    gone = ", ".join(todo.leaving)
    if todo and not (yes or on_terminal()):
        what = f"remove {gone} from the cluster" if gone else "; ".join(todo.sentences())
        raise UsageError(f"this would {what}; nothing was changed. Allow it with --yes")
    if gone and not yes and not click.confirm(f"Remove {gone} from the cluster?", err=True):
        raise RefusedError("not applied, nothing was changed")

    def tell(sentence: str) -> None:
        done.append(sentence)
        _say(sentence)

    if todo:
        members_run.carry_out(wanted, todo, deadline, _say, tell)
    return done


def _configure(wanted: Topology, report: dict[str, Any], *, dry_run: bool, yes: bool, wait: int, output: str) -> None:
    """Plan, tell, and unless it is a dry run, patch the cluster and wait; fills in ``report``."""
    agreed = apply.plan(wanted, apply.live_cib())
    report["changes"] = [change.as_dict() for change in agreed.changes]
    report["effects"] = [effect.as_dict() for effect in (*agreed.effects, *agreed.later)]
    report["notes"] = [*agreed.notes, *render.service_notes(wanted), *plan.absent(simulate.nodes())]
    if output == "text":
        show(agreed)
    for note in report["notes"]:
        _say(f"note: {note}")
    if dry_run or not agreed.needed:
        return
    agree(agreed, yes, "Apply")
    keep(f"apply {Path(wanted.file).absolute()}", wanted.name, agreed, lambda: apply.commit(wanted, agreed))
    report["applied"] = True
    started = time.monotonic()
    report["not_running"] = settled(lambda: apply.settle(wanted, wait, _say))
    report["waited_s"] = round(time.monotonic() - started, 1)


def _say(text: str) -> None:
    tell(text, err=True)


def show(agreed: apply.Plan) -> None:
    """Tell what would change and what the cluster would do about it."""
    if not agreed.needed:
        click.echo("nothing to do: the cluster has this configuration already")
        return
    for change in agreed.changes:
        click.echo(str(change))
    if not agreed.changes:
        click.echo("no change in the configuration; only the record of what hafailover has set is brought up to date")
    for effect in (*agreed.effects, *agreed.later):
        click.echo(f"the cluster would {effect}")


def tidy(live: Any) -> None:
    """Look what became of changes that a killed command left unfinished; only for who holds the lock."""
    try:
        undo.settle(live)
    except HafailoverError as error:
        _say(f"note: {error}")


def settled(wait: Callable[[], list[str]]) -> list[str]:
    """What ``wait`` says is left after a change; IncompleteError when somebody interrupts it."""
    try:
        return wait()
    except KeyboardInterrupt:
        raise IncompleteError(
            "interrupted while waiting; the configuration is in the cluster. See hafailover status"
        ) from None


def keep(what: str, cluster: str, agreed: apply.Plan, carry_out: Callable[[], Made]) -> None:
    """Carry a plan out, and keep what was before, so that it can be taken back."""
    entry = undo_store.add(what, cluster, agreed.live, agreed.tree)
    try:
        made = carry_out()
    except BaseException as error:
        # What cannot be noted now stays pending, and the next command looks what became of it.
        with local.without_interrupts(), suppress(HafailoverError):
            undo.close(entry, error, apply.live_cib)
        if isinstance(error, OSError):
            raise HafailoverError(f"the change cannot be made: {error}; nothing was changed") from None
        raise
    try:
        undo_store.became(entry, made.before, made.after)
    except HafailoverError as error:
        _say(f"note: the change is in the cluster, but {error}; make room, the next apply or undo looks again")


def agree(agreed: apply.Plan, yes: bool, verb: str) -> None:
    """Ask whoever is there: UsageError when that is nobody, RefusedError on a no, or without --yes when it takes the primary away."""
    if yes:
        return
    if agreed.primaries:
        raise RefusedError(
            f"this would take the primary away from its users ({'; '.join(map(str, agreed.primaries))}); nothing was changed. "
            "Allow it with --yes"
        )
    interrupts = "; ".join(str(effect) for effect in agreed.disruptive)
    if on_terminal():
        if not click.confirm(f"{verb}?" if not interrupts else f"This interrupts: {interrupts}. {verb}?", err=True):
            raise RefusedError("not done, nothing was changed")
    else:
        what = f"interrupt running services ({interrupts})" if interrupts else f"make {len(agreed.changes)} changes"
        raise UsageError(f"this would {what}; nothing was changed. Allow it with --yes")
