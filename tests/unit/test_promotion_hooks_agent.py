"""What the agent and its peer service do about promotion hooks: when they are run, where, and what is run twice."""

from __future__ import annotations

import hook_place
import pytest
from hafailover.agents import process
from hafailover.agents.mariadb import hooks
from hafailover.agents.mariadb.cloning import link, peer
from hook_place import AFTER, BEFORE, At, Ctx, configure


@pytest.fixture
def place(tmp_path, monkeypatch):
    return hook_place.made(tmp_path, monkeypatch)


def test_a_failing_hook_does_not_stop_a_failover_and_is_told(place):
    configure(place, {"command": ["/bin/false"]})
    ctx = Ctx(process.Result(1, "", "critical pre-promote hook h0: ended with 1\n"))
    hooks.before_promotion(ctx, BEFORE, AFTER)
    assert ctx.calls[0][0][:3] == [hooks.RUNNER, "db", "pre-promote"]
    assert ctx.calls[0][1] <= hooks.BEFORE + 2
    assert ctx.events == [
        (
            "hook.failed",
            "promoted in spite of a failed hook, for somebody has to serve: critical pre-promote hook h0: ended with 1",
        )
    ]


def test_what_a_command_has_run_is_not_run_again(place):
    configure(place, {"command": ["/bin/true"]})
    hooks.plan("db", 7, "db1")
    ctx = Ctx()
    hooks.before_promotion(ctx, BEFORE, AFTER)
    assert ctx.calls == []
    later = Ctx()
    hooks.before_promotion(later, AFTER, AFTER._replace(epoch=9))
    assert len(later.calls) == 1


def test_hooks_of_a_switchover_that_does_not_come_about_do_not_count_for_a_failover(place):
    configure(place, {"command": ["/bin/true"]})
    hooks.plan("db", 7, "db3")  # a switchover to another node was asked for; the failover brings the role here
    ctx = Ctx()
    hooks.before_promotion(ctx, BEFORE, AFTER)
    assert len(ctx.calls) == 1
    hooks.plan("db", 7, "db1")
    hooks.unplan("db")
    hooks.unplan("db")
    hooks.before_promotion(ctx, BEFORE, AFTER)
    assert len(ctx.calls) == 2
    configure(place, {"command": ["/bin/true"]}, event="post-promote")
    hooks.plan("db", 7, "db3")
    hooks.after_promotion(ctx, BEFORE, AFTER)
    assert "planned" not in ctx.calls[2][0]


def test_a_node_that_is_shut_down_can_still_start_its_hooks(place):
    configure(place, {"command": ["/bin/true"]}, event="post-demote")
    ctx = Ctx(promote=["db2"])
    hooks.after_demotion(ctx, At(7))
    # Anything else conflicts with shutdown.target, and systemd refuses to start it then.
    assert "--property=DefaultDependencies=no" in ctx.calls[0][0]


def test_nothing_waits_for_the_hooks_afterwards(place):
    configure(place, {"command": ["/bin/true"], "on": "all"}, event="post-promote")
    ctx = Ctx()
    hooks.after_promotion(ctx, BEFORE, AFTER)
    ((argv, timeout),) = ctx.calls
    assert argv[0] == "systemd-run"
    assert "--no-block" in argv
    assert timeout <= 5
    other = Ctx(promote=["db2"], demote=["db3"])
    hooks.notified(other, At(8), "post-promote")
    assert "here" not in other.calls[0][0]
    assert "epoch=8" in other.calls[0][0]
    same = Ctx(promote=["db1"])
    hooks.notified(same, At(8), "post-promote")
    assert same.calls == []


def test_all_nodes_know_whether_it_was_planned_and_run_nothing_twice(place):
    configure(place, {"command": ["/bin/true"], "on": "all"})
    ctx = Ctx(promote=["db2"], demote=["db3"])
    hooks.notified(ctx, At(7), "pre-promote")
    assert "epoch=8" in ctx.calls[0][0]
    assert "planned" not in ctx.calls[0][0]
    hooks.plan("db", 7, "db2")
    hooks.notified(ctx, At(7), "pre-promote")
    assert len(ctx.calls) == 1
    configure(place, {"command": ["/bin/true"], "on": "all"}, event="post-promote")
    hooks.notified(ctx, At(8), "post-promote")
    assert "planned" in ctx.calls[1][0]
    configure(place, {"command": ["/bin/true"]}, event="post-demote")
    hooks.after_demotion(ctx, At(7))
    assert {"planned", "old=db1", "new=db2", "here"} <= set(ctx.calls[2][0])
    # The next one is a failover.
    hooks.after_demotion(ctx, At(8))
    assert "planned" not in ctx.calls[3][0]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"version": 2, "services": {"db": {"hooks": {}}}}', '{"version": 1, "services": {"hooks": 1}}'],
)
def test_a_broken_file_is_no_hook(place, content):
    (place / "hooks.json").write_text(content)
    assert hooks.configured("db") is None
    ctx = Ctx()
    hooks.before_promotion(ctx, BEFORE, AFTER)
    hooks.after_promotion(ctx, BEFORE, AFTER)
    assert ctx.calls == []


# -- asked by another node ---------------------------------------------------------------------------------------------------


class Peer:
    """The other side of a connection."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def say(self, message: object) -> None:
        self.said.append(message)

    def refuse(self, reason: str) -> None:
        self.said.append(reason)

    def send(self, kind: bytes) -> None:
        assert kind == link.ALIVE


def asked(place, result: process.Result, **request: object) -> tuple[Ctx, object]:
    ctx, other = Ctx(result), Peer()
    ctx.params = {"nodes": "db1:192.0.2.11 db2:192.0.2.12"}
    ctx.run = lambda argv, timeout=None: ctx.calls.append((list(argv), timeout)) or result
    peer._hooks(
        other,
        ctx,
        {"event": "pre-promote", "old": "db2", "new": "db1", "epoch": 7, "here": True, "planned": True, **request},
    )
    (said,) = other.said
    return ctx, said


def test_another_node_asks_for_configured_hooks_alone(place):
    configure(place, {"command": ["/bin/true"]})
    ctx, said = asked(place, process.Result(0, "", ""))
    assert said == {"failed": [], "run": ["h0"]}
    words = ctx.calls[0][0]
    assert words[:3] == [hooks.RUNNER, "db", "pre-promote"]
    assert {"epoch=8", "here", "planned", "old=db2", "new=db1"} <= set(words)
    assert hooks.planned("db", 7)
    _, said = asked(place, process.Result(1, "", "noise\ncritical pre-promote hook h0: ended with 1\n"))
    assert said == {"failed": ["critical pre-promote hook h0: ended with 1"], "run": ["h0"]}
    assert not hooks.planned("db", 7)  # the switchover is refused: at a failover they are run
    hooks.plan("db", 7, "db1")
    ctx, said = asked(place, process.Result(0, "", ""), planned=False, forget=True)
    assert (said, ctx.calls) == ({"failed": [], "run": []}, [])
    assert not hooks.planned("db", 7)
    for request in ({"event": "rm -rf"}, {"old": "db1 here=x"}, {"new": "evil"}):
        ctx, said = asked(place, process.Result(0, "", ""), **request)
        assert isinstance(said, str)
        assert ctx.calls == []
    ctx, said = asked(place, process.Result(0, "", ""), event="post-demote")
    assert (said, ctx.calls) == ({"failed": [], "run": []}, [])
