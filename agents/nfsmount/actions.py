"""Start, monitor, stop and validation of a mount."""

from __future__ import annotations

import time

from hafailover.agents import mounts
from hafailover.agents.nfsmount import decide, probe
from hafailover.agents.nfsmount.declaration import agent
from hafailover.agents.nfsmount.wanted import holder, is_remote, wanted
from hafailover.agents.ocf import (
    DEGRADED,
    ERR_CONFIGURED,
    ERR_GENERIC,
    NOT_RUNNING,
    SUCCESS,
    Context,
    OcfError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mounts import Mount
    from hafailover.agents.nfsmount.decide import Standing
    from hafailover.agents.nfsmount.wanted import Wanted

_LOOKS = 3  # a second apart: while a server takes over, its exports may come after its address
_FSTAB = "/etc/fstab"


@agent.action("monitor", timeout="30s", interval="10s")
@agent.action("monitor", timeout="30s", interval="60s", depth=10)
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, DEGRADED while it hangs and may come back, ERR_GENERIC with the reason for anything else."""
    want = wanted(ctx.params)
    now = decide.standing(want, mounts.read())
    if now.state == decide.ABSENT:
        return NOT_RUNNING
    if now.state == decide.FOREIGN:
        if ctx.is_probe:  # not ours, so ours is not running; start says why it cannot
            ctx.log("warning", now.why)
            return NOT_RUNNING
        raise OcfError(ERR_GENERIC, now.why)
    if now.mount is None or now.state != decide.GOOD:
        raise OcfError(ERR_GENERIC, now.why)
    return _asked(ctx, want, now.mount)


def _asked(ctx: Context, want: Wanted, mount: Mount) -> int:
    """What a probe of the mount comes to."""
    outcome = _look(ctx, mount)
    for _ in range(_LOOKS - 1):
        if not decide.may_pass(outcome.error) or ctx.deadline.bound(60) < ctx.params["patience"] + 2:
            break
        time.sleep(1)
        outcome = _look(ctx, mount)
    if outcome.silent is not None:
        failed, why = decide.hung(want, outcome.silent, ctx.params["ride_through"])
        if failed:
            raise OcfError(ERR_GENERIC, why)
        raise OcfError(DEGRADED, why)
    if outcome.error:
        raise OcfError(ERR_GENERIC, decide.failure(want.directory, outcome.error, outcome.words))
    if outcome.before:
        _back(ctx, want, outcome.before)
    return SUCCESS


def _look(ctx: Context, mount: Mount) -> probe.Outcome:
    patience = min(ctx.params["patience"], ctx.deadline.remaining() / 2)
    node = ctx.node if ctx.check_level >= probe.WRITE else ""
    return probe.look(ctx.instance, mount, ctx.check_level, patience, node)


def _back(ctx: Context, want: Wanted, silent: float) -> None:
    """Record that a mount which hung answers again.

    Its users are not told to begin anew: it is the same mount, and whoever waited in it has gone on. That is what riding
    through is for; who was too long without its broker or database meanwhile is seen by its own agent.
    """
    why = f"{want.directory} answers again after {silent:.0f} s"
    ctx.event("nfsmount.back", why, seconds=round(silent, 1), source=want.source)
    probe.forget(ctx.instance)  # last: if this action is killed, the next one tells it again


@agent.action("start", timeout="60s")
def start(ctx: Context) -> int:
    """Mount it, in the way that is right on this node, and see it answer."""
    from hafailover.agents.nfsmount import place

    want = wanted(ctx.params)
    now = decide.standing(want, mounts.read())
    if now.state in (decide.FOREIGN, decide.COVERED):
        raise OcfError(ERR_GENERIC, f"{now.why}; unmount that first")
    if now.state == decide.GOOD and now.mount is not None:
        outcome = _look(ctx, now.mount)
        if outcome.silent is None and not outcome.error:
            return SUCCESS
        now = now._replace(why=f"what is mounted at {want.directory} does not answer as it should")
    if now.mount is not None:
        ctx.log("warning", f"{now.why}; mounting it anew")
        _clear(ctx, want, now)
    _warn(ctx, want)
    disk = holder(want, mounts.read())
    if disk is None:
        place.require_helper(want.fstype)
    else:
        place.require_served(want, ctx.deadline.bound(10))
    place.prepare(ctx, want, ctx.deadline.bound(10))
    seconds = _mount(ctx, want, bind=disk is not None)
    _verify(ctx, want)
    _tell(ctx, want, bind=disk is not None, seconds=seconds)
    return SUCCESS


def _mount(ctx: Context, want: Wanted, *, bind: bool) -> float:
    """Mount, trying again while the server is not there yet; how many seconds it took."""
    from hafailover.agents.nfsmount import mounting

    begun = time.monotonic()
    if bind:
        mounting.bind(ctx, want)
    else:
        mounting.remote(ctx, want)
    return time.monotonic() - begun


def _verify(ctx: Context, want: Wanted) -> None:
    """OcfError unless the mount is there, as it should be, and answers within what is left of the action's time."""
    now = decide.standing(want, mounts.read())
    if now.state != decide.GOOD or now.mount is None:
        raise OcfError(ERR_GENERIC, f"after mounting: {now.why}")
    patience = max(ctx.params["patience"], ctx.deadline.bound(60) / 2)
    outcome = probe.look(ctx.instance, now.mount, probe.READ, min(patience, ctx.deadline.bound(60)))
    if outcome.silent is not None:
        raise OcfError(ERR_GENERIC, f"{want.source} is mounted at {want.directory}, but does not answer")
    probe.forget(ctx.instance)
    if outcome.error:
        raise OcfError(ERR_GENERIC, decide.failure(want.directory, outcome.error, outcome.words))


def _tell(ctx: Context, want: Wanted, *, bind: bool, seconds: float) -> None:
    from hafailover.agents import generation

    what = f"{want.serves}, which this node serves," if bind else want.source
    why = f"{what} is mounted at {want.directory}"
    ctx.event("nfsmount.up", why, source=want.source, kind="bind" if bind else want.fstype, seconds=round(seconds, 2))
    generation.mark(ctx.instance, why)


def _warn(ctx: Context, want: Wanted) -> None:
    from hafailover.agents.nfsmount import options

    for words in options.warnings(want.fstype, want.options):
        ctx.log("warning", words)
    clash = options.at_boot(_fstab(), want.directory)
    if clash:
        ctx.log("warning", clash)


def _fstab() -> str:
    try:
        with open(_FSTAB, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


@agent.action("stop", timeout="60s")
def stop(ctx: Context) -> int:
    """Let go of it, whatever hangs; OcfError only where letting go would leave a shared disk in use."""
    want = wanted(ctx.params)
    now = decide.standing(want, mounts.read())
    if now.mount is None:
        if now.state == decide.FOREIGN:
            ctx.log("warning", f"{now.why}; leaving that alone")
        probe.forget(ctx.instance)
        return SUCCESS
    _clear(ctx, want, now)
    return SUCCESS


def _clear(ctx: Context, want: Wanted, now: Standing) -> None:
    """Let go of everything of ours at the directory: somebody may have mounted it a second time, over the first.

    A bind mount that stays below keeps the disk in use while another node mounts it.
    """
    while now.mount is not None:
        if now.state == decide.COVERED:
            _uncover(ctx, want, now.mount)
            now = decide.standing(want, mounts.read())
        if now.mount is not None and now.state == decide.COVERED and is_remote(want, now.mount):
            _leave_hidden(ctx, want, now.mount, now.why)
            return
        if now.mount is not None:
            _let_go(ctx, want, now.mount)  # or OcfError, so that this ends
        now = decide.standing(want, mounts.read())


def _uncover(ctx: Context, want: Wanted, mount: Mount) -> None:
    """Take away what somebody mounted over our mount at its own place: it cannot be reached otherwise."""
    here = mounts.stack(mounts.read(), want.directory)
    for over in reversed(here[here.index(mount) + 1 :]):
        ctx.log("warning", f"{over} is mounted over {mount} at {want.directory}; unmounting that, too")
        _release(ctx, over, detach=is_remote(want, over))


def _leave_hidden(ctx: Context, want: Wanted, mount: Mount, why: str) -> None:
    """Let go of a mount to which no path leads, because somebody mounted over a directory above it: only its users can be ended.

    What covers it may hold anything, and is not ours to take away. To fail would have the node fenced, with all that runs there,
    for a mount that nobody can reach and that keeps nothing from any other node; start says what is in the way.
    """
    from hafailover.agents.nfsmount import release

    begun = time.monotonic()
    stays = release.listed(release.end_users(ctx, mount))
    probe.forget(ctx.instance)
    text = f"{why}; it cannot be unmounted, and stays hidden" + (f", used by {stays}" if stays else "")
    seconds = round(time.monotonic() - begun, 2)
    ctx.event("nfsmount.down", text, level="warning", how="hidden", seconds=seconds, held_by=stays)


def _let_go(ctx: Context, want: Wanted, mount: Mount) -> None:
    """Unmount ``mount`` and say how that went. OcfError when a bind mount stays."""
    begun = time.monotonic()
    how, stays = _release(ctx, mount, detach=is_remote(want, mount))
    probe.forget(ctx.instance)
    words = {"unmounted": "is unmounted", "forced": "is unmounted by force", "detached": "is detached"}[how]
    text = f"{mount} {words} from {want.directory}" + (f"; still there: {stays}" if stays else "")
    ctx.event(
        "nfsmount.down",
        text,
        level="notice" if how == "unmounted" else "warning",
        how=how,
        seconds=round(time.monotonic() - begun, 2),
        held_by=stays,
    )


def _release(ctx: Context, mount: Mount, *, detach: bool) -> tuple[str, str]:
    """How the mount was let go and who still uses it, as text. OcfError when it was not."""
    from hafailover.agents.nfsmount import release

    done = release.release(ctx, mount, detach=detach)
    stays = release.listed(done.stays)
    if done.fault:
        held = f", used by {stays}" if stays else ""
        raise OcfError(ERR_GENERIC, f"{mount} cannot be unmounted from {mount.point}: {done.fault}{held}")
    return done.how, stays


@agent.action("validate-all", timeout="20s")
def validate_all(ctx: Context) -> int:
    """Whether this node can mount it, and nothing else does."""
    from hafailover.agents.nfsmount import options, place

    want = wanted(ctx.params)
    if want.disk and not (want.serves + "/").startswith(want.disk.rstrip("/") + "/"):
        raise OcfError(ERR_CONFIGURED, f"serves={want.serves} does not lie on disk={want.disk}")
    if ctx.params["server"] is None and not want.fstype.startswith("fuse"):
        raise OcfError(ERR_CONFIGURED, f"parameter server is required for the type {want.fstype}")
    place.require_helper(want.fstype)
    clash = options.at_boot(_fstab(), want.directory)
    if clash:
        raise OcfError(ERR_CONFIGURED, clash)
    for words in options.warnings(want.fstype, want.options):
        ctx.log("warning", words)
    return SUCCESS
