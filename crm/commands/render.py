"""``hafailover render``: the configuration files of each node."""

from __future__ import annotations

import difflib
import os
import socket
from pathlib import Path

import click
from hafailover.crm import files, render, topology
from hafailover.crm.errors import UsageError
from hafailover.crm.files import RenderedFile
from hafailover.crm.install_files import current, hosts_with_block
from hafailover.crm.topology import Topology


@click.command()
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path())
@click.option("--node", metavar="NAME", help="Only this node (default: all; with --install, the one this machine is).")
@click.option("--output", metavar="DIR", type=click.Path(file_okay=False), help="Write DIR/NODE/etc/... for each node.")
@click.option("--install", is_flag=True, help="Write this machine's own files into place (as root).")
@click.option("--diff", is_flag=True, help="Show what differs from the files that are there; alone, writes nothing.")
@click.option(
    "--create-secrets", is_flag=True, help="Make missing secrets (Corosync's key, replication passwords) first."
)
def command(
    topology_file: str, node: str | None, output: str | None, install: bool, diff: bool, create_secrets: bool
) -> None:
    """Write the configuration files of the nodes of TOPOLOGY.

    Without --output or --install the files are only listed. Files are replaced one at a time and whole; secrets are
    never shown. Services are not restarted.

    \b
    Examples:
      hafailover render mariadb-pair.yml --create-secrets --output rendered
      hafailover render /etc/hafailover/topology.yml --install --diff
    """
    if output and install:
        raise UsageError("--output and --install exclude each other: one is for a copy, the other for this machine")
    wanted = topology.load(topology_file)
    if create_secrets:
        for path in render.create_secrets(wanted):
            click.echo(f"created {path}", err=True)
    if install:
        name = node or _this_node(wanted)
        _place(Path("/"), render.render(wanted, name), diff, own=True)
        return
    for name in [node] if node else wanted.nodes:
        rendered = render.render(wanted, name)
        if output:
            _place(Path(output) / name, rendered, diff, own=False)
        elif diff:
            _show(Path("/"), rendered)
        else:
            for file in rendered:
                click.echo(f"{name}: {file.path} {file.mode:04o} {file.owner}:{file.group}")


def _this_node(wanted: Topology) -> str:
    host = socket.gethostname()
    for name in (host, host.partition(".")[0]):
        if name in wanted.nodes:
            return name
    raise UsageError(f"this machine is {host}, which {wanted.file} does not have; name the node with --node")


def _place(root: Path, rendered: list[RenderedFile], diff: bool, own: bool) -> None:
    if own and os.geteuid() != 0:
        raise UsageError("--install writes below /etc as root; run it as root, or use --output DIR")
    if diff:
        _show(root, rendered)
    for file in rendered:
        target = root / file.path.lstrip("/")
        owner, group = (file.owner, file.group) if own else ("", "")
        if current(target, file, own):
            continue
        files.write(target, file.content, file.mode, owner, group)
        click.echo(f"wrote {target}")
    if own:
        hosts = Path("/etc/hosts")
        fragment = next(file.content for file in rendered if file.path == render.HOSTS_PATH)
        merged = hosts_with_block(hosts.read_bytes() if hosts.exists() else b"", fragment)
        if merged is not None:
            files.write(hosts, merged, 0o644, "root", "root")
            click.echo(f"wrote {hosts}")


def _show(root: Path, rendered: list[RenderedFile]) -> None:
    for file in rendered:
        target = root / file.path.lstrip("/")
        old = target.read_bytes() if target.exists() else b""
        if old == file.content:
            continue
        if file.secret:
            click.echo(f"{target}: {'changes' if old else 'is new'} (a secret, not shown)")
            continue
        lines = difflib.unified_diff(
            old.decode(errors="replace").splitlines(),
            file.content.decode(errors="replace").splitlines(),
            str(target) if old else "/dev/null",
            str(target),
            lineterm="",
        )
        click.echo("\n".join(lines))
