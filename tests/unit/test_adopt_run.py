"""How ``hafailover adopt`` waits: a question that Pacemaker leaves without an answer once is asked again, until the deadline."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.crm import adopt_run
from hafailover.crm.adopt_run import Primary
from hafailover.crm.errors import IncompleteError
from hafailover.crm.status_facts import ClusterDown
from status_samples import load

SILENT = ClusterDown("Pacemaker does not answer on this node: crm_mon did not answer within 5 s")


def primary(monkeypatch: pytest.MonkeyPatch, answers: list[Any], said: list[str]) -> Primary:
    """One whose cluster gives these answers, the last one for ever."""

    def gather(_run: object) -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(adopt_run, "gather", gather)
    monkeypatch.setattr(adopt_run, "_PAUSE", 0.0)
    monkeypatch.setattr(adopt_run, "_PROBE", 0.05)
    ctx: Any = SimpleNamespace(instance="db", node="db1")
    unused: Any = None
    return Primary(ctx, unused, unused, said.append)


def test_it_waits_on_when_pacemaker_leaves_one_question_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    one = primary(monkeypatch, [SILENT, load("healthy"), SILENT, load("healthy")], said)
    one._await_roles()
    one.settle(30)
    assert said == ["Pacemaker sees it promoted, and its replicas unpromoted", "healthy: every replica is in sync"]


def test_silence_until_the_deadline_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    one = primary(monkeypatch, [SILENT], [])
    with pytest.raises(
        IncompleteError, match=r"does not answer on this node.* still in maintenance mode. Run this again"
    ):
        one._await_roles()
    with pytest.raises(IncompleteError, match="it is in the cluster, but after 0 s: Pacemaker does not answer"):
        one.settle(0)
