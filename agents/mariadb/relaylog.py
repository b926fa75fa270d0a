"""What a replica has received and not applied, by its relay log: pure, from transactions to where the rest begins."""

from __future__ import annotations

from hafailover.agents.mariadb import gtid
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from hafailover.agents.mariadb.binlog import Transaction


class Rest(NamedTuple):
    """The unapplied end of a relay log: where it begins, how many transactions, the last of each domain and server.

    mixed: transactions that were applied lie between them, so that the rest cannot be applied from one position on.
    """

    file: str
    position: int
    number: int
    state: str
    mixed: bool


NOTHING = Rest("", 0, 0, "", False)


def unapplied(transactions: Iterable[Transaction], applied: str) -> Rest:
    """What of ``transactions`` (a relay log, in its order) a replica at the position ``applied`` has yet to apply.

    A transaction of which a part is missing was never acknowledged: the replica acknowledges the last event, on disk.
    """
    at = {one.domain: one.sequence for one in gtid.parse(applied)}
    rest = NOTHING
    last: dict[tuple[int, int], gtid.Gtid] = {}
    for transaction in transactions:
        if not transaction.complete:
            continue
        here = transaction.gtid
        if here.sequence <= at.get(here.domain, 0):
            rest = rest._replace(mixed=rest.mixed or rest.number > 0)
            continue
        if not rest.number:
            rest = Rest(transaction.file, transaction.position, 0, "", False)
        rest = rest._replace(number=rest.number + 1)
        last[here.domain, here.server] = here
    return rest._replace(state=gtid.text(tuple(last.values())))
