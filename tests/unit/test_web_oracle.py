"""What a browser's requests and the database's rows prove."""

from __future__ import annotations

from hafailover.vagrant.drill.loads.web import oracle as web_oracle
from hafailover.vagrant.drill.loads.web.oracle import Request, judge, problems


def answered(number: int, at: float, user: str = "a") -> Request:
    return Request(user, number, at, 0.1, "cs1", False, False, "")


def failed(number: int, at: float, lost: bool = False) -> Request:
    return Request("a", number, at, 0.1, "", False, lost, "502 Bad Gateway")


def test_all_is_well() -> None:
    verdict = judge([[answered(0, 0), answered(1, 1), answered(2, 3.5)]], {("a", 1), ("a", 2)})
    assert (verdict.requests, verdict.failed, verdict.lost, verdict.missing, verdict.gap) == (3, 0, 0, 0, 2.5)
    assert problems(verdict, planned=True) == []


def test_a_failed_request_is_wrong_only_in_a_planned_stop() -> None:
    verdict = judge([[answered(0, 0), failed(1, 1), answered(1, 4)]], {("a", 1)})
    assert (verdict.failed, verdict.gap) == (1, 4)
    assert problems(verdict, planned=False) == []
    assert problems(verdict, planned=True) == ["1 requests failed in a planned stop: 502 Bad Gateway"]


def test_an_acknowledged_write_that_is_not_there_is_lost() -> None:
    verdict = judge([[answered(1, 1)], [answered(1, 1, "b")]], {("a", 1)})
    assert verdict.missing == 1
    assert problems(verdict, planned=False) == ["1 acknowledged writes are not in the database"]


def test_a_lost_session_is_wrong() -> None:
    verdict = judge([[answered(1, 1), failed(2, 2, lost=True)]], {("a", 1)})
    assert (verdict.failed, verdict.lost) == (0, 1)
    assert problems(verdict, planned=False) == ["1 sessions were lost"]


def test_nothing_answered_is_no_success() -> None:
    assert problems(judge([[failed(1, 1)]], set()), planned=False) == ["no request was answered"]
    assert problems(judge([], set()), planned=False) == ["no request was answered"]


def test_a_line_of_the_client() -> None:
    entry: dict[str, object] = {"user": "a", "number": 3, "at": 1.5, "took": 0.2, "by": "cs2", "again": True}
    assert web_oracle.parse(entry) == Request("a", 3, 1.5, 0.2, "cs2", True, False, "")
