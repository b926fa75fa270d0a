"""``hafailover rejoin``."""

from __future__ import annotations

import sys
from typing import Any

import click
from hafailover.agents.mariadb.cloning import notes
from hafailover.crm import completion, consent, local, rejoin, switchover_facts
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.commands.promote import choose_service
from hafailover.crm.errors import REFUSED, HafailoverError, RefusedError, UsageError
from hafailover.crm.history.record import conclude
from hafailover.crm.progress import Progress, tell
from hafailover.crm.status_facts import ClusterDown, gather
from hafailover.crm.status_read import read

_EPILOG = """\b
Examples:
  hafailover rejoin db2 --dry-run
  hafailover rejoin db2
  hafailover rejoin db2 --clone --yes
  hafailover rejoin db2 --discard-old

\b
Exit code: 0 done (or --dry-run and it would go); 1 failed, the old data are
in place, or the node does not say any more how far it is; 2 wrong usage;
3 refused, nothing was changed; 4 the node runs on the clone but is not in
sync yet, the old data are kept.
"""


@click.command(cls=JsonCommand, epilog=_EPILOG)
@click.argument("node", shell_complete=completion.nodes)
@completion.service
@click.option("--clone", is_flag=True, help="Rebuild the node from a healthy peer, whatever its state.")
@click.option("--discard-old", is_flag=True, help="Remove for good what an earlier rejoin kept in quarantine.")
@consent.options()
@output
def command(
    node: str, service_name: str | None, clone: bool, discard_old: bool, dry_run: bool, yes: bool, output: str
) -> None:
    """Bring the database on NODE back to the primary's history.

    Takes the lowest rung that loses nothing: following by GTID if the primary holds everything that NODE holds, else a clone. Data that
    nobody else has are kept in quarantine. Runs on NODE in the background; this command shows how far it is.
    """
    local.need_root("rejoin", "it reads the replication account")
    if clone and discard_old:
        raise UsageError("--clone and --discard-old are two steps: first one, then the other")
    consent.need_somebody(yes, dry_run)
    try:
        service = choose_service(read(gather(local.run)), node, service_name)
    except ClusterDown as error:
        raise HafailoverError(f"{error}: run it on another node of the cluster") from None
    login, wrong = switchover_facts.credentials(service)
    if login is None:
        raise HafailoverError(f"{wrong}; run it on a data node of {service.name}")
    talk = _Talk(output == "json", service.name, node)
    target = rejoin.Node(service, node, login)
    instance = service.instance(node)
    if instance is not None and instance.role == "Stopped":
        _restart(target, talk, clone, dry_run, yes)
        return
    plan = target.ask("plan", clone=clone)
    if discard_old:
        _discard(target, plan, talk, dry_run, yes)
        return
    _begin(target, plan, talk, clone, dry_run, yes)
    if dry_run:
        talk.say("\nNothing was changed (--dry-run).")
        talk.result("planned", plan, {})
        return
    _watch(target, plan, talk)


def _begin(target: rejoin.Node, plan: dict[str, Any], talk: _Talk, clone: bool, dry_run: bool, yes: bool) -> None:
    """Show the plan and, unless it is only to be shown, have the node carry it out."""
    if plan["under_way"]:
        talk.say(f"{target.name} is being rebuilt already.")
        return
    talk.say(f"Rejoin of {target.name} to {plan['primary'] or 'nobody'} ({target.service.name})\n")
    talk.rows(plan)
    if plan["refusal"]:
        talk.refused(plan)
    if not dry_run:
        _confirm("\nGo ahead?", yes, talk, plan)
        target.ask("rejoin", clone=clone)


def _confirm(question: str, yes: bool, talk: _Talk, plan: dict[str, Any]) -> None:
    if yes or click.confirm(question, err=True):
        return
    talk.say("Nothing was changed.")
    talk.result(notes.REFUSED, plan, {})
    sys.exit(REFUSED)


