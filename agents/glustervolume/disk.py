"""A node's place for bricks in the world: what is there, a file system where nothing is, its mount and its mark.

Everything that touches the disk is done by a child, because a disk that is dying hangs.
"""

from __future__ import annotations

import os
import stat
import time

from hafailover.agents import child, mounts
from hafailover.agents.glustervolume import place
from hafailover.agents.ocf import ERR_GENERIC, ERR_INSTALLED, Context, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOK = 20.0  # seconds for a look at a disk
_MAKE = 120.0
_MOUNT = 30.0
_UNMOUNT = 20.0
_BUSY = 5.0  # seconds in which a disk that is still in use is asked for again
_BUSY_PAUSE = 0.2
_NEW = (
    ".hafailover-brick-new"  # beside the mark while the place is a new one, whose bricks may be filled from the others'
)
_AHEAD = ".hafailover-brick-ahead"  # beside it while this one of two copies serves without the other
_REFILL = ".hafailover-brick-refill"  # beside it from before a brick is begun anew until GlusterFS has taken that over on all nodes
_BLOCK = 1 << 20
_SAMPLES = 64
_INSIDE = ".glusterfs"  # its own directory, and the beginning of the name of another
_ID = "trusted.glusterfs.volume-id"
_OPTIONS = {"xfs": "noatime,inode64", "ext4": "noatime"}
_MAKERS = {"xfs": ("mkfs.xfs", "-q", "-i", "size=512"), "ext4": ("mkfs.ext4", "-q", "-I", "512", "-m", "0")}


def _child(work: object, what: str) -> str:
    answer = child.ask(work, _LOOK)  # type: ignore[arg-type]
    if answer.text is None:
        raise OcfError(ERR_GENERIC, f"{what} does not answer within {_LOOK:g} s: is its disk dying?")
    error = child.error(answer.text)
    if error:
        raise OcfError(ERR_GENERIC, f"{what}: {error[1]}")
    return answer.text


def facts(ctx: Context, want: place.Wanted) -> place.Facts:
    """What is there. OcfError when that cannot be found out."""
    table = mounts.read()
    here = mounts.stack(table, want.directory)
    mounted = here[-1] if here else None
    number = _number(want.device) if want.device else ""
    ours = mounted is not None and number != "" and mounted.device == number
    elsewhere = "" if ours or not number else next((m.point for m in table if m.device == number), "")
    what, content = (place.NONE, "") if not want.device or ours else _content(ctx, want.device, number)
    own, mark, *entries = _child(lambda: _directory(want.directory), want.directory).split("\n")
    return place.Facts(
        what,
        content,
        mounted.source if mounted else "",
        ours,
        elsewhere,
        "" if want.device else _unmounted(want.directory),
        mark,
        tuple(name for name in entries if name),
        own == "own",
    )


def _number(device: str) -> str:
    """The number of a block device as mountinfo writes it, or nothing."""
    try:
        status = os.stat(device)
    except OSError:
        return ""
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if stat.S_ISBLK(status.st_mode) else ""


def _content(ctx: Context, device: str, number: str) -> tuple[str, str]:
    """What a device that is not mounted here has on it."""
    if not number:
        return place.ABSENT, ""
    holders = f"/sys/dev/block/{number}/holders"
    held = sorted(os.listdir(holders)) if os.path.isdir(holders) else []
    if held:
        return place.FOREIGN, f"what {held[0]} uses"
    probed = ctx.run(["blkid", "-p", "-o", "export", "--", device], timeout=_LOOK)
    values = dict(line.partition("=")[::2] for line in probed.out.splitlines())
    if values.get("USAGE") == "filesystem" and values.get("TYPE"):
        return place.SYSTEM, values["TYPE"]
    found = values.get("TYPE") or values.get("PTTYPE") or values.get("LABEL")
    if probed.timed_out or probed.rc not in (0, 2):
        return (
            place.FOREIGN,
            f"something that blkid cannot tell ({' '.join(probed.err.split()) or f'exit code {probed.rc}'})",
        )
    if found or probed.rc == 0:
        return place.FOREIGN, found or "a signature"
    # A second opinion by another way of looking, and then the bytes themselves: nothing that is there is taken for nothing.
    listed = ctx.run(["wipefs", "--no-act", "--parsable", "--", device], timeout=_LOOK)
    if listed.rc != 0 or [line for line in listed.out.splitlines() if line and not line.startswith("#")]:
        return place.FOREIGN, "a signature that wipefs knows"
    if _child(lambda: _zeros(device), device) != "zeros":
        return place.FOREIGN, "bytes that are not zero and no file system that is known"
    return place.BLANK, ""


