"""What the traps and the further facts share: how many rows are written, how a server is recovered, what it received and did not apply."""

from __future__ import annotations

import contextlib
import os

from servers import Server

# isort: split
from hafailover.agents.mariadb.sql import SqlError

TRUNCATE, RECOVER_ALL = "--init-rpl-role=SLAVE", "--init-rpl-role=MASTER"
NOBODY = ""
ROWS = 20


def relay_files(server: Server) -> list[str]:
    index = (server.datadir / "mariadb-relay-bin.index").read_text()
    return [os.path.basename(line) for line in index.split()]


def received(server: Server) -> list[tuple[int, str, int]]:
    """The transactions in the relay log: sequence number, file, position. A torn last event ends it."""
    found = []
    for name in relay_files(server):
        position = 4
        with contextlib.suppress(SqlError):
            while True:
                page = server.rows(f"SHOW RELAYLOG EVENTS IN '{name}' FROM {position} LIMIT 2")
                for event in page[:1] if len(page) > 1 else page:
                    if event["Event_type"] == "Gtid":
                        gtid = event["Info"].split("GTID ")[1].split()[0]
                        found.append((int(gtid.split("-")[2]), name, event["Pos"]))
                if len(page) < 2:
                    break
                position = page[1]["Pos"]
    return found


def recoverable(server: Server) -> int:
    """How many of the rows are in the table, or received and not applied."""
    applied = int(server.value("@@global.gtid_slave_pos").split("-")[2])
    return len(server.ids()) + len({number for number, _, _ in received(server) if number > applied})
