"""Users, virtual hosts, permissions and policies of the topology: imported into the broker, beside whatever people made there."""

from __future__ import annotations

from hafailover.agents.memo import Memo
from hafailover.agents.ocf import ERR_GENERIC, Context, OcfError
from hafailover.agents.rabbitmq import control, decide


def wanted(ctx: Context) -> str:
    """The definitions as JSON text; OcfError when they cannot be read."""
    path = ctx.params["definitions"]
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        raise OcfError(
            ERR_GENERIC, f"{path} cannot be read: {error.strerror}; hafailover render --install writes it"
        ) from None


def stamp(ctx: Context) -> str:
    """What tells one version of the file from another without reading it."""
    import os

    path = ctx.params["definitions"]
    try:
        status = os.stat(path)
    except OSError as error:
        raise OcfError(
            ERR_GENERIC, f"{path} cannot be read: {error.strerror}; hafailover render --install writes it"
        ) from None
    return f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"


def applied(ctx: Context) -> bool:
    """Whether this node has brought the file as it is now into the broker, since the node booted."""
    return Memo(ctx.instance).read("applied") == stamp(ctx)


def apply(ctx: Context) -> None:
    """Import the definitions: what they name is made or corrected, everything else stays. By standard input, so on no command line."""
    now = stamp(ctx)
    control.ask(ctx, ctx.node, ["import_definitions"], input=wanted(ctx))
    Memo(ctx.instance).write("applied", now)
    ctx.event("rabbitmq.settings", "users, virtual hosts, permissions and policies of the topology are in the broker")


def tend(ctx: Context) -> str | None:
    """Bring back what the topology names and somebody has removed; what was done, or what is otherwise than it says, or None. OcfError.

    A policy that is gone takes the queues' copies with it, without a word from the broker. What differs is only told: during a change of
    the topology that has not reached this node yet, it is this node's file that is old, and two nodes would undo each other's work.
    """
    import json

    try:
        lacking, differing = decide.strayed(json.loads(wanted(ctx)), json.loads(exported(ctx)))
    except ValueError:
        raise OcfError(
            ERR_GENERIC, "what the broker has cannot be compared with the topology: it is not JSON"
        ) from None
    if lacking:
        control.ask(ctx, ctx.node, ["import_definitions"], input=json.dumps(lacking))
        names = ", ".join(decide.entry(key, item) for key, items in lacking.items() for item in items)
        text = f"somebody had removed what the topology names; it is there again: {names}"
        ctx.event("rabbitmq.restored", text, level="warning")
        return text
    if differing:
        return f"not as in the topology: {', '.join(differing)}. To put it right: touch {ctx.params['definitions']}"
    return None


def remove_guest(ctx: Context) -> None:
    """Remove the account with the password that everybody knows from a broker cluster that has just been founded."""
    answer = control.run(ctx, ctx.node, ["delete_user", "guest"])
    if answer.rc != 0 and "does not exist" not in answer.out + answer.err:
        raise OcfError(ERR_GENERIC, f"the account guest cannot be removed: {control.said(answer)}")


def exported(ctx: Context) -> str:
    """What the broker has, as JSON text."""
    return control.ask(ctx, ctx.node, ["export_definitions", "-"])
