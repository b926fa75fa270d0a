"""Every command of the program, with its subcommands: for what is made of all of them, such as the manual pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import click
from hafailover.crm import cli

ON_A_LAB = "drill"
"""The command that is another one where there is no cluster, or a lab is named."""


class Entry(NamedTuple):
    """A command: the ``words`` after ``hafailover`` by which it is called. ``of_lab``: it is what they mean for a lab only."""

    words: tuple[str, ...]
    command: click.Command
    of_lab: bool = False

    @property
    def usage(self) -> str:
        """How it is called, as its help begins."""
        return f"hafailover {' '.join(self.words)} {' '.join(self.command.collect_usage_pieces(self.context))}".strip()

    @property
    def context(self) -> click.Context:
        """A context to ask the command for its help in."""
        parent = click.Context(cli.cli, info_name="hafailover")
        for word in self.words[:-1]:
            parent = click.Context(self.command, parent=parent, info_name=word)
        return click.Context(self.command, parent=parent, info_name=self.words[-1], **cli.SETTINGS)


def walk() -> Iterator[Entry]:
    """All of them, in the order of their names; a group comes before its commands."""
    context = click.Context(cli.cli)
    for name in sorted(cli.COMMANDS):
        command = cli.cli.get_command(context, name)
        assert command is not None
        yield from _below((name,), command)
        if name == ON_A_LAB:
            from hafailover.vagrant.drill import command as of_lab

            yield Entry((name,), of_lab.command, True)
            for word, one in sorted(of_lab.OTHERS.items()):
                yield Entry((name, word), one, True)


def _below(words: tuple[str, ...], command: click.Command) -> Iterator[Entry]:
    yield Entry(words, command)
    if isinstance(command, click.Group):
        for name, one in sorted(command.commands.items()):
            yield from _below((*words, name), one)
