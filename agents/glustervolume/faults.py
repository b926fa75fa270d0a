"""What is wrong with a volume that serves, the worst first. Pure."""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_UNHEALED = 600.0  # seconds in which an entry is healed when every copy is there, unless it is a very large file


class Health(NamedTuple):
    """``pending``: how many entries this node's bricks have to heal to others; ``split``: names of entries in split-brain; ``full``: a
    brick and the percentage of its file system that is free, when that is too little; ``away``: nodes whose brick does not serve;
    ``stuck``: a brick process that is stopped or hangs; ``rejected``: nodes whose glusterd and this one reject each other; ``unhealed``:
    for how many seconds the same entries have been waiting although nobody is away.
    """

    pending: int = 0
    split: tuple[str, ...] = ()
    full: tuple[str, float] | None = None
    away: tuple[str, ...] = ()
    stuck: str = ""
    rejected: tuple[str, ...] = ()
    unhealed: float = 0.0


def fault(volume: str, found: Health) -> str | None:
    """The worst that is wrong, for a person, or None. Healing is work under way, and no fault."""
    if found.split:
        more = f" and {len(found.split) - 1} more" if len(found.split) > 1 else ""
        return f"split-brain: {found.split[0]}{more}; gluster volume heal {volume} info split-brain"
    if found.full:
        path, percent = found.full
        return f"the brick {path} is full ({percent:.1f} % free): writes fail; make room in the volume, or a larger file system"
    if found.stuck:
        return found.stuck
    if found.rejected:
        return (
            f"glusterd rejects {', '.join(found.rejected)}: they describe a volume differently, and take no commands; of the one that is "
            "wrong stop the daemon, empty /var/lib/glusterd, start it"
        )
    if found.away:
        return f"no brick serves on {', '.join(found.away)}; {found.pending} entries wait to be healed"
    if found.unhealed > _UNHEALED:
        return (
            f"{found.pending} entries are not healed for {found.unhealed / 60:.0f} min, though every brick serves: copies that contradict "
            f"each other? gluster volume heal {volume} info names them, glustershd.log says why"
        )
    return None


def waiting(before: str, entries: Collection[str], now: float) -> str:
    """Since when (seconds of the monotonic clock) and which entries have been waiting in every look: a note for the next one; "" for none.

    Under load entries come and go, and their number says nothing.
    """
    since, _, names = before.partition(" ")
    same = sorted(set(names.split()) & set(entries))
    if same:
        return f"{since} {' '.join(same)}"
    return f"{now:.0f} {' '.join(sorted(entries))}" if entries else ""
