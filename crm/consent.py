"""Who agrees to a change: a person at the terminal, or the option ``--yes``. In automation a prompt hangs, or chance answers it."""

from __future__ import annotations

import sys
from typing import Any, Callable, TypeVar

import click
from hafailover.crm.errors import UsageError

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def options(also: str = "") -> Callable[[_Command], _Command]:
    """``--dry-run`` and ``--yes`` of a command that changes the cluster, parameters ``dry_run`` and ``yes``.

    ``also``: what else ``--yes`` agrees to, as a clause. Every command that has them says the same of them.
    """
    dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
    agreed = click.option("--yes", is_flag=True, help=f"Do not ask{'; ' if also else ''}{also}.")
    return lambda command: dry_run(agreed(command))


def on_terminal() -> bool:
    """Whether there is somebody who can be asked, and sees the question."""
    try:
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    except ValueError:  # one of them is closed
        return False


def need_somebody(yes: bool, dry_run: bool) -> None:
    """UsageError when nobody has agreed and nobody can be asked; nothing has been looked at then."""
    if not (yes or dry_run or on_terminal()):
        raise UsageError(
            "there is no terminal to ask on: add --yes to go ahead without being asked, or --dry-run to look"
        )
