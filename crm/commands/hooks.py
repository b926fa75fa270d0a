"""``hafailover hooks``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from hafailover.agents.mariadb import hooks
from hafailover.crm import completion, consent, hooks_text, local, promotion_run, switchover_facts
from hafailover.crm.command_group import Group
from hafailover.crm.commands.json_answer import JsonCommand, give, known, output
from hafailover.crm.commands.promote import choose_service
from hafailover.crm.errors import FAILED, HafailoverError, RefusedError
from hafailover.crm.history.audited import audited
from hafailover.crm.history.record import words
from hafailover.crm.progress import tell
from hafailover.crm.status import Status
from hafailover.crm.status_facts import gather
from hafailover.crm.status_read import read
from hafailover.hooks import trusted


@click.group(cls=Group, name="hooks", short_help="Show how the promotion hooks went, and run them again.")
def command() -> None:
    """Show how the promotion hooks went, and run them again.

    \b
    Examples:
      hafailover hooks status
      hafailover hooks run post-promote --node db2 --dry-run
      hafailover hooks run post-promote --node db2 --reason "DNS is back"
    """


@command.command(cls=JsonCommand)
@output
def status(output: str) -> None:
    """Show how the hooks of the latest change of each primary went, and those that this node could not run now.

    Exit code: 1 there is one that this node could not run; else 0.

    \b
    Example:
      hafailover hooks status
      hafailover hooks status -o json | jq '.hooks[] | select(.state != "ok")'
    """
    seen = read(gather(local.run))
    found = [(service.name, went, said) for service in seen.services for went, said in hooks_text.current(service)]
    unfit = [dict(zip(("service", "event", "hook", "says"), row)) for row in _unfit(seen)]
    if output == "json":
        rows = [{"service": name, **went._asdict(), "says": said} for name, went, said in found]
        give({"schema": 1, "hooks": rows, "unfit": unfit})
        sys.exit(FAILED if unfit else 0)
    for name, went, said in found:
        click.echo(
            f"{name}: {went.event} on {went.node}, epoch {went.epoch}: {went.state}{f' ({said})' if said else ''}"
        )
    if not found:
        click.echo("No hook was run since the primary last changed.")
    for one in unfit:
        click.echo("This node could not run the {event} hook {hook} of {service}: {says}".format(**one))
    sys.exit(FAILED if unfit else 0)


def _unfit(seen: Status) -> Iterator[tuple[str, str, str, str]]:
    """The hooks of this node that would not be run, and why."""
    for service in seen.services:
        for event, wanted in (hooks.configured(service.name) or {"hooks": {}})["hooks"].items():
            for hook in wanted:
                why = trusted.unfit(hook["command"][0])
                if why:
                    yield service.name, event, hook["name"], why


@command.command(cls=JsonCommand)
@click.argument("event", type=click.Choice(hooks.EVENTS))
@click.option("--node", required=True, help="On which node.", shell_complete=completion.nodes)
@completion.service
@consent.options()
@output
def run(event: str, node: str, service_name: str | None, dry_run: bool, yes: bool, output: str) -> None:
    """Run the hooks of EVENT on a node again, as after the latest change of the primary.

    Exit code: 0 all critical ones succeeded; 1 one failed, or NODE has none to run.

    \b
    Example:
      hafailover hooks run post-promote --node db2 --dry-run
      hafailover hooks run post-promote --node db2 --reason "DNS is back"
    """
    consent.need_somebody(yes, dry_run)
    seen: Status = read(gather(local.run))
    service = choose_service(seen, node, service_name)
    here = promotion_run.concerned(service, node, event)
    chosen = hooks.chosen(hooks.configured(service.name), event, here)
    report = known({"schema": 1, "service": service.name, "event": event, "node": node, "run": [], "failed": []})
    if dry_run or not yes:
        will = "would" if dry_run else "will"
        for hook in chosen:
            line = f"{will} run on {node}: {hook['name']}, at most {hook['timeout']:g} s: {words(hook['command'])}"
            click.echo(line, err=output == "json" or not dry_run)
        report["would_run"] = [hook["name"] for hook in chosen]
    if dry_run:
        if not chosen:
            raise HafailoverError(f"{node} has no {event} hooks to run now")
        if output == "json":
            give(report)
        return
    if not yes and not click.confirm(f"\nRun the {event} hooks on {node}?", err=True):
        raise RefusedError("no hook was run")
    login, _ = switchover_facts.credentials(service)
    told = promotion_run.run_again(seen, service, node, event, login)
    report.update(run=list(told.get("run", ())), failed=list(told.get("failed", ())))
    if not told.get("run"):
        raise HafailoverError(f"{node} has no {event} hooks to run now")
    if output == "json":
        give(report)
    else:
        tell(f"run on {node}: {', '.join(told['run'])}")
    for said in told.get("failed", ()):
        tell(f"hafailover: {said}", err=True)
    if told.get("failed"):
        raise SystemExit(FAILED)


audited("hooks", run)
