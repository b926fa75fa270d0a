"""What a monitor looks at: the processes of this node's bricks, their disks, what waits to be healed. Nothing is asked of the pool."""

from __future__ import annotations

import time

from hafailover.agents.gluster.pool import Refused
from hafailover.agents.glustervolume import bricks, decide, disk
from hafailover.agents.glustervolume.decide import Told
from hafailover.agents.glustervolume.faults import Health, fault, waiting
from hafailover.agents.glustervolume.sight import Sight
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, Context, OcfError
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.glustervolume.decide import Brick, Volume

_SPLIT_EVERY = 60.0  # seconds between two questions for split-brain, which cost a second each
_SPLIT_ASK = 40.0
_ENDED = 20.0
_HEALER = 5.0
_NOTES = ("waits", "serves", "told", "healing", "split", "split-at", "stuck", "options", "behind", "ahead", "unhealed")
AHEAD = "ahead"  # of a monitor: the turn that this copy is marked with, or that nobody is
NOBODY = "-"


def probe(ctx: Context) -> int:
    """SUCCESS when a brick process of the volume runs here, or the instance waits for others; NOT_RUNNING if not."""
    memo, sight = Memo(ctx.instance), Sight(ctx)
    memo.clear("told")  # the attribute daemon may be another one, which knows nothing
    running = bool(_ours(ctx, sight))
    if not running and memo.read("waits") is None:
        return NOT_RUNNING
    if running:
        memo.write("waits", "the volume was found running")  # the first monitor sees to what a start does
    return SUCCESS


def _ours(ctx: Context, sight: Sight) -> list[int]:
    """The processes of the bricks here, unless they are of a volume that was made by hand: that is not ours to end."""
    volume = sight.volume()
    pids = list(filter(None, map(sight.pid, sight.mine(volume))))
    if not pids or volume is None:
        return []
    try:
        return pids if sight.made(volume) else []
    except PacemakerError as error:
        ctx.log("info", f"whether the cluster made the volume cannot be read, and is taken for granted: {error}")
        return pids


