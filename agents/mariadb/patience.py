"""A server that did not answer in time: hung, or only busy? A busy one is not taken its role, however slow it is."""

from __future__ import annotations

from hafailover.agents.mariadb import sql, vital
from hafailover.agents.mariadb.server import Process
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.ocf import Context

_AT_ONCE = 1.0  # seconds; a server with nothing to do answers within milliseconds


def excuse(ctx: Context, process: Process, error: SqlError) -> str | None:
    """Say why the server may be slow and yet be well, or None when it is hung.

    One that works, or waits for a processor, gets the rest of the action's time to give its simplest answer. One that does neither (it is
    stopped, deadlocked, waits for a disk) must give that answer at once: then only a single statement was held up, by somebody's lock.
    """
    if error.errno == sql.TOO_MANY_CONNECTIONS:
        return "the server is alive, but every connection is taken, the administrators' spare one too"
    busy = vital.busy(process)
    if not _answers(ctx, ctx.deadline.bound(float("inf") if busy else _AT_ONCE)):
        return None
    if busy:
        return f"the server is overloaded: {error}"
    return f"the server answers, but something held up one statement of the agent: {error}"


def _answers(ctx: Context, seconds: float) -> bool:
    """Whether the server says anything within ``seconds`` in all: also that it has no connection left is an answer."""
    try:
        with sql.local(ctx.params["socket"], seconds, seconds) as server:
            server.writable()
    except SqlError as error:
        return error.errno == sql.TOO_MANY_CONNECTIONS
    return True
