"""The rarer, dearer check: RabbitMQ's own diagnostics, and whether the settings are still the topology's; 3 s of processor time."""

from __future__ import annotations

from hafailover.agents.ocf import Context, OcfError
from hafailover.agents.rabbitmq import control, settings

_TIMEOUT = 40.0


def look(ctx: Context) -> str | None:
    """What is not as it should be, or None. A tool that is slow says nothing about a broker that has just passed a message on."""
    for check in ("check_running", "check_local_alarms"):
        answer = control.run(ctx, ctx.node, [check], timeout=_TIMEOUT, tool="rabbitmq-diagnostics")
        if answer.timed_out:
            ctx.log("warning", f"rabbitmq-diagnostics {check} did not answer within {_TIMEOUT:g} s")
        elif answer.rc != 0:
            return f"rabbitmq-diagnostics {check}: {control.why(ctx, answer)}"
    try:
        return settings.tend(ctx)
    except OcfError as error:
        ctx.log("warning", f"whether the broker has the topology's settings is not known: {error.reason}")
    return None
