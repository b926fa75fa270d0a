"""What the servers are asked before a switchover."""

from __future__ import annotations

from typing import Any

import pytest
from hafailover.agents.mariadb import roles
from hafailover.agents.mariadb.decide import Replica, errant
from hafailover.crm import switchover_facts


class Server:
    """A replica with a transaction that is in its binary log and not yet in ``gtid_slave_pos``: for ``looks`` looks of a busy machine."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def writable(self) -> bool:
        return False

    def binlog_position(self) -> str:
        return "0-1-2970"

    def acknowledges(self) -> bool:
        return True

    def state(self) -> str:
        return "0-1-2970"

    def replica(self) -> Replica:
        self.looks -= 1
        applied = "0-1-2969" if self.looks >= 0 else "0-1-2970"
        return Replica("10.0.0.1", "Yes", True, "0-1-2970", applied, 0, 0, "")


def test_a_transaction_on_its_way_is_not_the_replicas_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """promote --stack brought content and services back because of one."""
    monkeypatch.setattr(roles, "_STILL", 0.001)
    server: Any = Server(looks=3)
    answer = switchover_facts._answers_of("db2", server)
    assert answer.replica is not None and errant(answer.state, answer.replica.applied) is None
    server = Server(looks=1 << 30)
    answer = switchover_facts._answers_of("db2", server)
    assert answer.replica is not None and errant(answer.state, answer.replica.applied), "what stays is its own"
