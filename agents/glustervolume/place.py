"""What may be done with a node's place for bricks, a disk or a directory: facts in, a step with its reason out. Pure.

A file system is made only where there is provably nothing, and bricks are made only in a place that carries the mark of this volume on this
node: the directory under a mount point whose disk is missing has none, so that the root file system is never filled in its stead.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = ".hafailover-brick"

# What is on the device that the parameters name.
NONE = ""  # no device is named
ABSENT = "absent"  # no block device of that name
BLANK = "blank"  # no signature that any tool knows, and nothing but zeros where they lie
SYSTEM = "file system"
FOREIGN = "foreign"  # partitions, a member of a volume group or array, swap, or bytes that nobody knows

# What may be done.
MAKE = "make"  # make a file system on the blank device, and mount it
MOUNT = "mount"
CLAIM = "claim"  # write the mark
USE = "use"
REFUSE = "refuse"

_SHOWN = 3
_LOST = "lost+found"


class Facts(NamedTuple):
    """A node's place for the bricks of a volume.

    ``device``: what is on the device, ``content`` what that is called ("ext4", "LVM2_member"); ``mounted``: the source of what is mounted
    at the directory, "" for nothing; ``ours``: whether that is the device; ``elsewhere``: where else the device is mounted; ``fstab``:
    the mount point at or above the directory that /etc/fstab names and where nothing is mounted; ``mark``: the mark's words, ``entries``:
    what else is in the directory; ``own``: whether the directory is a file system of its own.
    """

    device: str = NONE
    content: str = ""
    mounted: str = ""
    ours: bool = False
    elsewhere: str = ""
    fstab: str = ""
    mark: str = ""
    entries: Sequence[str] = ()
    own: bool = False


class Wanted(NamedTuple):
    """The place as the parameters say it: directory, device or "", the mark it must carry; ``known`` is what the cluster remembers of this
    node's place: "own" (a file system of its own), "shared" (a directory of another one) or "" (it never had any)."""

    directory: str
    device: str
    mark: str
    known: str = ""


class Step(NamedTuple):
    """What to do, and for REFUSE why and what a person can do."""

    what: str
    reason: str = ""


def step(want: Wanted, facts: Facts) -> Step:
    """The next step towards a place that can be used."""
    return _with_device(want, facts) if want.device else _without_device(want, facts)


def _with_device(want: Wanted, facts: Facts) -> Step:
    if facts.device == ABSENT:
        return Step(REFUSE, f"the brick's disk is missing: {want.device} is no block device on this node")
    if facts.mounted and not facts.ours:
        return Step(REFUSE, f"{facts.mounted} is mounted at {want.directory}, where {want.device} belongs; unmount it")
    if facts.ours:
        return _inside(want, facts)
    if facts.elsewhere:
        return Step(REFUSE, f"{want.device} is mounted at {facts.elsewhere}, not at {want.directory}; unmount it there")
    if facts.device == FOREIGN:
        return Step(
            REFUSE,
            f"{want.device} holds {facts.content or 'something unknown'}, and nothing is overwritten; "
            f"if it is not needed: wipefs -a {want.device}",
        )
    hidden = _others(facts)
    if facts.mark or hidden:
        inside = f"the mark of a brick ({facts.mark})" if facts.mark else _names(hidden)
        return Step(
            REFUSE, f"{want.directory} has {inside} in it, which mounting {want.device} would hide; move it away"
        )
    return Step(MAKE if facts.device == BLANK else MOUNT)


def _without_device(want: Wanted, facts: Facts) -> Step:
    if facts.fstab:
        return Step(
            REFUSE, f"the brick's disk is not mounted: /etc/fstab names {facts.fstab}, and nothing is mounted there"
        )
    if want.known == "own" and not facts.own:
        return Step(
            REFUSE, f"the brick's disk is not mounted: {want.directory} was a file system of its own and is none now"
        )
    return _inside(want, facts)


def _inside(want: Wanted, facts: Facts) -> Step:
    if facts.mark == want.mark:
        return Step(USE)
    if facts.mark:
        return Step(
            REFUSE, f"{want.directory} has the brick of {facts.mark}, not of {want.mark}; give another directory"
        )
    others = _others(facts)
    if others:
        return Step(
            REFUSE, f"{want.directory} is not empty ({_names(others)}) and no brick of this volume; give an empty one"
        )
    return Step(CLAIM)


def _others(facts: Facts) -> list[str]:
    return [name for name in facts.entries if name not in (MARK, _LOST)]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


# -- the bricks in it ---------------------------------------------------------------------------------------------------------

FRESH = "fresh"  # nothing is there, or nothing but an empty directory
HALF = "half"  # what a creation that did not come to its end left: the id of another volume, and no file; it can be made anew
KEPT = "kept"  # a brick of the volume
STRANGE = "strange"  # anything else: it is never touched


def brick(found_id: str, files: bool, volume_id: str) -> str:
    """What a brick's directory is: its volume id ("" for none), whether it has files, and the id that the volume has ("" for none yet)."""
    if found_id and found_id == volume_id:
        return KEPT
    if files:
        return STRANGE
    return HALF if found_id else FRESH
