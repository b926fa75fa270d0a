"""Who may write in spite of read_only: told to a person who looks at the status, because a switchover may have to kill a server for it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hafailover.agents.mariadb import outside, sessions, sql
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.ocf import OcfError
from hafailover.crm.status import Problem

_SOCKET = "/run/mysqld/mysqld.sock"
_TIMEOUT = 1.0  # seconds for each answer of this node's server
_SHOWN = 5


def hints(services: Sequence[str]) -> tuple[Problem, ...]:
    """One note for each database of ``services`` that runs on this node and has such accounts besides root.

    None for who may not ask its server.
    """
    if os.geteuid() != 0:
        return ()
    found = ((name, _accounts(name)) for name in services)
    return tuple(_note(name, accounts) for name, accounts in found if accounts)


def _accounts(service: str) -> tuple[str, ...]:
    try:
        socket = outside.environment(service).get("OCF_RESKEY_socket", _SOCKET)
        with sql.local(socket, _TIMEOUT, _TIMEOUT) as server:
            return sessions.may_write_always(server)
    except (SqlError, OcfError):
        return ()  # it does not run here, or does not answer now, which others report


def _note(service: str, accounts: tuple[str, ...]) -> Problem:
    more = f" and {len(accounts) - _SHOWN} more" if len(accounts) > _SHOWN else ""
    return Problem(
        "NOTE",
        f"accounts that may write to {service} in spite of read_only: {', '.join(accounts[:_SHOWN])}{more}",
        "",
        "take READ_ONLY ADMIN (before 10.11 also SUPER) from what applications use: while one of them writes, a switchover has to "
        "kill the old primary, and what it writes on a replica makes that diverge",
    )
