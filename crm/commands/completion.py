"""``hafailover completion``: the text that teaches a shell to complete the program."""

from __future__ import annotations

import click
from hafailover.crm import completion


@click.command()
@click.argument("shell", type=click.Choice(completion.SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what has SHELL complete commands, options, and the names of nodes, services, resources, topologies and much else.

    Names come from the TOPOLOGY on the line, from the cluster that runs on this node, or from /etc/hafailover/topology.yml. What cannot be
    had within a second is not offered.

    \b
    Example:
      hafailover completion bash > /etc/bash_completion.d/hafailover
      hafailover completion zsh > /usr/local/share/zsh/site-functions/_hafailover
      hafailover completion fish > ~/.config/fish/completions/hafailover.fish
      . <(hafailover completion bash)    # for this shell alone
    """
    click.echo(completion.script(shell, context.find_root().command), nl=False)