def _zeros(device: str) -> str:
    """Runs in the child: whether the beginning, the end and samples of a device are zeros."""
    with open(device, "rb", buffering=0) as disk:
        size = os.lseek(disk.fileno(), 0, os.SEEK_END)
        places = {0, _BLOCK, max(0, size - _BLOCK), *(size // _SAMPLES * at // 4096 * 4096 for at in range(_SAMPLES))}
        for at in sorted(places):
            os.lseek(disk.fileno(), at, os.SEEK_SET)
            if os.read(disk.fileno(), _BLOCK if at in (0, _BLOCK) or at + _BLOCK >= size else 65536).strip(b"\0"):
                return "data"
    return "zeros"


def _directory(directory: str) -> str:
    """Runs in the child: whether the directory is a file system of its own, its mark, its entries."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return "shared\n"
    own = os.stat(directory).st_dev != os.stat(os.path.dirname(directory)).st_dev
    mark = ""
    if place.MARK in names:
        with open(f"{directory}/{place.MARK}") as file:
            mark = file.read().strip()
    return "\n".join(
        ["own" if own else "shared", mark, *(name for name in names if name not in (place.MARK, _NEW, _AHEAD, _REFILL))]
    )


def _unmounted(directory: str) -> str:
    from hafailover.agents.mariadb import mounts as fstab

    return fstab.missing(directory) or ""


# -- acting -------------------------------------------------------------------------------------------------------------------


def prepare(ctx: Context, want: place.Wanted) -> None:
    """Bring the place into being. OcfError with the sentence for a person when that may not be."""
    mounted = False
    for _ in range(4):  # at most: make, mount, claim, use
        now = place.step(want, facts(ctx, want))
        if now.what == place.REFUSE:
            if mounted:
                unmount(ctx, want)  # it turned out to be somebody else's
            raise OcfError(ERR_GENERIC, now.reason)
        if now.what == place.USE:
            return
        if now.what == place.MAKE:
            _make(ctx, want)
        elif now.what == place.MOUNT:
            _mount(ctx, want)
            mounted = True
        else:
            _child(lambda: _claim(want), want.directory)
            ctx.event(
                "glustervolume.place", f"{want.directory} is {want.mark}'s place for bricks now", path=want.directory
            )
    raise OcfError(ERR_GENERIC, f"{want.directory} does not become a place for bricks; the journal has what was tried")


def _make(ctx: Context, want: place.Wanted) -> None:
    fstype = ctx.params["fstype"]
    argv = [*_MAKERS[fstype], "--", want.device] if fstype == "ext4" else [*_MAKERS[fstype], want.device]
    ctx.require(argv[0])
    ctx.event("glustervolume.mkfs", f"{want.device} is blank; making {fstype} on it", device=want.device)
    answer = ctx.run(argv, timeout=_MAKE)
    if answer.rc != 0 or answer.timed_out:
        raise OcfError(
            ERR_GENERIC, f"{argv[0]} {want.device}: {' '.join(answer.err.split()) or 'not done in its time'}"
        )


def _mount(ctx: Context, want: place.Wanted) -> None:
    os.makedirs(want.directory, mode=0o755, exist_ok=True)
    fstype = _content(ctx, want.device, _number(want.device))[1]
    options = ["-o", _OPTIONS.get(fstype, "noatime")]
    answer = ctx.run(["mount", "-t", fstype, *options, "--", want.device, want.directory], timeout=_MOUNT)
    if answer.rc != 0 or answer.timed_out:
        said = " ".join(answer.err.split()) or "not done in its time"
        if "unknown filesystem" in said:
            raise OcfError(ERR_INSTALLED, f"this node cannot mount {fstype}, which is on {want.device}")
        raise OcfError(ERR_GENERIC, f"cannot mount {want.device} at {want.directory}: {said}")


def _claim(want: place.Wanted) -> str:
    """Runs in the child."""
    os.umask(0o022)
    os.makedirs(want.directory, mode=0o755, exist_ok=True)
    if want.device:
        # Before the mark: an empty place without it is what it was when its bricks were lost.
        _write(f"{want.directory}/{_NEW}", "")
    _write(f"{want.directory}/{place.MARK}", f"{want.mark}\n")
    return ""


def _write(path: str, text: str) -> str:
    with open(f"{path}.tmp", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.tmp", path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return ""


def is_ours(want: place.Wanted) -> bool:
    """Whether the place carries the mark. OcfError when its disk does not answer."""
    return _child(lambda: _directory(want.directory), want.directory).split("\n")[1] == want.mark


def is_new(directory: str) -> bool:
    """Whether the place was made of nothing and its bricks have not been filled yet."""
    return _child(lambda: str(os.path.exists(f"{directory}/{_NEW}")), directory) == "True"


def settle(directory: str) -> None:
    """Its bricks are the volume's: from now on an empty one is a loss."""
    _child(lambda: _unlink(f"{directory}/{_NEW}"), directory)


def _read(path: str) -> str:
    """ "=" and what is in the file, or nothing when there is none."""
    try:
        with open(path) as file:
            return f"={file.read().strip()}"
    except FileNotFoundError:
        return ""


def _unlink(path: str) -> str:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return ""
    return ""


def ahead(directory: str) -> str | None:
    """The turn of the mark that its bricks served without the other copy (``Sight.turn``), or None when the place carries none."""
    said = _child(lambda: _read(f"{directory}/{_AHEAD}"), directory)
    return said[1:] if said else None


def mark_ahead(directory: str, turn: str | None) -> None:
    """Set that mark so that it survives a loss of power, or take it away (None)."""
    _child(
        lambda: _unlink(f"{directory}/{_AHEAD}") if turn is None else _write(f"{directory}/{_AHEAD}", turn), directory
    )


def refilling(directory: str) -> bool:
    """Whether its bricks were being begun anew when that was interrupted: they may look like bricks then, and hold nothing."""
    return _child(lambda: str(os.path.exists(f"{directory}/{_REFILL}")), directory) == "True"


def mark_refilling(directory: str, now: bool) -> None:
    """Set that mark so that it survives a loss of power, or take it away."""
    _child(lambda: _write(f"{directory}/{_REFILL}", "") if now else _unlink(f"{directory}/{_REFILL}"), directory)


def is_own(directory: str) -> bool:
    """Whether the place is a file system of its own."""
    return _child(lambda: _directory(directory), directory).startswith("own\n")


def shares_root(directory: str) -> bool:
    """Whether the place is on the root file system."""
    return _child(lambda: str(os.stat(directory).st_dev == os.stat("/").st_dev), directory) == "True"


def bricks(paths: Sequence[str], volume_id: str) -> dict[str, str]:
    """What each brick's directory is: place.FRESH, HALF, KEPT or STRANGE."""
    said = _child(lambda: "\n".join(_brick(path, volume_id) for path in paths), os.path.dirname(paths[0]))
    return dict(zip(paths, said.split("\n")))


def _brick(path: str, volume_id: str) -> str:
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return place.FRESH
    return place.brick(_volume_id(path), _has_files(path, names), volume_id)


def have_files(paths: Sequence[str]) -> bool:
    """Whether one of these bricks has files."""
    there = [path for path in paths if os.path.isdir(path)]
    return _child(lambda: str(any(_has_files(path, os.listdir(path)) for path in there)), paths[0]) == "True"


def _volume_id(path: str) -> str:
    try:
        raw = os.getxattr(path, _ID).hex()
    except OSError:
        return ""
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))


