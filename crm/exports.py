"""Exports in /etc/exports that contradict those of a service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hafailover.crm.topology import Topology

FILES = ("/etc/exports", "/etc/exports.d/*.exports")


def notes(topology: Topology, node: str, root: Path = Path("/")) -> list[str]:
    """A sentence for each line of this machine's export files that exports what a service on ``node`` does."""
    wanted = dict(_directories(topology, node))
    if not wanted:
        return []
    found = []
    for path in sorted(path for pattern in FILES for path in root.glob(pattern.lstrip("/"))):
        try:
            content = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # a directory, a link to nowhere: exportfs exports nothing of it either
            continue
        for line, directory in exported(content):
            if directory in wanted:
                found.append(
                    f"{path}:{line} exports {directory}, which {wanted[directory]} does: it would be exported with other options, and also "
                    "where the service does not run; remove the line, then exportfs -ra"
                )
    return found


def exported(content: str) -> Iterator[tuple[int, str]]:
    """(line, directory) of each export in an export file: see exports(5)."""
    continued = False
    for number, line in enumerate(content.splitlines(), 1):
        if not continued:
            match = re.match(r'\s*(?:"([^"]*)"|([^\s#"]+))', line)
            if match:
                written = match[1] if match[1] is not None else match[2]
                text = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), written)
                yield number, text.rstrip("/") or "/"
        continued = line.endswith("\\")


def _directories(topology: Topology, node: str) -> Iterable[tuple[str, str]]:
    for service in topology.services.values():
        if service.type == "nfs-server" and node in service.nodes:
            for name, export in service.options["exports"].items():
                yield export.get("path") or f"{service.options['disk']['mount']}/{name}", service.name
