"""Commands that change the cluster: each writes into the history, and may be given a reason."""

from __future__ import annotations

import sys
from typing import Any

import click
from hafailover.crm.history.record import audit

_KEY = "hafailover.reason"


def audited(name: str, command: click.Command) -> click.Command:
    """``command`` with an option ``--reason``, and written down whenever it is more than a look."""
    if getattr(command, "hafailover_audited", False):
        return command
    given = command.invoke

    def invoke(context: click.Context) -> Any:
        if context.params.get("dry_run") or _looks(context):
            return given(context)
        argv = ["hafailover", *sys.argv[1:]]
        with audit(name, argv, str(context.meta.get(_KEY) or "")):
            try:
                return given(context)
            except click.Abort as error:  # Ctrl-C, or the end of what is typed, at a question
                raise KeyboardInterrupt from error

    def keep(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        context.meta[_KEY] = value

    command.params.append(
        click.Option(
            ["--reason"], metavar="TEXT", expose_value=False, callback=keep, help="Why, for hafailover history."
        )
    )
    command.invoke = invoke  # type: ignore[method-assign,assignment]
    command.hafailover_audited = True  # type: ignore[attr-defined]
    return command


def _looks(context: click.Context) -> bool:
    """Whether it only tells of what it could do, as ``drill --list`` does."""
    return any(context.params.get(name) for name in ("list_", "plan_only"))
