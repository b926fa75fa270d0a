"""Commands that have commands: what is mistyped is answered with what was probably meant."""

from __future__ import annotations

from typing import Any

import click


class Group(click.Group):
    """A click group that knows its commands by name before they are loaded; groups in it are of the same kind."""

    group_class = type  # says click: that of this one

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command that ``args`` begin with; UsageError that names the nearest one, or all, if there is none."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(sorted(known))}"
            raise click.UsageError(f"there is no command '{args[0]}'; {hint}", ctx)
        return super().resolve_command(ctx, args)
