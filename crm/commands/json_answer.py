"""With ``-o json`` a command's standard output is one JSON document, also when it is refused: what a script can rely on.

The document of a refusal is what the command knew by then and ``result`` (``usage``, ``refused``, ``incomplete``, ``failed`` or
``interrupted``), ``says`` (the sentence that stands on standard error as well) and ``exit_code``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click
from hafailover.crm.command_group import Group
from hafailover.crm.errors import FAILED, INCOMPLETE, INTERRUPTED, REFUSED, USAGE, HafailoverError

output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
"""The option by which every command that reports is asked for JSON; parameter ``output``."""

_RESULTS = {USAGE: "usage", REFUSED: "refused", INCOMPLETE: "incomplete", FAILED: "failed", INTERRUPTED: "interrupted"}
_KNOWN, _GIVEN = "hafailover.known", "hafailover.given"


class JsonCommand(click.Command):
    """A command with an option that can be ``json``; whatever ends it is told in JSON then."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments; what is wrong with them is told in JSON too, if that was asked for."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except (click.UsageError, HafailoverError) as error:
            self.refuse(ctx, given, error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; an error is told and raised again."""
        try:
            return super().invoke(ctx)
        except (HafailoverError, click.ClickException) as error:
            says = error.format_message() if isinstance(error, click.ClickException) else str(error)
            self._end(ctx, says, error.exit_code)
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self._end(ctx, f"{where}{error.strerror or error}", FAILED)
            raise
        except (KeyboardInterrupt, EOFError, click.Abort):
            self._end(ctx, "interrupted", INTERRUPTED)
            raise

    def refuse(self, ctx: click.Context | None, args: list[str], error: click.UsageError | HafailoverError) -> None:
        """Tell in JSON, if ``args`` ask for it, that they were not taken."""
        if self._asked(args):
            _tell(ctx, error.format_message() if isinstance(error, click.UsageError) else str(error), error.exit_code)

    def _end(self, ctx: click.Context, says: str, exit_code: int) -> None:
        if any(ctx.params.get(option.name or "") == "json" for option in self._forms()):
            _tell(ctx, says, exit_code)

    def _forms(self) -> list[click.Parameter]:
        return [one for one in self.params if isinstance(one.type, click.Choice) and "json" in one.type.choices]

    def _asked(self, args: list[str]) -> bool:
        """Whether ``args``, which could not be read, ask for JSON."""
        words = {word for option in self._forms() for word in option.opts}
        pairs = zip(args, [*args[1:], ""])
        return any(
            (one in words and following == "json")
            or any(one == (f"{word}=json" if word.startswith("--") else f"{word}json") for word in words)
            for one, following in pairs
        )


class JsonGroup(JsonCommand, Group):
    """The same for a group that does something of its own when no command of it is named."""


def known(report: dict[str, Any]) -> dict[str, Any]:
    """``report``, which a refusal from now on says as well; it may still be filled in. A key ``refused`` in it takes the reason."""
    click.get_current_context().meta[_KNOWN] = report
    return report


def give(report: Any) -> None:
    """Print the command's document; what happens afterwards has no other."""
    give_text(_written(report))


def give_text(text: str) -> None:
    """The same with a document that is JSON already."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.meta[_GIVEN] = True
    click.echo(text)


def _tell(ctx: click.Context | None, says: str, exit_code: int) -> None:
    meta: dict[str, Any] = {} if ctx is None else ctx.meta
    if meta.get(_GIVEN):
        return
    meta[_GIVEN] = True
    report = dict(meta.get(_KNOWN) or {})
    if "refused" in report and exit_code == REFUSED:
        report["refused"] = report["refused"] or says
    report.update(result=_RESULTS.get(exit_code, "failed"), says=says, exit_code=exit_code)
    # Where standard output is what failed, the sentence on standard error is all that is left.
    with suppress(OSError):
        click.echo(_written({"schema": 1, **report}))


def _written(report: Any) -> str:
    import json  # every command would load it, also for people

    return json.dumps(report, indent=2)
