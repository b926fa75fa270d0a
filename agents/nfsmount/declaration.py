"""What the agent is: its parameters, as Pacemaker, the documentation and validation see them."""

from __future__ import annotations

from hafailover.agents import checks
from hafailover.agents.nfsmount import decide, options
from hafailover.agents.ocf import Agent

agent = Agent(
    "nfsmount",
    shortdesc="A directory of a file server that may fail over",
    longdesc="""
Mounts one remote directory (NFS, GlusterFS, CephFS or any FUSE file system) on this node, notices when it hangs, is stale,
read-only, covered or replaced by something else, and lets go of it in bounded time also when its server is gone.

No action ever touches the mount itself: the table of mounts is read as text, and whether the mount answers is asked by a child
that is killed after the patience, and left behind if even that does not end it. A mount that hangs has one such child, however
long it hangs.

While the server moves to another machine a hard mount simply waits, and goes on when the address is back. Until ride_through is
over such a mount is degraded (exit code 190), not failed: nothing is restarted. A mount that hangs for longer, or whose file
handle is stale, fails, so that Pacemaker stops what depends on it and mounts it anew.

Stop ends whatever hangs: processes that use the mount get TERM and then KILL (they are found through links in /proc and by what
the kernel says they wait in, never by looking at their files), then the mount is unmounted, unmounted by force, and at last
detached. It says who held it.

With serves, the node that has the disk of the server mounted binds the served directory instead of mounting it from itself. A
bind mount keeps the disk in use, so it is never detached: if it cannot be unmounted, stop fails and the node is fenced. The resource
must then be ordered after the disk's own resource (kind Mandatory), or the disk could be mounted on two nodes at once.
""",
)


def _options(text: str) -> str | None:
    return options.refusal([option for option in text.split(",") if option])


agent.parameter(
    "server",
    shortdesc="The server's address",
    longdesc="""
The address that moves with the server (or, for a file system with several servers, what its mount program wants before the colon).
An address is better than a name: a name must be looked up when things are broken. May be missing for a FUSE file system whose
source has no server.
""",
    check=lambda text: "not one word" if len(text.split()) != 1 else None,
)
agent.parameter(
    "export",
    required=True,
    shortdesc="What is mounted",
    longdesc="The directory on the server (for GlusterFS: /VOLUME; for a FUSE file system without server: its source).",
    check=lambda text: None if text.isprintable() else "not printable",
)
agent.parameter(
    "directory",
    required=True,
    unique=True,
    shortdesc="Where it is mounted",
    longdesc="""
The mount point, by its real path (without symbolic links). It is made if it is missing. What it already has in it is hidden
while something is mounted there, and said in the journal; see cover. Directories of the system, /opt/stackstorm among them, are
refused.
""",
    check=decide.unmountable,
)
agent.parameter(
    "fstype",
    default="nfs4",
    shortdesc="Type of the file system",
    longdesc="As for mount -t: nfs4, nfs, glusterfs, ceph, or fuse.NAME.",
    check=lambda text: None if text.replace(".", "").replace("-", "").replace("_", "").isalnum() else "not a type",
)
agent.parameter(
    "options",
    shortdesc="Mount options",
    longdesc="""
Separated by commas. Default for NFS: hard,timeo=50,retrans=2,noatime (nothing is ever given up, and a lost connection is made
again after seconds); none for others. Secrets do not belong here; mount programs can read them from a file.
""",
    check=_options,
)
agent.parameter(
    "serves",
    shortdesc="The directory on the serving node",
    longdesc="""
The local path of the export on the node that serves it. With it, a node that has the server's disk mounted binds this directory
instead of mounting it from itself, and a node on which that changes fails its monitor, so that the resource, and what depends on it,
is restarted in the other way. Without it, every node mounts from the server's address, the serving one too, and rides through a move.
""",
    check=checks.path,
)
agent.parameter(
    "disk",
    shortdesc="Mount point of the server's disk",
    longdesc="Where the serving node has the disk mounted; this tells which node serves. Default: the directory above serves.",
    check=checks.path,
)
agent.parameter(
    "patience",
    type="time",
    default="5s",
    shortdesc="How long an answer may take",
    longdesc="A mount that has not answered for this long hangs. Must be less than half of the monitor's timeout.",
    check=checks.within(0.1, 120, "100ms to 2m"),
)
agent.parameter(
    "ride_through",
    type="time",
    default="2m",
    shortdesc="How long a hang is only a degradation",
    longdesc="""
How long a mount may hang while its server moves, is fenced, or is repaired. Longer than a failover takes: the detection, the
fencing and the server's grace period together. 0 makes each hang a failure at once.
""",
    check=checks.within(0, 86400, "0 to 1d"),
)
agent.parameter(
    "cover",
    type="boolean",
    default=True,
    shortdesc="Mount over a directory that is not empty",
    longdesc="Whether start may hide what the mount point itself has in it. If not, start fails and says what there is.",
)
