"""What "in sync" is said of: one life of a server and of its SQL thread.

A server that restarted may have lost relay log that it had acknowledged. So may one that did not: once both replication threads are
stopped, any START SLAVE throws away what was received and not yet applied. Neither can happen within one life of the SQL thread.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.server import Process
    from hafailover.agents.mariadb.sql import Connection


def of(process: Process, server: Connection) -> str:
    """Return ``boot.pid.start.thread`` of a replica whose SQL thread runs, ``boot.pid.start`` of any other server."""
    thread = server.sql_thread()
    return f"{process.incarnation}.{thread}" if thread else process.incarnation


def may_acknowledge(life: str) -> bool:
    """Tell whether a server of this life has its SQL thread running; only then does the agent let it receive."""
    return life.count(".") == 3
