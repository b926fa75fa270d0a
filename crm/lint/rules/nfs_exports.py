"""Rules about what an NFS server exports: a client knows a file by the export's number, which must be the same on each server."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from hafailover.crm.lint import ERROR, Facts, Found, rule
from hafailover.crm.lint.about import mount_point, plain_path
from hafailover.crm.lint.cluster import primitives
from hafailover.crm.lint.node_files import NodeFiles
from hafailover.crm.lint.paste import command
from hafailover.crm.resolved import Resource

_EXPORTFS = "ocf:heartbeat:exportfs"
_FSID = re.compile(r"(?:^|,)\s*fsid\s*=\s*([^,\s]+)")
_WHY = (
    "without a number the kernel makes one of the disk's, which is another one on the next server: after a failover every client says "
    "'stale file handle' until it mounts anew"
)


@rule(
    "export-without-fsid",
    ERROR,
    code="L30",
    needs=("resolved",),
    remedy="give each exported directory an fsid of its own, the same on every node",
    why=_WHY,
)
def export_without_fsid(facts: Facts) -> Iterator[Found]:
    """An export has no fsid, or two directories have the same."""
    exports = [one for one in primitives(facts.cluster) if one.agent == _EXPORTFS]
    used: dict[tuple[str, str], tuple[str, str]] = {}
    taken = {_fsid(one) for one in exports}
    for one in exports:
        fsid, directory = (
            _fsid(one),
            plain_path(one.params.get("directory", "/").split()[0] if one.params.get("directory") else "/"),
        )
        fix = command("crm", "resource", "param", one.id, "set", "fsid", _free(taken))
        if not fsid:
            if "fsid" not in one.uncertain and "options" not in one.uncertain:
                yield Found(one.id, f"{directory} is exported without an fsid", fix)
            continue
        # Exports that are on different servers at all times may be numbered alike; those of one group or one clone are on one.
        other, owner = used.setdefault((one.top, fsid), (directory, one.id))
        if other != directory:
            yield Found(
                one.id,
                f"{directory} is exported with the fsid {fsid} of {other} ({owner}); clients take one for the other",
                fix,
            )


def _fsid(one: Resource) -> str:
    """The number, from its own parameter or among the options; "" when there is none."""
    found = _FSID.search(one.params.get("options", ""))
    written = one.params.get("fsid", "").strip() or (found[1] if found else "")
    return "0" if written == "root" else written


def _free(taken: set[str]) -> str:
    """A number that no export has; 0 is the root of NFSv4."""
    number = 1001
    while str(number) in taken:
        number += 1
    taken.add(str(number))
    return str(number)


@rule(
    "exports-file-without-fsid",
    ERROR,
    code="L30b",
    needs=("resolved", "node"),
    remedy="add fsid=NUMBER to the options in /etc/exports on every node, or let the cluster export it (ocf:heartbeat:exportfs)",
    why=_WHY,
)
def exports_file_without_fsid(facts: Facts) -> Iterator[Found]:
    """/etc/exports exports what lies on a disk of the cluster without an fsid."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    disks = [
        place
        for one in primitives(facts.cluster)
        if (place := mount_point(one)) is not None and one.agent.endswith("Filesystem")
    ]
    if files is None or not disks:
        return
    for path in ("/etc/exports", *files.matching("/etc/exports.d/*.exports")):
        for line, directory, clients in _lines(files.text(path) or ""):
            shared = any(
                plain_path(directory) == disk or plain_path(directory).startswith(disk + "/") for disk in disks
            )
            bare = [one for one in clients if not re.search(r"[(,]\s*fsid=", one)]
            if shared and bare:
                fix = shlex.join([directory, *(_numbered(one) for one in clients)]).replace("'", "")
                yield Found(
                    f"{facts.node.name}: {path}:{line}",
                    f"{directory}, which is on a disk that moves, is exported to {bare[0].partition('(')[0] or '*'} without an fsid",
                    fix if re.fullmatch(r"[\w/.:*?@,=()\[\] -]*", fix) else "",
                )


def _numbered(client: str) -> str:
    if re.search(r"[(,]\s*fsid=", client):
        return client
    name, _, options = client.partition("(")
    rest = options.rstrip(")")
    return f"{name}({rest}{',' if rest else ''}fsid=NUMBER)"


def _lines(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Line, directory and clients of each export; a backslash at its end continues a line."""
    begun, waiting = 0, ""
    for number, raw in enumerate(text.splitlines(), 1):
        begun = begun or number
        if raw.endswith("\\"):
            waiting += raw[:-1] + " "
            continue
        line, waiting = (waiting + raw).strip(), ""
        quoted = re.match(r'"([^"]*)"|(\S+)', line)
        if quoted and not line.startswith("#"):
            rest = line[quoted.end() :].partition("#")[0].split()
            default = next((one[1:] for one in rest if one.startswith("-")), "")
            clients = [
                one if "(" in one or not default else f"{one}({default})" for one in rest if not one.startswith("-")
            ]
            yield begun, quoted[1] or quoted[2], clients or ["*"]
        begun = 0
