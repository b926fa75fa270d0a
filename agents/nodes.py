"""A parameter ``nodes``: which nodes have an instance, and the address of each."""

from __future__ import annotations

from hafailover.agents.context import ERR_INSTALLED, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.context import Context


def addresses(nodes: str) -> dict[str, str]:
    """Parse ``"db1:10.0.0.1 db2:[fd00::2]"`` into node → address, in order; ValueError names the bad entry."""
    found = {}
    for entry in nodes.split():
        name, _, address = entry.partition(":")
        address = address.strip("[]")
        if not name or not address:
            raise ValueError(f"{entry!r} is not name:address")
        if name in found:
            raise ValueError(f"{name} is listed twice")
        found[name] = address
    return found


def own_address(ctx: Context) -> str:
    """This node's address in the parameter ``nodes``; OcfError ERR_INSTALLED when it is not listed there."""
    known = addresses(ctx.params["nodes"])
    if ctx.node not in known:
        raise OcfError(ERR_INSTALLED, f"parameter nodes does not name {ctx.node}, but {', '.join(known)}")
    return known[ctx.node]
