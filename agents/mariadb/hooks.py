"""Promotion hooks: programs of the operator's that are run when the primary changes, by the agent, so that a failover runs them too.

Before a promotion they are waited for, no longer than they may take together; after it, and after a demotion, they run in a unit of
their own, and nothing waits for them. At a planned switchover the command has run the first ones already, before anything was changed
(``planned``). No failure of a hook fails an action: a service that has no primary because its DNS could not be changed has two troubles.
"""

from __future__ import annotations

import os
import time

from hafailover.agents.mariadb.journal import JournalError
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import OcfError
from hafailover.crm.pacemaker import PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hafailover.agents.mariadb.cluster import Cluster
    from hafailover.agents.mariadb.journal import Journal
    from hafailover.agents.ocf import Context

CONFIG = "/etc/hafailover/hooks.json"
VERSION = 1
RUNNER = "/usr/lib/hafailover/hooks-run"
PRE_PROMOTE, POST_PROMOTE, POST_DEMOTE = "pre-promote", "post-promote", "post-demote"
EVENTS = (PRE_PROMOTE, POST_PROMOTE, POST_DEMOTE)

LONGEST = 60.0
"""Seconds that a hook may have."""
BEFORE = 20.0
"""Seconds that all hooks before a promotion may take together: nobody can write meanwhile."""

_MARGIN = 2.0  # seconds for the runner itself
_PLANNED = "hooks-planned"
_RECENT = 300.0  # seconds for which hooks that were run for a planned switchover count: longer than one may take


def configured(resource: str) -> dict[str, Any] | None:
    """What is configured for ``resource``, or None. A file that cannot be read counts as none: it must not fail a promotion."""
    try:
        with open(CONFIG, encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return None
    if '"hooks"' not in text:
        return None
    import json  # most clusters have no hooks, and their actions do not pay for it

    try:
        data = json.loads(text)
        found = data["services"].get(resource) if data["version"] == VERSION else None
        return found if found and found["hooks"] else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def chosen(found: dict[str, Any] | None, event: str, here: bool) -> list[dict[str, Any]]:
    """The hooks of ``event`` for this node; ``here``: its role is the one that changes."""
    return [hook for hook in (found or {"hooks": {}})["hooks"].get(event, ()) if here or hook["on"] == "all"]


def seconds(hooks: list[dict[str, Any]]) -> float:
    """How long hooks may take together."""
    return sum(min(float(hook["timeout"]), LONGEST) for hook in hooks)


def planned(resource: str, epoch: int, new: str = "") -> bool:
    """Whether the hooks before a promotion (of ``new``, if given) out of ``epoch`` were run by a command, a moment ago."""
    words = (Memo(resource).read(_PLANNED) or "").split()
    if len(words) != 3 or words[0] != str(epoch) or new not in ("", words[2]):
        return False
    return abs(time.time() - float(words[1])) < _RECENT


def plan(resource: str, epoch: int, new: str) -> None:
    """From the command: a switchover to ``new`` out of ``epoch`` is about to begin. OSError."""
    Memo(resource).write(_PLANNED, f"{epoch} {time.time():.0f} {new}")


def unplan(resource: str) -> None:
    """From the command: it does not come about. A failover that follows is none that was planned, and has its hooks run. OSError."""
    Memo(resource).clear(_PLANNED)


def before_promotion(ctx: Context, before: Journal, after: Journal) -> None:
    """Run the hooks of the node that is about to be opened, unless they were run. Never fails, never longer than BEFORE."""
    hooks = chosen(configured(ctx.instance), PRE_PROMOTE, here=True)
    if not hooks or planned(ctx.instance, before.epoch, after.primary):
        return
    limit = ctx.deadline.bound(min(seconds(hooks), BEFORE) + _MARGIN)
    argv = _argv(ctx, PRE_PROMOTE, before.primary, after.primary, after.epoch, "here")
    try:
        result = ctx.run([*argv, f"within={limit - _MARGIN:.1f}"], timeout=limit)
    except OcfError as error:
        ctx.log("error", f"the hooks before the promotion could not be run: {error.reason}")
        return
    if result.rc != 0:
        said = (
            "they took too long" if result.timed_out else (result.err.strip().splitlines() or ["see the journal"])[-1]
        )
        ctx.event(
            "hook.failed", f"promoted in spite of a failed hook, for somebody has to serve: {said}", level="error"
        )


def after_promotion(ctx: Context, before: Journal, after: Journal) -> None:
    """Have the hooks of the node that was opened run. Never fails, and waits for none."""
    _launch(
        ctx, POST_PROMOTE, before.primary, after.primary, after.epoch,
        planned(ctx.instance, before.epoch, after.primary), here=True,
    )  # fmt: skip


def after_demotion(ctx: Context, cluster: Cluster) -> None:
    """Have the hooks of the node that was closed run. Never fails, and waits for none."""
    if chosen(configured(ctx.instance), POST_DEMOTE, here=True):
        epoch = _epoch(cluster)
        new = (ctx.notify.promote or [""])[0]
        _launch(ctx, POST_DEMOTE, cluster.node, new, epoch, planned(ctx.instance, epoch, new), here=True)


def notified(ctx: Context, cluster: Cluster, step: str) -> None:
    """Another node's role changes: have the hooks run that are meant for all nodes. Never fails, and waits for none."""
    if step not in EVENTS or not chosen(configured(ctx.instance), step, here=False):
        return
    changing = ctx.notify.demote if step == POST_DEMOTE else ctx.notify.promote
    if ctx.node in changing or not changing:
        return
    epoch = _epoch(cluster)
    new, old = (ctx.notify.promote or [""])[0], (ctx.notify.demote or [""])[0]
    asked = planned(ctx.instance, epoch - (step == POST_PROMOTE), new)
    if asked and step == PRE_PROMOTE:
        return  # the command had it run here as well
    _launch(ctx, step, old, new, epoch + (step == PRE_PROMOTE), asked, here=False)


def _epoch(cluster: Cluster) -> int:
    try:
        return cluster.journal().epoch
    except (PacemakerError, JournalError):
        return 0  # the runner asks again


def _launch(ctx: Context, event: str, old: str, new: str, epoch: int, asked: bool, here: bool) -> None:
    hooks = chosen(configured(ctx.instance), event, here)
    if not hooks:
        return
    limit = seconds(hooks) + _MARGIN
    words = [*(["here"] if here else []), *(["planned"] if asked else [])]
    # The unit ends what hooks leave behind, whatever they do to hide it.
    argv = [
        "systemd-run", "--quiet", "--collect", "--no-block", f"--unit=hafailover-hooks-{ctx.instance}-{event}-{os.getpid()}",
        f"--description={event} hooks of {ctx.instance}", f"--property=RuntimeMaxSec={limit + 10:.0f}",
        # A node that is shut down gives up its role too, and takes no new unit that its shutdown would end.
        "--property=DefaultDependencies=no", "--property=TimeoutStopSec=2", *_argv(ctx, event, old, new, epoch, *words),
    ]  # fmt: skip
    try:
        result = ctx.run(argv, timeout=5)
    except OcfError as error:
        ctx.log("error", f"the {event} hooks could not be started: {error.reason}")
        return
    if result.rc != 0:
        ctx.event("hook.failed", f"the {event} hooks could not be started: {result.err.strip()}", level="error")


def _argv(ctx: Context, event: str, old: str, new: str, epoch: int, *words: str) -> list[str]:
    return [RUNNER, ctx.instance, event, f"node={ctx.node}", f"old={old}", f"new={new}", f"epoch={epoch}", *words]
