"""Before the writers begin, every server has what was made for them: also the account by which a drill asks."""

from __future__ import annotations

from typing import Any

import pytest
from hafailover.crm.drill import database, judge
from hafailover.crm.drill.database import Health
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError

TARGET = Target("db", "db-clone", "vip", "10.0.0.9", 24, 3306, "", {"db1": "10.0.0.1", "db2": "10.0.0.2"})
PRIMARY = Health(1, False, False, None, "", "0-1-7")
REPLICA = Health(2, True, True, 0, "", "0-1-7")
DENIED = HafailoverError("db2: mariadb: ERROR 1698 (28000): Access denied for user 'hafailover_drill'@'db1'")


class Place:
    """Sees all that the servers hold."""

    def tables(self) -> bool:
        return True


def waits(monkeypatch: pytest.MonkeyPatch, answers: list[Health | HafailoverError]) -> int:
    """How often the replica was asked; its last answer stays."""
    asked = 0

    def health(place: Any, node: str, timeout: float = 0) -> Health:
        nonlocal asked
        if node == "db1":
            return PRIMARY
        asked += 1
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, HafailoverError):
            raise answer
        return answer

    monkeypatch.setattr(database, "health", health)
    judge.Judge(Place(), TARGET, None).await_same_position()  # type: ignore[arg-type]
    return asked


def test_a_replica_that_does_not_know_the_account_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(monkeypatch, [DENIED, DENIED, REPLICA._replace(position="0-1-6"), REPLICA]) == 4


def test_one_that_never_lets_anybody_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_BROKEN", 0.3)
    with pytest.raises(HafailoverError, match="Access denied"):
        waits(monkeypatch, [DENIED])


def test_one_that_does_not_replicate_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "_BROKEN", 0.3)
    with pytest.raises(HafailoverError, match="db2 does not replicate"):
        waits(monkeypatch, [REPLICA._replace(replicating=False, position="0-1-6")])