def _has_files(path: str, names: Sequence[str]) -> bool:
    if [name for name in names if not name.startswith(_INSIDE)]:
        return True
    if _INSIDE not in names:
        return False
    # Every file has a second name below a directory of two digits; 00 has the volume's own.
    inner = [name for name in os.listdir(f"{path}/{_INSIDE}") if len(name) == 2 and name != "00"]
    return any(os.listdir(f"{path}/{_INSIDE}/{name}") for name in inner)


def make_directory(path: str) -> None:
    """Make a brick's directory in a place that carries the mark."""
    _child(lambda: _make_directory(path), path)


def _make_directory(path: str) -> str:
    os.makedirs(path, mode=0o755, exist_ok=True)
    return ""


def unmount(ctx: Context, want: place.Wanted) -> None:
    """Unmount the device; one that is busy, or hangs, stays mounted: it is this node's own, and no other node's loss."""
    table = mounts.read()
    here = mounts.stack(table, want.directory)
    if not want.device or not here or here[-1].device != _number(want.device):
        return
    end = time.monotonic() + ctx.deadline.bound(_BUSY)
    while True:
        answer = ctx.run(["umount", "--", want.directory], timeout=_UNMOUNT)
        if answer.rc == 0 and not answer.timed_out:
            return
        # Whoever was killed a moment ago, or only looked, still has it; who then wipes a disk that is to be replaced is told it is busy.
        if answer.timed_out or "busy" not in answer.err or time.monotonic() > end:
            break
        time.sleep(_BUSY_PAUSE)
    ctx.log("warning", f"{want.directory} stays mounted: {' '.join(answer.err.split()) or 'umount does not end'}")
