"""The hafailover program: finds the command, loads only its module, turns errors into sentences."""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click
from hafailover.agents import __version__
from hafailover.crm.errors import HafailoverError

# Loading a command's module costs up to 100 ms of imports, so only the one that is asked for is loaded;
# the short help stands here so that --help loads none.
COMMANDS = {
    "adopt": ("hafailover.crm.commands.adopt", "Take a running pair of servers into the cluster, without downtime."),
    "apply": ("hafailover.crm.commands.apply", "Bring a topology's configuration into the running cluster."),
    "docs": ("hafailover.crm.commands.docs", "Write the reference pages of the agents."),
    "drill": ("hafailover.vagrant.drill.command", "Break the lab on purpose and count what a client lost."),
    "explain": ("hafailover.crm.commands.explain", "Say why each server may or may not be promoted."),
    "generate": ("hafailover.crm.commands.generate", "Print the cluster configuration of a topology."),
    "install": ("hafailover.crm.commands.install", "Put the resource agents where Pacemaker looks for them."),
    "lab": ("hafailover.vagrant.command", "Run a real cluster on this machine."),
    "lint": ("hafailover.crm.commands.lint", "Find what is dangerous in a topology, and on a node."),
    "promote": ("hafailover.crm.commands.promote", "Switch the primary role to a node, safely."),
    "rejoin": ("hafailover.crm.commands.rejoin", "Bring a node's database back to the primary's history."),
    "render": ("hafailover.crm.commands.render", "Write the configuration files of each node."),
    "status": ("hafailover.crm.commands.status", "Show who is primary, who is in sync, and what is wrong."),
}


class _LazyGroup(click.Group):
    """A click group whose commands are the ``command`` object of the modules in COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(entry[0]).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(sorted(COMMANDS))}"
            raise click.UsageError(f"there is no command '{args[0]}'; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[1]) for name, entry in sorted(COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hafailover")
def cli() -> None:
    """High availability for pairs of servers on Pacemaker and Corosync."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command line ``argv`` (default: sys.argv) and exit with the code of crm/errors.py."""
    try:
        cli.main(args=argv, prog_name="hafailover", standalone_mode=True)
    except HafailoverError as error:
        click.echo(f"hafailover: {error}", err=True)
        sys.exit(error.exit_code)
