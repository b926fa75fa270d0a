"""Why a monitor that stays degraded is degraded now.

Pacemaker records the result of a recurring monitor when its exit code changes, and not when only the reason does: crm_mon went on saying
that a replica lagged when its disk had become full. So a second reason is published as a private attribute of the node, which ``status``
reads. Private: it aborts no transition.
"""

from __future__ import annotations

from hafailover.agents.memo import Memo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.context import Context

NOTE = "degraded"
_TOLD = 5.0
_RECORDED, _PUBLISHED = "recorded", "published"


def attribute(resource: str) -> str:
    """The name of the attribute; its value is the monitor's interval in milliseconds, a blank, and the reason."""
    return f"hafailover-{resource}-reason"


def restate(ctx: Context, reason: str) -> None:
    """A recurring monitor ended degraded for ``reason``, or not degraded (""). What cannot be published now is with the next monitor."""
    memo, interval = Memo(ctx.instance), f"{ctx.interval * 1000:.0f}"
    kept = (memo.read(NOTE) or "").split("\n")
    before = kept if len(kept) == 3 and kept[1] == interval else ["", interval, ""]
    if not reason:
        # The monitor of another role or depth takes nothing back.
        if before[0]:
            forget(ctx)
    elif not before[0]:
        memo.write(NOTE, f"{_RECORDED}\n{interval}\n{_plain(reason)}")
    elif before[2] != _plain(reason) and _published(ctx, f"{interval} {' '.join(reason.split())}"):
        memo.write(NOTE, f"{_PUBLISHED}\n{interval}\n{_plain(reason)}")


def forget(ctx: Context) -> None:
    """Nothing is degraded any more, or the resource has stopped."""
    memo = Memo(ctx.instance)
    published = (memo.read(NOTE) or "").startswith(_PUBLISHED)
    if not published or _published(ctx, None):
        memo.clear(NOTE)


def _published(ctx: Context, value: str | None) -> bool:
    """Publish the attribute, or withdraw it (None); whether that was done."""
    from hafailover.crm.pacemaker import (
        Pacemaker,
        PacemakerError,
    )  # rarely needed, and every monitor imports this module

    cluster, name = Pacemaker(ctx.run, _TOLD), attribute(ctx.instance)
    try:
        if value is None:
            cluster.withdraw(name)
        else:
            cluster.publish(name, value)
    except PacemakerError:
        return False
    return True


def _plain(reason: str) -> str:
    """The reason without its counts and seconds, which change from one monitor to the next."""
    return " ".join(word for word in reason.split() if not word.strip("(),;%").replace(".", "", 1).isdecimal())
