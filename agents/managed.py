"""Whether the cluster was told to leave a resource alone: then its monitor must not restart anything by itself, either."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.context import Context

_ASK = 10.0


def unmanaged(ctx: Context) -> str | None:
    """Why nothing may be restarted, or None. Runs a program, so it is asked only before a restart."""
    argv = ["crm_resource", "--resource", ctx.instance, "--meta", "--get-parameter", "is-managed"]
    answer = ctx.run(argv, timeout=_ASK)
    if answer.rc == 0 and answer.out.strip().lower() in ("false", "no", "off", "0", "n", "f"):
        return "the resource is unmanaged, so nothing is restarted"
    return None
