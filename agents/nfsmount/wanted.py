"""What is to be mounted, and whether a mount is that. Pure."""

from __future__ import annotations

import os

from hafailover.agents import mounts
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from hafailover.agents.mounts import Mount

NFS = ("nfs", "nfs4")
# Reconnecting after 5 s without an answer, not after a minute: the address comes back on another machine, which knows
# nothing of the old connection. A request is never given up.
NFS_OPTIONS = "hard,timeo=50,retrans=2,noatime"


class Wanted(NamedTuple):
    """A mount as the parameters ask for it. ``serves`` and ``disk`` are empty unless it becomes a bind mount where ``disk`` is."""

    directory: str
    fstype: str
    source: str
    options: tuple[str, ...]
    serves: str
    disk: str

    @property
    def read_only(self) -> bool:
        """Whether it is to be mounted without the right to write."""
        return "ro" in self.options


def wanted(params: Mapping[str, Any]) -> Wanted:
    """What the parameters of the agent ask for."""
    fstype = params["fstype"]
    options = params["options"]
    if options is None:
        options = NFS_OPTIONS if fstype in NFS else ""
    serves = (params["serves"] or "").rstrip("/")
    return Wanted(
        normal(params["directory"]),
        fstype,
        source(params["server"], params["export"]),
        tuple(option for option in options.split(",") if option),
        serves,
        normal(params["disk"] or os.path.dirname(serves)) if serves else "",
    )


def normal(path: str) -> str:
    """``path`` without doubled, trailing or pointless parts; symbolic links are not looked at."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def source(server: str | None, export: str) -> str:
    """``server:export``; an IPv6 address gets brackets. Without a server, the export as it is."""
    if not server:
        return export
    literal = server.count(":") > 1 and not server.startswith("[") and "," not in server
    return f"[{server}]:{export}" if literal else f"{server}:{export}"


def is_remote(want: Wanted, mount: Mount) -> bool:
    """Whether ``mount`` is the remote directory itself."""
    if not _same_type(want.fstype, mount.fstype):
        return False
    return _plain(want.fstype, mount.source) == _plain(want.fstype, want.source)


def _same_type(asked: str, found: str) -> bool:
    if asked in NFS:
        return found in NFS
    return found in (asked, f"fuse.{asked}", "fuse" if asked.startswith("fuse") else asked)


def _plain(fstype: str, text: str) -> str:
    """A source without what programs add and leave out: a final slash, and the one before a Gluster volume."""
    server, colon, export = text.rpartition(":")
    if "glusterfs" in fstype:
        export = export.lstrip("/")
    return server + colon + (export.rstrip("/") or export[:1])


def holder(want: Wanted, table: Sequence[Mount]) -> Mount | None:
    """The mount of the disk on this node, if this node has it and a bind mount is wanted then."""
    if not want.serves:
        return None
    found = mounts.stack(table, want.disk)
    return found[-1] if found else None


def is_bind(want: Wanted, mount: Mount, table: Sequence[Mount]) -> bool:
    """Whether ``mount`` is a bind mount of what this node serves, also when the disk's own mount is gone already."""
    if not want.serves or mount.fstype in NFS or mount.fstype.startswith("fuse"):
        return False
    inside = "/" + want.serves[len(want.disk) :].strip("/")
    disk = holder(want, table)
    if disk is not None:
        return mount.device == disk.device and mount.root == (disk.root.rstrip("/") + inside)
    # The bind mount keeps the disk's file system alive without it: the most dangerous thing that can be left behind.
    return mount.root == inside or mount.root.endswith(inside)


def ours(want: Wanted, mount: Mount, table: Sequence[Mount]) -> bool:
    """Whether the agent may have made ``mount``."""
    return is_remote(want, mount) or is_bind(want, mount, table)
