"""Where a clone stands in the history: known from what its donor said before and after, and set on the new server.

A clone comes without a binary log. Its new one must begin with the donor's *state*, the last transaction of every server in every domain:
with the position alone a later comparison per domain and server id would miss all servers but the last, and call this node's own history,
or a returning primary's, divergent.
"""

from __future__ import annotations

from hafailover.agents.mariadb import gtid
from hafailover.agents.mariadb.gtid import Gtid
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.mariadb.sql import Connection


class PositionError(Exception):
    """The clone's state cannot be known for sure; the message says why. Another clone is needed."""


def state_at(before: str, position: str, after: str) -> str:
    """The binary log's state at ``position``, from the donor's states ``before`` and ``after`` the backup.

    In strict mode sequence numbers rise within a domain: what is numbered up to the position is in the copy, and what is above it came
    later. PositionError when the three do not fit together.
    """
    ends = _by_server(after)
    reached = {one.domain: one for one in gtid.parse(position)}
    state = _by_server(before)
    for place, one in state.items():
        if place not in ends or ends[place].sequence < one.sequence:
            raise PositionError(f"the donor does not hold {one} any more")
        if one.domain not in reached:
            raise PositionError(f"the backup's position {position or '(empty)'} says nothing of {one}")
        if one.sequence > reached[one.domain].sequence:
            raise PositionError(f"the clone stands at {reached[one.domain]}, the donor stood at {one} already")
    for place, one in ends.items():
        if one.domain in reached and one.sequence <= reached[one.domain].sequence:
            state[place] = one
    for one in reached.values():
        state[one.domain, one.server] = one
    return write_state(tuple(state.values()))


def write_state(gtids: tuple[Gtid, ...]) -> str:
    """Write a state for the server to take: in each domain the last transaction at the end.

    The server takes the last entry of a domain for its position, whatever its number.
    """
    return ",".join(str(one) for one in sorted(gtids, key=lambda one: (one.domain, one.sequence)))


def _by_server(state: str) -> dict[tuple[int, int], Gtid]:
    return {(one.domain, one.server): one for one in gtid.parse(state)}


class Info(NamedTuple):
    """What a backup says of itself: the binary log's file and offset, and a GTID position, which may lack a domain."""

    file: str
    offset: int
    gtid: str


def read_info(text: str) -> Info:
    """Read ``xtrabackup_binlog_info``: file, offset, position, separated by tabs. PositionError when it is none."""
    fields = text.strip("\n").split("\t")
    if len(fields) < 3 or not fields[1].isdigit():
        raise PositionError("the backup does not say at which GTID it was taken: is the donor's binary log on?")
    try:
        return Info(fields[0], int(fields[1]), write_state(gtid.parse(fields[2])))
    except ValueError as error:
        raise PositionError(f"the backup's position cannot be read: {error}") from None


def place(server: Connection, state: str, position: str) -> None:
    """Give a freshly cloned server its place in the history. May be repeated until it has replicated."""
    server.run("SET GLOBAL read_only=ON")
    server.run("STOP SLAVE")
    server.run("RESET SLAVE ALL")
    server.run("RESET MASTER")
    server.run("SET GLOBAL gtid_slave_pos=''")
    # This writes a first binary log that begins with the state, so it survives a crash.
    server.run("SET GLOBAL gtid_binlog_state=%s", state)
    server.run("SET GLOBAL gtid_slave_pos=%s", position)
    row = server.row(
        "SELECT @@global.gtid_binlog_state AS state, @@global.gtid_binlog_pos AS written, @@global.gtid_slave_pos AS applied"
    )
    if _set(str(row["state"])) != _set(state) or not (
        _set(str(row["written"])) == _set(str(row["applied"])) == _set(position)
    ):
        said = ", ".join(f"{key} {value}" for key, value in row.items())
        raise PositionError(f"the server says {said} after it was given {state} and {position}")


def _set(text: str) -> frozenset[Gtid]:
    return frozenset(gtid.parse(text))
