"""``hafailover import``: the topology of a cluster that somebody else built."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from hafailover.crm import apply, corosync_conf, importing, local
from hafailover.crm.commands.json_answer import JsonCommand, give, output
from hafailover.crm.errors import FAILED, INCOMPLETE, HafailoverError, UsageError
from hafailover.crm.formats import cib
from hafailover.crm.importing import Import, findings

_HOSTS = Path("/etc/hosts")
_TITLES = {
    findings.BECOMES: "taken over by another agent",
    findings.ASSUMED: "assumed, look at each",
    findings.SECRET: "files to make",
    findings.LEFT_OUT: "left out",
    findings.ELSEWHERE: "in no CIB",
    findings.STATE: "state of the cluster",
}


@click.command(cls=JsonCommand)
@click.argument("cib_file", metavar="CIB.xml", type=click.Path(), required=False)
@click.option("--live", is_flag=True, help="Import the cluster that runs on this node.")
@click.option(
    "--corosync",
    "corosync_file",
    metavar="FILE",
    type=click.Path(),
    help="The cluster's corosync.conf: links, quorum, timing.",
)
@output
def command(cib_file: str | None, live: bool, corosync_file: str | None, output: str) -> None:
    """Print a topology for a cluster that exists: CIB.xml (- is standard input), or the one on this node.

    The topology goes to standard output. What another agent takes over and what that changes, what is assumed, what a topology cannot
    say, which secrets have to be put into files, and everything in which the topology differs from the cluster stand in comments at its
    end and are told on standard error. No secret is printed. Nothing is changed.

    Exit code: 0 the topology generates the same configuration; 4 it is printed and something differs or is left out, all of which is
    listed; 1 it is printed and does not load yet, what is missing is listed; 2 wrong usage, or no CIB.

    \b
    Example:
      cibadmin --query > cib.xml
      hafailover import cib.xml --corosync corosync.conf > topology.yml
    """
    if live == (cib_file is not None):
        raise UsageError("say what to import: a file with a CIB, or --live for the cluster on this node; not both")
    root, origin, path, known = _live(corosync_file) if live else _file(str(cib_file), corosync_file)
    found = importing.run(root, origin, corosync_conf.read(path) if path else None, known)
    code = _code(found)
    if output == "json":
        give(_report(found, origin, code))
    else:
        click.echo(found.text, nl=False)
        click.echo(_told(found), err=True)
    if code:
        sys.exit(code)


def _file(cib_file: str, corosync_file: str | None) -> tuple[Any, str, str | None, Mapping[str, str]]:
    document = cib.load(cib_file)
    return document.root, document.origin, corosync_file, {}


def _live(corosync_file: str | None) -> tuple[Any, str, str | None, Mapping[str, str]]:
    if not local.installed("cibadmin"):
        raise HafailoverError("Pacemaker is not installed on this machine; run this on a node of the cluster")
    path = corosync_file or (corosync_conf.PATH if Path(corosync_conf.PATH).exists() else None)
    return apply.live_cib(), "the live cluster", path, _hosts()


def _hosts() -> dict[str, str]:
    """Name → address, as /etc/hosts says; loopback is no address of a node to others."""
    try:
        content = _HOSTS.read_text(encoding="utf-8", errors="replace")[:1_000_000]
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in content.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if not address.startswith("127.") and address != "::1":
            for name in names:
                found.setdefault(name, address)
    return found


def _code(found: Import) -> int:
    if found.lacking or not found.compared:
        return FAILED
    told = {note.kind for note in found.notes}
    return INCOMPLETE if found.differences or told & {findings.LEFT_OUT, findings.BECOMES} else 0


def _report(found: Import, origin: str, code: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "source": origin,
        "topology": found.text,
        "loads": not found.lacking,
        "lacking": list(found.lacking),
        "notes": [note.as_dict() for note in found.notes],
        "compared": found.compared,
        "differences": [one.as_dict() for one in found.differences],
        "exit_code": code,
    }


def _told(found: Import) -> str:
    lines: list[str] = []
    if found.lacking:
        lines += ["it does not load yet:", *(f"  {one}" for one in found.lacking)]
    for kind, title in _TITLES.items():
        notes = [note for note in found.notes if note.kind == kind]
        lines += [f"{title}:", *(f"  {line}" for line in findings.lines(notes))] if notes else []
    if found.differences:
        lines += ["different from the source:", *(f"  {one}" for one in found.differences)]
    count = len(found.differences)
    end = (
        f"{count} difference{'s' * (count != 1)} from the source"
        if count
        else "the topology generates the same configuration"
    )
    return "\n".join([*lines, "the source could not be compared" if not found.compared else end])
