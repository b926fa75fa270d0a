"""``hafailover render``: the configuration files of each node."""

from __future__ import annotations

import os
from pathlib import Path

import click
from hafailover.crm import completion, exports, files, local, members_run, render, topology
from hafailover.crm.edits.mask import difference
from hafailover.crm.errors import UsageError
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.install_files import content, current, edited, keep_first, refuse_exposed
from hafailover.crm.topology import Topology


@click.command()
@click.argument("topology_file", metavar="TOPOLOGY", type=click.Path(), shell_complete=completion.topologies)
@click.option(
    "--node",
    metavar="NAME",
    shell_complete=completion.nodes,
    help="Only this node (default: all; with --install, the one this machine is), or the quorum device's host.",
)
@click.option("--output", metavar="DIR", type=click.Path(file_okay=False), help="Write DIR/NODE/etc/... for each node.")
@click.option("--install", is_flag=True, help="Write this machine's own files into place (as root).")
@click.option("--diff", is_flag=True, help="Show what differs from the files that are there; alone, writes nothing.")
@click.option(
    "--create-secrets", is_flag=True, help="Make missing secrets (Corosync's key, replication passwords) first."
)
def command(
    topology_file: str, node: str | None, output: str | None, install: bool, diff: bool, create_secrets: bool
) -> None:
    """Write the configuration files of the nodes of TOPOLOGY, and what the firewall of its quorum device's host must let in.

    Without --output or --install the files are only listed. Files are replaced one at a time and whole; secrets are
    never shown. Services are not restarted. Files that others write, too, are changed in places (docs/configuration-files.md),
    and kept as they were before the first change below /var/lib/hafailover/originals.

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
    _note(render.notes(wanted))
    if install:
        name = node or _this_node(wanted)
        _note(exports.notes(wanted, name))
        _install(render.render(wanted, name), render.edits(wanted, name), diff)
        if name in wanted.nodes:
            # Before apply has Corosync read its file again, it makes sure that all nodes have the same one.
            members_run.show_file()
        return
    device = render.device_host(wanted)
    for name in [node] if node else [*wanted.nodes, *([device] if device else [])]:
        rendered = render.render(wanted, name)
        if output:
            _write(Path(output) / name, rendered, diff)
        elif diff:
            _show(Path("/"), rendered)
            _show_edits(_edited(render.edits(wanted, name)))
        else:
            for file in rendered:
                click.echo(f"{name}: {file.path} {file.mode:04o} {file.owner}:{file.group}")
            for edit in render.edits(wanted, name):
                if not edit.undo:
                    click.echo(f"{name}: {edit.path} is changed in places")


def _note(notes: list[str]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _this_node(wanted: Topology) -> str:
    name = local.named_here(wanted.nodes)
    if name is None:
        raise UsageError(
            f"this machine is {local.hostname()}, which {wanted.file} does not have; name the node with --node"
        )
    return name


def _install(rendered: list[RenderedFile], edits: list[FileEdit], diff: bool) -> None:
    """Write this machine's own files. What cannot be edited stops everything before the first one is written."""
    if os.geteuid() != 0:
        raise UsageError("--install writes below /etc as root; run it as root, or use --output DIR")
    for edit in edits:
        refuse_exposed(Path(edit.path), edit)
    changed = _edited(edits)
    root = Path("/")
    if diff:
        _show(root, rendered)
        _show_edits(changed)
    for file in rendered:
        target = root / file.path.lstrip("/")
        if not current(target, file, own=True):
            files.write(target, file.content, file.mode, file.owner, file.group)
            click.echo(f"wrote {target}")
    for edit, _, new in changed:
        kept = keep_first(Path(edit.path))
        if kept:
            click.echo(f"kept {edit.path} as it was: {kept}")
        files.rewrite(Path(edit.path), new, edit)
        click.echo(f"changed {edit.path}")


def _write(root: Path, rendered: list[RenderedFile], diff: bool) -> None:
    """Write a copy of a node's files below ``root``; what is only edited on a node cannot be in it."""
    if diff:
        _show(root, rendered)
    for file in rendered:
        target = root / file.path.lstrip("/")
        if not current(target, file, own=False):
            files.write(target, file.content, file.mode)
            click.echo(f"wrote {target}")


def _edited(edits: list[FileEdit]) -> list[tuple[FileEdit, bytes, bytes]]:
    """The edits that change something, with the content before and after."""
    found = ((edit, *edited(Path(edit.path), edit)) for edit in edits)
    return [(edit, old, new) for edit, old, new in found if old != new]


def _show(root: Path, rendered: list[RenderedFile]) -> None:
    for file in rendered:
        target = root / file.path.lstrip("/")
        old = content(target)
        if old == file.content:
            continue
        if file.secret:
            click.echo(f"{target}: {'changes' if old else 'is new'} (a secret, not shown)")
        else:
            click.echo("\n".join(difference(old, file.content, str(target), secret=False)))


def _show_edits(changed: list[tuple[FileEdit, bytes, bytes]]) -> None:
    for edit, old, new in changed:
        click.echo("\n".join(difference(old, new, edit.path, edit.secret)))
