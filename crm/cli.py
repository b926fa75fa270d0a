"""The hafailover program: finds the command, loads only its module, turns errors into sentences."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, TextIO

import click
from hafailover.agents import __version__
from hafailover.crm.command_group import Group
from hafailover.crm.errors import DONE, FAILED, INTERRUPTED, HafailoverError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Loading a command's module costs up to 100 ms of imports, so only the one that is asked for is loaded;
# the short help stands here so that --help loads none.
COMMANDS = {
    "adopt": ("hafailover.crm.commands.adopt", "Take a running pair of servers into the cluster, without downtime."),
    "alerts": ("hafailover.crm.commands.alerts", "Show, test and hasten the delivery of alerts."),
    "apply": ("hafailover.crm.commands.apply", "Bring a topology's configuration into the running cluster."),
    "completion": ("hafailover.crm.commands.completion", "Print what has the shell complete commands and names."),
    "docs": ("hafailover.crm.commands.docs", "Write the reference pages of agents, rules and commands."),
    "doctor": ("hafailover.crm.commands.doctor", "Look on all nodes for what will go wrong one day."),
    "drill": ("hafailover.crm.commands.drill", "Break a cluster or a lab on purpose, and account for every write."),
    "explain": ("hafailover.crm.commands.explain", "Say why each server may or may not be promoted."),
    "generate": ("hafailover.crm.commands.generate", "Print the cluster configuration of a topology."),
    "history": ("hafailover.crm.commands.history", "Show what happened to the cluster, and who asked for it."),
    "hooks": ("hafailover.crm.commands.hooks", "Show how the promotion hooks went, and run them again."),
    "import": ("hafailover.crm.commands.import_", "Print a topology for a cluster that somebody else built."),
    "init": ("hafailover.crm.commands.init", "Print a commented topology to begin with."),
    "install": ("hafailover.crm.commands.install", "Put the resource agents where Pacemaker looks for them."),
    "lab": ("hafailover.vagrant.command", "Run a real cluster on this machine."),
    "lint": ("hafailover.crm.commands.lint", "Find what is dangerous in a topology, a CIB or the running cluster."),
    "plan": ("hafailover.crm.commands.plan", "Say what applying a topology would change, and what it would interrupt."),
    "promote": ("hafailover.crm.commands.promote", "Switch the primary role to a node, safely."),
    "rejoin": ("hafailover.crm.commands.rejoin", "Bring a node's database back to the primary's history."),
    "render": ("hafailover.crm.commands.render", "Write the configuration files of each node."),
    "schema": ("hafailover.crm.commands.schema", "Print the topology's JSON Schema, for editors."),
    "simulate": ("hafailover.crm.commands.simulate", "Say what would happen if a node were lost or a resource failed."),
    "status": ("hafailover.crm.commands.status", "Show who is primary, who is in sync, and what is wrong."),
    "undo": ("hafailover.crm.commands.undo", "Take back the last change of the cluster's configuration."),
}

VARIABLE = "_HAFAILOVER_COMPLETE"
"""In the environment when it is the shell that wants to know how a line could go on."""
CHANGING = frozenset({"adopt", "apply", "drill", "promote", "rejoin", "undo"})
"""The commands that change a cluster: what they did, for whom and why, stands in its history."""


class _LazyGroup(Group):
    """A click group whose commands are the ``command`` object of the modules in COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = importlib.import_module(entry[0]).command
        if cmd_name not in CHANGING:
            return command
        from hafailover.crm.history.audited import audited

        return audited(cmd_name, command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands by name, without loading them."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=entry[1])
            for name, entry in sorted(COMMANDS.items())
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[1]) for name, entry in sorted(COMMANDS.items())])


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


@click.group(cls=_LazyGroup, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="hafailover")
def cli() -> None:
    """High availability for pairs of servers on Pacemaker and Corosync.

    \b
    Examples:
      hafailover init --example mariadb > topology.yml
      hafailover plan topology.yml
      hafailover status
      hafailover promote db2 --dry-run

    'hafailover COMMAND --help' has examples of each command; 'hafailover completion' has the shell complete them.
    """


def main(argv: list[str] | None = None) -> Any:
    """Run the command line ``argv`` (default: sys.argv) and exit with the code of crm/errors.py."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the whole run
    if sys.stdout is None:
        click.echo("hafailover: standard output is closed, and nobody would see what is printed", err=True)
        sys.exit(FAILED)
    if VARIABLE in os.environ:
        from hafailover.crm import completion

        completion.answer(cli)
        return sys.exit(0)
    try:
        sys.exit(_code(list(sys.argv[1:] if argv is None else argv)))
    finally:
        _empty(sys.stdout, sys.__stdout__)
        _empty(sys.stderr, sys.__stderr__)


def _code(argv: list[str]) -> int:
    """Run it; what went wrong is said, and its exit code returned, also where nobody can read it."""
    try:
        with cli.make_context("hafailover", argv) as context:
            cli.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        _tell(error.show)
        return error.exit_code
    except HafailoverError as error:
        _say(str(error))
        return error.exit_code
    except (KeyboardInterrupt, EOFError, click.Abort):
        _say("interrupted", "\n")  # it stands behind ^C, or a question
        return INTERRUPTED
    except OSError as error:
        # Mostly standard output: on a disk that is full, or its reader, such as head, has seen enough.
        if not isinstance(error, BrokenPipeError):
            where = f"{error.filename}: " if error.filename else ""
            _say(f"{where}{error.strerror or error}")
        _drop(sys.stdout, sys.__stdout__)
        return FAILED
    return DONE


def _say(text: str, before: str = "") -> None:
    _tell(lambda: click.echo(f"{before}hafailover: {text}", err=True))


def _tell(say: Callable[[], None]) -> None:
    try:
        say()
    except OSError:
        _drop(sys.stderr, sys.__stderr__)


def _empty(stream: TextIO, real: TextIO | None) -> None:
    """Of what could not be written nothing is left."""
    try:
        stream.flush()
    except (OSError, ValueError):
        _drop(stream, real)


def _drop(stream: TextIO, real: TextIO | None) -> None:
    """What could not be written may be tried once more as the interpreter ends, and its code would then be 120."""
    if real is not None and stream is real:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), real.fileno())
