"""The rarer, dearer check: RabbitMQ's own diagnostics, 2 s of processor time."""

from __future__ import annotations

from hafailover.agents.ocf import Context
from hafailover.agents.rabbitmq import control

_TIMEOUT = 40.0


def look(ctx: Context) -> str | None:
    """What is not as it should be, or None. A tool that is slow says nothing about a broker that has just passed a message on."""
    for check in ("check_running", "check_local_alarms"):
        answer = control.run(ctx, ctx.node, [check], timeout=_TIMEOUT, tool="rabbitmq-diagnostics")
        if answer.timed_out:
            ctx.log("warning", f"rabbitmq-diagnostics {check} did not answer within {_TIMEOUT:g} s")
        elif answer.rc != 0:
            return f"rabbitmq-diagnostics {check}: {control.said(answer)}"
    return None
