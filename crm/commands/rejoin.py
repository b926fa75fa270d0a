"""``hafailover rejoin``."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click
from hafailover.agents.mariadb.cloning import notes
from hafailover.crm import local, rejoin, switchover_facts
from hafailover.crm.commands.promote import choose_service
from hafailover.crm.errors import REFUSED, HafailoverError, RefusedError, UsageError
from hafailover.crm.status_facts import ClusterDown, gather
from hafailover.crm.status_read import read

_STEP = 10  # percent between two lines of progress where there is no terminal

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


@click.command(epilog=_EPILOG)
@click.argument("node")
@click.option("--service", "service_name", metavar="NAME", help="Which database service, if there are several.")
@click.option("--clone", is_flag=True, help="Rebuild the node from a healthy peer, whatever its state.")
@click.option("--discard-old", is_flag=True, help="Remove for good what an earlier rejoin kept in quarantine.")
@click.option("--dry-run", is_flag=True, help="Show what would be done and why; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def command(
    node: str, service_name: str | None, clone: bool, discard_old: bool, dry_run: bool, yes: bool, output: str
) -> None:
    """Bring the database on NODE back to the primary's history.

    Takes the lowest rung that loses nothing: following by GTID if the primary holds everything that NODE holds, else a clone. Data that
    nobody else has are kept in quarantine. Runs on NODE in the background; this command shows how far it is.
    """
    if os.geteuid() != 0:
        raise HafailoverError("rejoin must be run as root: it reads the replication account")
    if clone and discard_old:
        raise UsageError("--clone and --discard-old are two steps: first one, then the other")
    try:
        service = choose_service(read(gather(local.run)), node, service_name)
    except ClusterDown as error:
        raise HafailoverError(f"{error}: run it on another node of the cluster") from None
    if not (yes or dry_run) and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "there is no terminal to ask on: add --yes to go ahead without being asked, or --dry-run to look"
        )
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
    if plan["under_way"]:
        talk.say(f"{node} is being rebuilt already.")
    else:
        talk.say(f"Rejoin of {node} to {plan['primary'] or 'nobody'} ({service.name})\n")
        talk.rows(plan)
        if plan["refusal"]:
            talk.refused(plan)
        if not dry_run:
            _confirm("\nGo ahead?", yes, talk, plan)
            target.ask("rejoin", clone=clone)
    if dry_run:
        talk.say("\nNothing was changed (--dry-run).")
        talk.result("planned", plan, {})
        return
    _watch(target, plan, talk)


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
        f"{target.service.name} on {target.name} is started again; if its server does not start, it is cloned and its data kept."
    )
    plan = {"rung": "quarantine", "why": "its server does not start", "lost": [], "quarantine": [], "refusal": ""}
    if dry_run:
        talk.say("\nNothing was changed (--dry-run).")
        talk.result("planned", plan, {})
        return
    _confirm("\nGo ahead?", yes, talk, plan)
    target.clone_at_start(local.run)
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
        sys.exit(130)
    except HafailoverError:
        talk.end_line()
        talk.result(rejoin.UNKNOWN, plan, last)
        raise
    talk.end_line()
    talk.say(str(last.get("text", "")))
    talk.result(str(last["state"]), plan, last)
    sys.exit(rejoin.EXIT[last["state"]])


class _Talk:
    """Where words go: text on standard output; with JSON there, everything else on standard error."""

    def __init__(self, as_json: bool, service: str, node: str) -> None:
        self._json, self._service, self._node = as_json, service, node
        self._terminal = sys.stderr.isatty() if as_json else sys.stdout.isatty()
        self._said = ""
        self._open = 0

    def say(self, text: str) -> None:
        click.echo(text, err=self._json)

    def rows(self, plan: dict[str, Any]) -> None:
        for name, text in rejoin.lines(plan):
            self.say(f"  {name:<8}  {text}")

    def progress(self, told: dict[str, Any]) -> None:
        """A line that is written over on a terminal; elsewhere one for each phase and each tenth of an amount."""
        if told["state"] != notes.RUNNING:
            return
        line = rejoin.progress_line(told)
        if self._terminal:
            click.echo("\r" + line.ljust(self._open), nl=False, err=self._json)
            self._open = len(line)
            return
        total = told.get("total", 0)
        step = f"{told.get('phase')} {told.get('text')} {100 * told['done'] // total // _STEP if total else ''}"
        if step != self._said:
            self._said = step
            self.say(line)

    def end_line(self) -> None:
        if self._open:
            self._open = 0
            self.say("")

    def result(self, result: str, plan: dict[str, Any], last: dict[str, Any]) -> None:
        if self._json:
            click.echo(json.dumps(rejoin.as_json(self._service, self._node, result, plan, last), indent=2))

    def refused(self, plan: dict[str, Any]) -> None:
        """End with REFUSED and the reason."""
        self.result(notes.REFUSED, plan, {})
        click.echo(f"hafailover: refused, nothing was changed: {plan['refusal']}", err=True)
        sys.exit(REFUSED)
