"""``hafailover lint``: what is dangerous in a topology, and on a node that runs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import click
from hafailover.crm import lint, local, topology
from hafailover.crm.errors import FAILED, UsageError
from hafailover.crm.lint import ERROR, Facts, Finding, Rule
from hafailover.crm.schema import unknown
from hafailover.crm.topology import Topology


@click.command()
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path(), required=False)
@click.option(
    "--node", metavar="NAME", help="The node that this machine is (default: the one of its name); needs root."
)
@click.option("--rules", "list_", is_flag=True, help="List the rules and leave.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the answer."
)
def command(topology_file: str | None, node: str | None, list_: bool, output: str) -> None:
    """Find what is dangerous in TOPOLOGY and, as root on one of its nodes, on this machine.

    A rule has a name, a severity and a remedy; --rules lists them. Rules about a node are left out where this machine is none.
    A topology that is wrong in itself is refused, as by every command.

    Exit code: 0 no error was found (warnings and notes may be); 1 an error was found; 2 wrong usage, or a topology that is none.

    \b
    Example:
      hafailover lint openstack-controllers.yml
      hafailover lint /etc/hafailover/topology.yml -o json
    """
    if list_:
        click.echo(_list(lint.known(), output))
        return
    if topology_file is None:
        raise UsageError("say which topology to look at; --rules lists the rules")
    wanted = topology.load(topology_file)
    name = _this_node(wanted, node)
    facts = Facts(wanted)
    if name is not None:
        from hafailover.crm.lint.node import gather

        facts = Facts(wanted, gather(name))
    found = list(lint.check(facts))
    click.echo(_json(found, name) if output == "json" else _text(found, name))
    if any(finding.severity == ERROR for finding in found):
        sys.exit(FAILED)


def _this_node(wanted: Topology, given: str | None) -> str | None:
    """The node that this machine is, None when it is none of them or may not look."""
    if given is not None and given not in wanted.nodes:
        raise UsageError(f"{wanted.file}: {unknown('node', given, wanted.nodes)}")
    name = given or local.named_here(wanted.nodes)
    if name is None or os.geteuid() == 0:
        return name
    if given is not None:
        raise UsageError("what listens on a node, and what its firewall drops, only root can see; run it as root")
    click.echo(f"hafailover: note: not root, so nothing on {name} itself is looked at", err=True)
    return None


def _json(found: Sequence[Finding], node: str | None) -> str:
    looked = [rule.id for rule in lint.known() if node is not None or not rule.on_node]
    return json.dumps({"node": node, "rules": looked, "findings": [one.as_json() for one in found]}, indent=2)


def _text(found: Sequence[Finding], node: str | None) -> str:
    lines = []
    for one in found:
        lines += [f"{one.severity:<8} {one.rule}: {one.where}: {one.text}", f"{'':9}-> {one.remedy}"]
    counts = [
        f"{count} {severity}{'s' * (count != 1)}" for severity in lint.SEVERITIES if (count := _count(found, severity))
    ]
    where = f" in the topology and on {node}" if node else " in the topology"
    return "\n".join([*lines, f"{', '.join(counts) or 'nothing found'}{where}"])


def _count(found: Sequence[Finding], severity: str) -> int:
    return sum(one.severity == severity for one in found)


def _list(rules: Sequence[Rule], output: str) -> str:
    if output == "json":
        keys = ("id", "severity", "summary", "remedy", "on_node")
        return json.dumps([{key: getattr(one, key) for key in keys} for one in rules], indent=2)
    width = max(len(one.id) for one in rules)
    lines = (f"{one.id:{width}}  {one.severity:8} {one.summary}{' (node)' if one.on_node else ''}" for one in rules)
    return "\n".join(lines)
