"""From facts about a mount to what is wrong with it. Pure: the same words for monitor, start and the tests."""

from __future__ import annotations

from hafailover.agents import mounts
from hafailover.agents.nfsmount.wanted import holder, is_bind, is_remote, ours
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from hafailover.agents.mounts import Mount
    from hafailover.agents.nfsmount.wanted import Wanted

ABSENT, FOREIGN, COVERED, WRONG_KIND, READ_ONLY, GOOD = (
    "absent",
    "foreign",
    "covered",
    "wrong kind",
    "read-only",
    "good",
)

_ESTALE, _EIO, _ENOTCONN, _EACCES, _EROFS = 116, 5, 107, 13, 30
_MEANING = {
    _ESTALE: "its file handle is stale: the server does not know the exported directory any more",
    _EIO: "the server does not answer and the mount gave up (a soft mount, or a helper that ended)",
    _ENOTCONN: "the program that serves this mount has ended, or reaches too few of its servers",
    _EACCES: "the server refuses access; do its exports allow this node?",
    _EROFS: "the server allows no writing; is it exported rw?",
}


class Standing(NamedTuple):
    """``state`` is one of the words above, ``why`` says it to a person, ``mount`` is ours (also when something covers it)."""

    state: str
    why: str
    mount: Mount | None


def standing(want: Wanted, table: Sequence[Mount]) -> Standing:
    """What the table of mounts says about the directory."""
    here = mounts.stack(table, want.directory)
    mine = [mount for mount in here if ours(want, mount, table)]
    if not mine:
        if here:
            return Standing(FOREIGN, f"{here[-1]} is mounted at {want.directory} instead of {want.source}", None)
        return Standing(ABSENT, f"nothing is mounted at {want.directory}", None)
    mount = mine[-1]
    seen = mounts.visible(table, want.directory)
    if seen is None or seen.id != mount.id:
        over = f"{seen} is mounted over it at {seen.point}" if seen else "it cannot be reached"
        return Standing(COVERED, f"{want.source} is mounted at {want.directory}, but {over}", mount)
    disk = holder(want, table)
    if disk is None and is_bind(want, mount, table):
        return Standing(
            WRONG_KIND,
            f"{want.directory} still shows the shared disk itself, which is not mounted at {want.disk} any more: "
            "it must be let go before another node uses the disk",
            mount,
        )
    if disk is not None and is_remote(want, mount):
        return Standing(
            WRONG_KIND,
            f"this node serves {want.serves} itself now; {want.directory} is to be a bind mount of it, not of {want.source}",
            mount,
        )
    if mount.read_only and not want.read_only:
        return Standing(READ_ONLY, f"{want.directory} is mounted read-only and should be writable", mount)
    return Standing(GOOD, "", mount)


def failure(directory: str, number: int, words: str) -> str:
    """The sentence for the error ``number`` that the probe of ``directory`` met (its own ``words`` for others)."""
    return f"{directory}: {_MEANING.get(number, words)}"


def may_pass(number: int) -> bool:
    """Whether the error may be one that passes: while a server takes over, its exports may come after its address.

    The kernel's server refuses access to what it does not export at the moment, a stale handle is what Ganesha says.
    """
    return number in (_ESTALE, _EACCES)


def hung(want: Wanted, silent: float, ride_through: float) -> tuple[bool, str]:
    """Whether a hang of ``silent`` seconds is a failure, and the sentence about it."""
    text = f"{want.source} at {want.directory} has not answered for {silent:.0f} s"
    if silent < ride_through:
        return False, f"{text}; waiting up to {ride_through:.0f} s for its server to come back"
    return True, f"{text}, longer than ride_through={ride_through:.0f}s"


# Where a mount would take away what the machine, or the service itself, consists of.
_SYSTEM = (
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/opt/stackstorm", "/proc", "/root", "/run",
    "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/log", "/var/run",  # noqa: S108
)  # fmt: skip


def unmountable(directory: str) -> str | None:
    """Why nothing may be mounted at ``directory``."""
    if not directory.startswith("/"):
        return "not an absolute path"
    if ".." in directory.split("/"):
        return "a path with .. in it"
    plain = "/" + "/".join(part for part in directory.split("/") if part not in ("", "."))
    if plain in _SYSTEM:
        return "a directory of the system, and a mount would hide all that is in it; give a directory below it"
    return None
