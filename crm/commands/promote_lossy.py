"""``hafailover promote NODE --accept-data-loss``."""

from __future__ import annotations

from collections.abc import Callable

import click
from hafailover.crm import local
from hafailover.crm.accept_loss import Loss, as_json, losses, position_words, refusal
from hafailover.crm.accept_loss_run import await_promotion, record
from hafailover.crm.commands.explain import published
from hafailover.crm.commands.json_answer import give
from hafailover.crm.errors import DONE, INCOMPLETE, REFUSED
from hafailover.crm.explain import explain, journal_words
from hafailover.crm.status import Service, Status
from hafailover.crm.status_facts import gather
from hafailover.crm.status_read import read
from hafailover.crm.status_text import wrapped
from hafailover.crm.switchover import Answers
from hafailover.crm.switchover_facts import ask_everybody


def run(
    node: str,
    choose: Callable[[Status], Service],
    dry_run: bool,
    yes: bool,
    timeout: float,
    say: Callable[[str], None],
    with_json: bool,
) -> int:
    """Show what would be lost, ask, record the decision and wait for the promotion; the exit code."""
    status, service, answers, reason = _look(node, choose)
    lost = losses(status, service, node, answers)

    def ended(result: str, code: int, says: str) -> int:
        if with_json:
            give(as_json(service, node, result, code, says, lost))
        return code

    if reason:
        click.echo(f"hafailover: refused, nothing was changed: {reason}", err=True)
        return ended("refused", REFUSED, reason)
    _show(status, service, node, answers, lost, say)
    if dry_run:
        say("\nNothing was changed (--dry-run).")
        return ended("planned", DONE, "")
    if not yes:
        typed = click.prompt(f"\nType {node} to accept that loss", default="", show_default=False, err=True)
        if typed.strip() != node:
            say("Nothing was changed.")
            return ended("refused", REFUSED, "not confirmed")
        _, service, answers, reason = _look(node, choose)
        if reason:
            click.echo(f"hafailover: refused, things have changed meanwhile: {reason}", err=True)
            return ended("refused", REFUSED, reason)
    mine = answers.servers.get(node)
    with local.without_interrupts():
        entry = record(local.run, service, node, mine.position if mine and not mine.error else "")
    why = f"after {timeout:g} s"
    try:
        with local.signals_as_interrupt():
            say(
                f"\nRecorded: {node} is the last primary, by decision, epoch {entry.epoch}. Now the cluster promotes it."
            )
            there = await_promotion(local.run, service, node, timeout, lambda text: say(f"  {text}"))
    except KeyboardInterrupt:
        there, why = False, "yet, and nobody waits for it any longer (interrupted)"
    if there:
        says = f"{node} is the primary of {service.name}. Other nodes with data of their own will not replicate: hafailover explain"
        say(f"DONE  {says}")
        return ended("done", DONE, says)
    says = f"the decision is recorded, but {node} is not the primary {why}: hafailover explain {node}"
    say(f"INCOMPLETE  {says}")
    return ended("incomplete", INCOMPLETE, says)


def _look(node: str, choose: Callable[[Status], Service]) -> tuple[Status, Service, Answers, str | None]:
    status = read(gather(local.run))
    service = choose(status)
    answers, said = ask_everybody(service), published(service.name)
    return status, service, answers, refusal(status, service, node, explain(status, service, answers, said), said)


def _show(
    status: Status,
    service: Service,
    node: str,
    answers: Answers,
    lost: tuple[Loss, ...],
    say: Callable[[str], None],
) -> None:
    lines = [f"Making {node} the primary of {service.name} with what it has", ""]
    lines += wrapped(f"{journal_words(service, status.at)}.", "  ", "  ")
    lines += wrapped(f"{node}: {position_words(answers.servers.get(node))}.", "  ", "  ")
    lines += ["", "What would be lost"]
    for loss in lost:
        lines += wrapped(loss.says, f"  {loss.node}  ", " " * (len(loss.node) + 4))
    lines += ["", *wrapped(_AFTERWARDS, "", "")]
    for line in lines:
        say(line)


_AFTERWARDS = (
    "Nothing is deleted: a node that returns with data that the new primary does not have keeps it and does not replicate, until a "
    "person has looked at it."
)