def _restart(target: rejoin.Node, talk: _Talk, clone: bool, dry_run: bool, yes: bool) -> None:
    """The instance is not started: either somebody stopped it, or its server does not start on its data."""
    if not clone:
        raise RefusedError(
            f"{target.service.name} is not started on {target.name}: see why with hafailover status; if its server does not start on "
            "its data, --clone rebuilds it"
        )
    talk.say(
        f"{target.service.name} on {target.name} is started again, to be cloned. Its data are kept, unless its server starts after all "
        "and shows that the primary holds all of them."
    )
    plan = {"rung": "quarantine", "why": "its server does not start", "lost": [], "quarantine": [], "refusal": ""}
    if dry_run:
        talk.say("\nNothing was changed (--dry-run).")
        talk.result("planned", plan, {})
        return
    _confirm("\nGo ahead?", yes, talk, plan)
    if not target.clone_at_start(local.run):
        talk.say(f"\nThe server on {target.name} has started after all.\n")
        plan = target.ask("plan", clone=True)
        _begin(target, plan, talk, clone=True, dry_run=False, yes=True)
    _watch(target, plan, talk)


def _discard(target: rejoin.Node, plan: dict[str, Any], talk: _Talk, dry_run: bool, yes: bool) -> None:
    if not plan["quarantine"]:
        talk.say(f"Nothing is kept in quarantine on {target.name}.")
        talk.result(notes.DONE, plan, {"discarded": []})
        return
    for path in plan["quarantine"]:
        talk.say(f"{path} on {target.name} {'would be' if dry_run else 'is to be'} removed for good.")
    if dry_run:
        talk.result("planned", plan, {})
        return
    _confirm("\nNobody else has what these data hold. Remove them?", yes, talk, plan)
    gone = target.ask("discard")
    talk.say(f"Removed {len(gone['discarded'])}.")
    talk.result(notes.DONE, plan, gone)


def _watch(target: rejoin.Node, plan: dict[str, Any], talk: _Talk) -> None:
    talk.say("")
    last: dict[str, Any] = {}
    try:
        for last in target.watch():
            talk.progress(last)
    except KeyboardInterrupt:
        talk.end_line()
        talk.say(f"It goes on in the background; hafailover rejoin {target.name} shows how far it is.")
        talk.result(rejoin.INTERRUPTED, plan, last)
        sys.exit(rejoin.EXIT[rejoin.INTERRUPTED])
    except HafailoverError:
        talk.end_line()
        talk.result(rejoin.UNKNOWN, plan, last)
        raise
    talk.end_line()
    talk.say(str(last.get("text", "")))
    talk.result(str(last["state"]), plan, last)
    conclude(str(last.get("text", "")))
    sys.exit(rejoin.EXIT[last["state"]])


class _Talk:
    """Where words go: text on standard output; with JSON there, everything else on standard error."""

    def __init__(self, as_json: bool, service: str, node: str) -> None:
        self._json, self._service, self._node = as_json, service, node
        self._progress = Progress(err=as_json)

    def say(self, text: str) -> None:
        tell(text, self._json)

    def rows(self, plan: dict[str, Any]) -> None:
        for name, text in rejoin.lines(plan):
            self.say(f"  {name:<8}  {text}")

    def progress(self, told: dict[str, Any]) -> None:
        """How far the node says that it is."""
        if told["state"] != notes.RUNNING:
            return
        self._progress.now(str(told.get("text", "")), told.get("done", 0), told.get("total", 0), rejoin.pace(told))

    def end_line(self) -> None:
        self._progress.end()

    def result(self, result: str, plan: dict[str, Any], last: dict[str, Any]) -> None:
        if self._json:
            give(rejoin.as_json(self._service, self._node, result, plan, last))

    def refused(self, plan: dict[str, Any]) -> None:
        """End with REFUSED and the reason."""
        self.result(notes.REFUSED, plan, {})
        click.echo(f"hafailover: refused, nothing was changed: {plan['refusal']}", err=True)
        conclude(str(plan["refusal"]))
        sys.exit(REFUSED)
