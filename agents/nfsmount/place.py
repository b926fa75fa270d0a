"""The mount point and the program that mounts: made and found in a way that does not hang."""

from __future__ import annotations

import os

from hafailover.agents import child, mounts
from hafailover.agents.ocf import ERR_CONFIGURED, ERR_GENERIC, ERR_INSTALLED, Context, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.nfsmount.wanted import Wanted

_HELPERS = "/sbin:/usr/sbin:/usr/local/sbin:/bin:/usr/bin"
_PACKAGES = {
    "nfs": "nfs-common (nfs-utils on Red Hat)",
    "nfs4": "nfs-common (nfs-utils on Red Hat)",
    "glusterfs": "glusterfs-client (glusterfs-fuse on Red Hat)",
    "ceph": "ceph-common",
    "cifs": "cifs-utils",
}
_SHOWN = 3


def prepare(ctx: Context, want: Wanted, seconds: float) -> None:
    """Make the mount point if it is missing, and look at what the mount will hide. OcfError when nothing can be mounted there."""
    answer = child.ask(lambda: _prepare(want.directory), seconds)
    if answer.text is None:
        raise OcfError(
            ERR_GENERIC, f"the directory above {want.directory} does not answer: is it on a mount that hangs?"
        )
    error = child.error(answer.text)
    if error:
        raise OcfError(ERR_GENERIC, f"cannot make the mount point {want.directory}: {error[1]}")
    word, _, rest = answer.text.partition("\n")
    if word == "link":
        raise OcfError(ERR_CONFIGURED, f"{want.directory} is reached by a symbolic link; give its real path, {rest}")
    if word == "file":
        raise OcfError(ERR_CONFIGURED, f"{want.directory} is not a directory")
    if not rest:
        return
    names = rest.split("\n")
    hidden = f"{len(names)} entries ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"
    if not ctx.params["cover"]:
        raise OcfError(
            ERR_GENERIC,
            f"{want.directory} is not empty, and the mount would hide {hidden}; move them into the export or away, or set cover=true",
        )
    ctx.event(
        "nfsmount.covers",
        f"{want.directory} itself has {hidden}, which are not seen while {want.source} is mounted over them",
        level="warning",
        entries=len(names),
    )


def _prepare(directory: str) -> str:
    """Runs in the child: "made", "there" with the names in it, "file", or "link" with the real path."""
    parent = os.path.dirname(directory)
    real = os.path.realpath(parent)
    if real != parent or os.path.islink(directory):
        return f"link\n{os.path.realpath(directory)}"
    if not os.path.lexists(directory):
        os.umask(0o022)  # Pacemaker's own would keep everybody else out
        os.makedirs(directory, mode=0o755)
        return "made\n"
    if not os.path.isdir(directory):
        return "file\n"
    return "there\n" + "\n".join(sorted(os.listdir(directory)))


def require_helper(fstype: str) -> None:
    """OcfError ERR_INSTALLED when this node has nothing that mounts ``fstype``."""
    names = [f"mount.{fstype}"]
    if fstype.startswith("fuse"):
        program = fstype.partition(".")[2]
        # mount.fuse runs the program of that name.
        if program and any(_found(name) for name in ("mount.fuse", "mount.fuse3")) and _found(program):
            return
    if fstype == "ceph":
        names.append("mount.fuse.ceph")
    if any(_found(name) for name in names):
        return
    package = _PACKAGES.get(fstype, f"that brings {names[0]}")
    raise OcfError(
        ERR_INSTALLED, f"this node cannot mount {fstype}: no program {names[0]}; install the package {package}"
    )


def _found(name: str) -> bool:
    return any(os.access(f"{directory}/{name}", os.X_OK) for directory in _HELPERS.split(":"))


def require_served(want: Wanted, seconds: float) -> None:
    """OcfError when the directory that this node serves, and that is to be bound, is not there."""
    answer = child.ask(lambda: "there" if os.path.isdir(want.serves) else "", seconds)
    if answer.text is None:
        raise OcfError(ERR_GENERIC, f"{want.serves} does not answer: does the disk under {want.disk} still work?")
    if answer.text != "there":
        raise OcfError(
            ERR_GENERIC,
            f"there is no directory {want.serves} on the disk that is mounted at {want.disk}; make it there",
        )


def gone(want: Wanted) -> bool:
    """Whether nothing at all is mounted at the directory."""
    return not mounts.stack(mounts.read(), want.directory)
