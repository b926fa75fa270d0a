"""The file with the health check's account and what the Erlang cookie must be, and the checks of the cookie itself.

What is wrong on one node is never reported as a wrong configuration: Pacemaker would stop the brokers of all nodes for that.
"""

from __future__ import annotations

import os

from hafailover.agents.ocf import ERR_GENERIC, ERR_INSTALLED, ERR_PERM, Context, OcfError

_INSTALL = "hafailover render --install writes it"


def read(ctx: Context) -> dict[str, str]:
    """``user``, ``password``, ``vhost`` and ``cookie`` (the SHA-256 of it); OcfError."""
    path = ctx.params["credentials"]
    try:
        with open(path) as file:
            found = dict(line.rstrip("\n").partition("=")[::2] for line in file if "=" in line)
    except OSError as error:
        raise OcfError(ERR_GENERIC, f"{path} cannot be read: {error.strerror}; {_INSTALL}") from None
    missing = [key for key in ("user", "password", "vhost", "cookie") if not found.get(key)]
    if missing:
        raise OcfError(ERR_GENERIC, f"{path} lacks {', '.join(missing)}; {_INSTALL}")
    return found


def check_cookie(ctx: Context) -> None:
    """OcfError when the Erlang cookie is not the cluster's, or is not the broker's alone to read."""
    import pwd
    from hashlib import sha256

    path = ctx.params["cookie"]
    try:
        owner = pwd.getpwnam(ctx.params["user"])
    except KeyError:
        raise OcfError(
            ERR_INSTALLED, f"there is no user {ctx.params['user']} on this node; install rabbitmq-server"
        ) from None
    try:
        status = os.stat(path)
        with open(path, "rb") as file:
            cookie = file.read()
    except OSError as error:
        raise OcfError(ERR_GENERIC, f"the Erlang cookie {path} cannot be read: {error.strerror}; {_INSTALL}") from None
    if status.st_uid != owner.pw_uid or status.st_mode & 0o077:
        mode = f"{status.st_mode & 0o777:04o}"
        raise OcfError(ERR_PERM, f"{path} must belong to {owner.pw_name} with mode 0400, not {mode}; {_INSTALL}")
    if sha256(cookie.strip()).hexdigest() != read(ctx)["cookie"]:
        raise OcfError(
            ERR_GENERIC, f"{path} is not the cluster's Erlang cookie (the package makes one of its own); {_INSTALL}"
        )
