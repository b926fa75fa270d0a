"""What a replica has received and not applied, and what is kept of it."""

from __future__ import annotations

import pytest
from hafailover.agents.mariadb import rejoin_record, relaylog, salvage
from hafailover.agents.mariadb.binlog import Transaction
from hafailover.agents.mariadb.gtid import Gtid
from hafailover.agents.mariadb.rejoin_record import Rejoin
from hafailover.agents.mariadb.relaylog import NOTHING, Rest
from hafailover.agents.mariadb.salvage import Salvage


def log(*gtids: str) -> list[Transaction]:
    """Transactions at 100, 200 …; one whose GTID ends in an exclamation mark is torn."""
    found = []
    for number, text in enumerate(gtids, 1):
        gtid = Gtid(*map(int, text.rstrip("!").split("-")))
        found.append(Transaction(gtid, "relay.1", number * 100, complete=not text.endswith("!")))
    return found


@pytest.mark.parametrize(
    ("transactions", "applied", "rest"),
    [
        (log(), "", NOTHING),
        (log("0-1-1", "0-1-2"), "0-1-2", NOTHING),
        (log("0-1-1", "0-1-2", "0-1-3"), "0-1-1", Rest("relay.1", 200, 2, "0-1-3", False)),
        # Nothing was ever applied; two servers wrote.
        (log("0-1-1", "0-2-2"), "", Rest("relay.1", 100, 2, "0-1-1,0-2-2", False)),
        # The last one is torn, so it was never acknowledged.
        (log("0-1-1", "0-1-2", "0-1-3!"), "0-1-1", Rest("relay.1", 200, 1, "0-1-2", False)),
        (log("0-1-1", "0-1-2!"), "0-1-1", NOTHING),
        # It was torn off by a lost connection, and sent again.
        (log("0-1-1", "0-1-2!", "0-1-2"), "0-1-1", Rest("relay.1", 300, 1, "0-1-2", False)),
        # Another domain went ahead, so no position has everything applied before it.
        (log("0-1-1", "1-1-1", "0-1-2"), "1-1-1", Rest("relay.1", 100, 2, "0-1-2", True)),
    ],
)
def test_where_the_rest_begins(transactions: list[Transaction], applied: str, rest: Rest) -> None:
    assert relaylog.unapplied(transactions, applied) == rest


@pytest.mark.parametrize("target", ["0-1-9", ""])
def test_a_salvage_is_read_as_it_was_written(target: str) -> None:
    saved = Salvage("b.1.1", salvage.DONE, 3, target, 4, "received before the restart")
    assert salvage.parse(salvage.write(saved)) == saved


@pytest.mark.parametrize(
    "text", ["", "b.1.1 done", "b.1.1 done many 0-1-1 0 words", "b.1.1 done 3 0-1-1 words and words"]
)
def test_what_is_no_salvage_is_none(text: str) -> None:
    assert salvage.parse(text) is None


def test_a_rung_is_read_as_it_was_written() -> None:
    assert rejoin_record.parse("truncated 7 it had a tail") == Rejoin("truncated", 7, "it had a tail")
    assert rejoin_record.parse("") is None
    assert rejoin_record.parse("gtid seven words") is None