def recurring(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING; OcfError with DEGRADED or ERR_GENERIC."""
    memo = Memo(ctx.instance)
    if memo.read("waits") is not None:
        return _put_right(ctx)
    if memo.read("serves") is None:
        return NOT_RUNNING  # it was not started, or was stopped; putting that right is not a monitor's
    sight = Sight(ctx)
    volume = sight.volume()
    if volume is None or not volume.started:
        state = "gone" if volume is None else "stopped"
        raise OcfError(ERR_GENERIC, f"volume {sight.name} is {state}, and not by the cluster")
    mine = sight.mine(volume)
    changed = (ctx.params["options"] or "") != memo.read("options")
    if _dead(ctx, memo, sight, mine):
        # Nobody may count on its copy meanwhile.
        try:
            sight.tell_serving({})
        except PacemakerError as error:
            ctx.log("info", f"the other nodes are not told that no brick serves here: {error}")
        return _put_right(ctx)
    if not mine or changed or _grows(sight, volume) or _behind(memo, mine):
        return _put_right(ctx)
    try:
        found, states = _health(ctx, sight, volume)
    except OSError as error:
        raise OcfError(ERR_GENERIC, f"the brick {error.filename} cannot be read: {error.strerror}") from None
    try:
        sight.tell_serving(states)
        if found.pending:
            found = _deeper(ctx, memo, sight, volume, found)
            found = _unhealed(memo, found, states)
            _remember(memo, sight, volume, found, states)
        elif memo.read("behind") is not None:
            sight.note_behind(fewer=decide.caught_up(sight.me, volume, sight.told()))
        if volume.width == 2:
            _mark(memo, sight, volume, found)
    except (PacemakerError, Refused) as error:
        ctx.log("info", f"the other nodes are not told what is here: {error}")
    _healing(ctx, memo, found.pending)
    reason = fault(sight.name, found)
    if reason:
        raise OcfError(DEGRADED, reason)
    return SUCCESS


def _put_right(ctx: Context) -> int:
    """Something is not as it should be and may be put right in place: by the same way as at the start."""
    from hafailover.agents.glustervolume.forming import Forming

    return Forming(ctx).go_on()


def _dead(ctx: Context, memo: Memo, sight: Sight, mine: list[Brick]) -> bool:
    """Whether a brick has no process, or one that was stopped for two monitors, which is killed then."""
    pids = {brick.path: sight.pid(brick) for brick in mine}
    stuck = {path: number for path, number in pids.items() if number and bricks.stopped(number)}
    if not stuck:
        memo.clear("stuck")
    elif memo.since("stuck") > 0:
        # Clients wait for it as long as their ping-timeout, and heal daemons for ever.
        ctx.log("warning", f"the process of {', '.join(stuck)} is stopped by a signal; killing it, to be started anew")
        bricks.end(list(stuck.values()), _ENDED)
        memo.clear("stuck")
        return True
    return not all(pids.values())


def _behind(memo: Memo, mine: list[Brick]) -> bool:
    """Whether a brick of this node is remembered to be behind: then it serves only while the other copy does."""
    known = (memo.read("behind") or "").split(",")
    return any(brick.id in known for brick in mine)


def _mark(memo: Memo, sight: Sight, volume: Volume, found: Health) -> None:
    """Mark this copy while it serves without the other, and until the other has caught up."""
    marked = memo.read(AHEAD)
    alone = decide.by_itself(sight.me, volume, sight.told())
    if alone or (found.pending and marked not in (None, NOBODY)):
        turn = sight.turn()
        if (
            marked != turn
        ):  # the other one has begun to serve and lacks something still: the mark of before says nothing any more
            disk.mark_ahead(sight.root, turn)
            memo.write(AHEAD, turn)
    elif not found.pending and marked != NOBODY:
        disk.mark_ahead(sight.root, None)
        memo.write(AHEAD, NOBODY)


def _remember(memo: Memo, sight: Sight, volume: Volume, found: Health, states: dict[str, bricks.State | None]) -> None:
    """Have the cluster remember which copies are behind, before the one that is not can be lost."""
    blamed = frozenset[str]().union(*(state.blamed for state in states.values() if state is not None))
    more = decide.kept_back(volume, blamed, found.away)
    if more - frozenset((memo.read("behind") or "").split(",")):
        sight.note_behind(more)


def _grows(sight: Sight, volume: Volume) -> bool:
    """Whether the list has nodes that the volume has no brick on, enough of them to take in."""
    return bool(decide.addition(sight.nodes, sight.replica, volume)[1])


def _health(ctx: Context, sight: Sight, volume: Volume) -> tuple[Health, dict[str, bricks.State | None]]:
    states = sight.states(volume)
    full, stuck, pending = None, "", 0
    for path, state in states.items():
        if state is None:
            stuck = f"the brick {path} does not answer: is its disk dying?"
            continue
        pending += state.pending
        if state.free < ctx.params["free"] and (full is None or state.free < full[1]):
            full = (path, state.free)
    return Health(pending, (), full, (), stuck, sight.rejected()), states


def _deeper(ctx: Context, memo: Memo, sight: Sight, volume: Volume, found: Health) -> Health:
    """Something waits to be healed: who is away, and is anything in split-brain?"""
    told = sight.told()
    nodes = dict.fromkeys(brick.node for brick in volume.bricks if brick.node and brick.node != sight.me)
    away = tuple(name for name in nodes if name not in told or told[name].state != decide.RUNNING)
    known = tuple(filter(None, (memo.read("split") or "").split("\n")))
    if time.monotonic() - float(memo.read("split-at") or 0) <= _SPLIT_EVERY:
        return found._replace(away=away, split=known)
    from hafailover.agents.gluster import command

    memo.write("split-at", f"{time.monotonic():.0f}")
    words = ["volume", "heal", sight.name, "info", "split-brain"]
    try:
        split = bricks.split_brain(command.ask(ctx, words, _SPLIT_ASK))
    except OcfError as error:
        ctx.log("info", f"whether anything is in split-brain is not known: {error.reason}")
        return found._replace(away=away, split=known)
    for name in split:
        if name not in known:
            ctx.event("glustervolume.split-brain", f"{name} is in split-brain", level="error", entry=name)
    memo.write("split", "\n".join(split))
    return found._replace(away=away, split=split)


def _unhealed(memo: Memo, found: Health, states: dict[str, bricks.State | None]) -> Health:
    """For how long the same entries have been waiting while every copy serves."""
    entries = frozenset[str]().union(*(state.entries for state in states.values() if state is not None))
    now = time.monotonic()
    note = "" if found.away else waiting(memo.read("unhealed") or "", entries, now)
    memo.write("unhealed", note)
    return found._replace(unhealed=now - float(note.partition(" ")[0])) if note else found


def _healing(ctx: Context, memo: Memo, pending: int) -> None:
    """Record when healing begins and has ended."""
    begun = memo.read("healing")
    if pending and begun is None:
        memo.write("healing", f"{time.monotonic():.0f}")
        ctx.event("glustervolume.healing", f"{pending} entries wait to be healed on other nodes", pending=pending)
    elif not pending and begun is not None:
        seconds = time.monotonic() - float(begun)
        memo.clear("healing", "split", "split-at", "unhealed")
        ctx.event(
            "glustervolume.healed",
            f"nothing waits to be healed any more, after {seconds:.0f} s",
            seconds=round(seconds),
        )


def stop(ctx: Context) -> None:
    """End this node's brick processes, and let go of the disk. It never fails: what hangs in the kernel serves nobody."""
    sight = Sight(ctx)
    try:
        sight.tell(Told(decide.STOPPED, why="is stopped"))
    except PacemakerError as error:
        ctx.log("info", f"the other nodes are not told of the stop: {error}")
    pids = _ours(ctx, sight)
    killed, hung = bricks.end(pids, min(_ENDED, ctx.deadline.bound(_ENDED))) if pids else ([], [])
    # The heal daemon is one for all volumes of the node: the last of them ends it.
    healer = bricks.healer(sight.name)
    if healer and not bricks.others(sight.address):
        bricks.end([healer], _HEALER)
    if hung:
        ctx.log("warning", f"brick processes {hung} hang in the kernel until their disk answers")
    else:
        _let_go(ctx, sight)
    Memo(ctx.instance).clear(*_NOTES)
    ctx.event("glustervolume.down", f"volume {sight.name} does not serve here any more", killed=len(killed))


def _let_go(ctx: Context, sight: Sight) -> None:
    """Unmount the disk, unless a start has refused it: what is on it then is somebody else's, who may use it."""
    from hafailover.agents.glustervolume import place

    want = place.Wanted(sight.root, ctx.params["device"] or "", sight.mark)
    if not want.device:
        return
    try:
        if disk.is_ours(want):
            disk.unmount(ctx, want)
    except OcfError as error:
        ctx.log("warning", f"{want.directory} stays mounted: {error.reason}")
