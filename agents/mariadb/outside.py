"""The agent's context outside of Pacemaker: for its resident helper, and for what an operator or a peer sets off.

What Pacemaker hands an action (parameters, the node's name) is saved when the instance starts, so that nobody has to read the
configuration again, or to guess.
"""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR
from hafailover.agents.ocf import ERR_CONFIGURED, Context, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT = ("OCF_RESKEY_", "OCF_RESOURCE_", "OCF_ROOT", "PATH")
# What belongs to the one action that Pacemaker ran, not to the instance; the node's name is kept.
_DROPPED = "OCF_RESKEY_CRM_meta_"
_ON_NODE = "OCF_RESKEY_CRM_meta_on_node"


def _path(resource: str) -> str:
    return f"{RUN_DIR}/{resource}.env"


def save(ctx: Context) -> None:
    """Keep what :func:`context` needs; no parameter of this agent is a secret."""
    kept = {_ON_NODE: ctx.node}
    for name, value in ctx.environ.items():
        if name.startswith(_KEPT) and not name.startswith(_DROPPED):
            kept[name] = value
    text = "".join(f"{name}={value}\0" for name, value in sorted(kept.items()))
    try:
        with open(_path(ctx.instance), encoding="utf-8", newline="") as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
    new = os.open(_path(ctx.instance) + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(new, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    os.rename(_path(ctx.instance) + ".new", _path(ctx.instance))


def saved(ctx: Context) -> bool:
    """Whether this boot's environment of the instance is kept."""
    return os.path.exists(_path(ctx.instance))


def environment(resource: str) -> Mapping[str, str]:
    """The environment that was saved; OcfError when the instance was never started on this node since it booted."""
    try:
        with open(_path(resource), encoding="utf-8", newline="") as file:
            return dict(entry.split("=", 1) for entry in file.read().split("\0") if entry)
    except FileNotFoundError:
        raise OcfError(ERR_CONFIGURED, f"{resource} has not been started on this node since it booted") from None


def node(resource: str) -> str:
    """This node's name, as Pacemaker gave it to the instance; OcfError."""
    return environment(resource).get(_ON_NODE, "")


def context(resource: str, action: str, timeout: float) -> Context:
    """A context of ``resource`` as Pacemaker would make it, ``timeout`` seconds before its deadline; OcfError."""
    from hafailover.agents.mariadb.declaration import agent

    return agent.context(action, environment(resource), timeout)
