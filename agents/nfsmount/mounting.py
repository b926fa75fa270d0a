"""Calling mount, again and again while the server is on its way, and no longer than the action may take."""

from __future__ import annotations

import time

from hafailover.agents import mounts
from hafailover.agents.nfsmount import options
from hafailover.agents.nfsmount.wanted import is_remote
from hafailover.agents.ocf import ERR_CONFIGURED, ERR_GENERIC, ERR_INSTALLED, Context, OcfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.nfsmount.wanted import Wanted

_AGAIN = 1.0  # seconds between two attempts
_REFUSED = 20.0  # seconds in which a server that answers, and refuses, may still get its exports
_SAY_SO = 8.0  # seconds of the action that are kept for looking at the mount and for saying what is wrong
# What mount programs say when no second attempt will do better.
_FINAL = (
    ("unknown filesystem type", ERR_INSTALLED),
    ("bad option", ERR_CONFIGURED),
    ("an incorrect mount option", ERR_CONFIGURED),
    ("invalid option", ERR_CONFIGURED),
    ("unrecognized mount option", ERR_CONFIGURED),
    ("not a valid", ERR_CONFIGURED),
)
_REFUSALS = ("access denied", "permission denied", "no such file or directory", "not permitted", "no such volume")


def final(said: str) -> int | None:
    """The exit code when what mount said is about this node or the parameters, not about the server."""
    low = said.lower()
    return next((code for words, code in _FINAL if words in low), None)


def refused(said: str) -> bool:
    """Whether the server answered and does not let us mount."""
    low = said.lower()
    return any(words in low for words in _REFUSALS)


def remote(ctx: Context, want: Wanted) -> None:
    """Mount the server's directory. OcfError with what mount said last."""
    argv = [
        "mount",
        "-t",
        want.fstype,
        *options.arguments(want.fstype, want.options),
        "--",
        want.source,
        want.directory,
    ]
    begun = time.monotonic()
    said, told = "", ""
    while True:
        left = ctx.deadline.bound(float("inf")) - _SAY_SO
        if left <= 0:
            raise OcfError(ERR_GENERIC, f"cannot mount {want.source}: {said or 'its server does not answer'}")
        result = ctx.run(argv, timeout=left)
        if any(is_remote(want, mount) for mount in mounts.stack(mounts.read(), want.directory)):
            return  # the table says so, whatever the program says: one that was killed may have been done
        if result.timed_out:
            raise OcfError(
                ERR_GENERIC,
                f"cannot mount {want.source}: no answer within {time.monotonic() - begun:.0f} s"
                f"{f' (before: {said})' if said else ''}; does its server run, is its address up?",
            )
        said = " ".join((result.err or result.out).split()) or f"mount ended with exit code {result.rc}"
        code = final(said)
        if code is not None:
            raise OcfError(code, f"cannot mount {want.source}: {said}")
        if refused(said) and time.monotonic() - begun > _REFUSED:
            raise OcfError(ERR_GENERIC, f"the server refuses {want.source}: {said}")
        if said != told:
            ctx.log("info", f"not mounted yet, trying again: {said}")
            told = said
        time.sleep(_AGAIN)


def bind(ctx: Context, want: Wanted) -> None:
    """Bind the directory that this node serves. OcfError."""
    result = ctx.run(["mount", "--bind", "--", want.serves, want.directory], timeout=ctx.deadline.bound(20))
    if result.rc != 0:
        raise OcfError(ERR_GENERIC, f"cannot bind {want.serves} to {want.directory}: {' '.join(result.err.split())}")
    # A bind mount takes the options of its origin; only these can be added to it.
    added = [
        option for option in want.options if option in ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime")
    ]
    if added:
        argv = ["mount", "-o", f"remount,bind,{','.join(added)}", "--", want.directory]
        result = ctx.run(argv, timeout=ctx.deadline.bound(20))
        if result.rc != 0:
            raise OcfError(
                ERR_GENERIC, f"cannot set {','.join(added)} on {want.directory}: {' '.join(result.err.split())}"
            )
