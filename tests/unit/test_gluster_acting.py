"""What an instance does with a course: the commands it gives, what it never does, and what a monitor makes of a failure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gluster_stage import BRICKS, NODES, PATH, SERVING, Stage
from hafailover.agents import memo
from hafailover.agents.gluster import command, store
from hafailover.agents.glustervolume import bricks, decide, disk, forming, health, place
from hafailover.agents.glustervolume.decide import Facts, Told, Volume
from hafailover.agents.glustervolume.sight import Sight
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, Deadline, OcfError, Result
from hafailover.crm.pacemaker import PacemakerError


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(SERVING)
    monkeypatch.setattr(memo, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(command, "ask", made.ask)
    monkeypatch.setattr(forming, "Sight", made.sight)
    monkeypatch.setattr(forming, "_POLL", 0.0)
    monkeypatch.setattr(disk, "mark_refilling", lambda directory, now: made.commands.append(f"refilling {now}"))
    for name, found in (("prepare", None), ("settle", None), ("make_directory", None), ("shares_root", False)):
        monkeypatch.setattr(disk, name, lambda *_, found=found: found)
    monkeypatch.setattr(bricks, "pid", lambda *_: made.pid)
    return made


def test_a_start_that_waits_succeeds_and_says_so_once(stage: Stage) -> None:
    stage.facts = [Facts(NODES, "3")]
    assert stage.forming().run() == SUCCESS
    for _ in range(2):
        with pytest.raises(OcfError, match="b is not there, c is not there") as error:
            stage.forming().go_on()
        assert error.value.rc == DEGRADED
    assert stage.events == ["waiting"]
    assert stage.told[-1] == Told(decide.READY, "u-a")


def test_a_monitor_starts_nothing_that_was_not_started(stage: Stage) -> None:
    assert health.recurring(stage.ctx) == NOT_RUNNING
    assert stage.commands == []


def test_it_serves(stage: Stage) -> None:
    assert stage.forming().run() == SUCCESS
    assert stage.forming().go_on() == SUCCESS
    assert stage.events == ["up"]
    assert "attrd_updater -n files-v-ready -U 1" in stage.commands


def test_a_volume_is_created_with_a_note_that_it_is_being_made(stage: Stage) -> None:
    ready = {name: Told(decide.READY) for name in "bc"}
    fresh = Facts(NODES, "3", maker="a", pool=NODES, told=ready, here={PATH: place.FRESH})
    stage.facts = [fresh, fresh._replace(replica="arbiter"), SERVING]
    assert stage.forming().run() == SUCCESS
    assert stage.commands[:2] == [
        f"volume create v replica 3 10.0.0.1:{PATH} 10.0.0.2:{PATH} 10.0.0.3:{PATH} force",
        f"volume create v replica 3 arbiter 1 10.0.0.1:{PATH} 10.0.0.2:{PATH} 10.0.0.3:{PATH} force",
    ]
    assert stage.records == {"making-v": "yes"}


@pytest.mark.parametrize(
    ("rejected", "said"),
    [((), "c was probed and is not yet"), (("c",), "the pool rejects c, whose glusterd has volumes")],
)
def test_a_node_that_does_not_come_into_the_pool(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, rejected: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(forming, "_CONNECTED", 0.0)
    stage.connected, stage.rejected = ("a", "b"), rejected
    told = {name: Told(decide.READY) for name in "bc"}
    stage.facts = [Facts(NODES, "3", maker="a", pool=("a", "b"), told=told, here={PATH: place.FRESH})]
    with pytest.raises(OcfError, match=said):
        stage.forming().run()
    assert "peer probe 10.0.0.3" in stage.commands


@pytest.mark.parametrize("known", ["10.0.0.2", "b", "b.example.org"])
def test_a_rejected_peer_is_known_by_any_of_its_names(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    sight = stage.sight(stage.ctx)
    sight.pool.members = lambda: {"a": "u-a", "b": "u-b"}
    monkeypatch.setattr(store, "rejected", lambda: {"u-b": [known]})
    assert Sight.rejected(sight) == ("b",)
    monkeypatch.setattr(store, "rejected", dict)
    assert Sight.rejected(sight) == ()


def test_a_place_on_the_root_file_system_is_warned_of_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "shares_root", lambda _: True)
    said: list[str] = []
    stage.ctx.log = lambda level, text: said.append(text)
    stage.forming().run()
    stage.forming().run()
    assert [text for text in said if "on the root file system" in text] == [
        "/b is on the root file system, which a full volume would fill; give device, or mount one there"
    ]


UNSTARTED = SERVING._replace(record="", volume=Volume("id", False, BRICKS, 3, False))


@pytest.mark.parametrize(
    ("record", "making", "files", "deleted"),
    [("", "yes", False, True), ("id", "yes", False, False), ("", "", False, False), ("", "yes", True, False)],
)
def test_only_what_was_half_made_here_and_holds_nothing_is_deleted(
    stage: Stage, record: str, making: str, files: bool, deleted: bool
) -> None:
    stage.facts = [UNSTARTED._replace(record=record), SERVING]
    stage.records = {"making-v": making}
    stage.files = files
    stage.failing = {"volume start": ["volume start: v: failed: no volume id"] * 9}
    assert stage.forming().run() == SUCCESS  # the next look finds it serving
    assert ("volume delete v" in stage.commands) == deleted


def test_a_command_that_fails_is_tried_again_and_not_for_ever(stage: Stage) -> None:
    stage.facts = [SERVING._replace(dead=frozenset({PATH}))]
    stage.failing = {"volume start v force": ["it failed"] * 9}
    with pytest.raises(OcfError, match="it failed"):
        stage.forming().run()
    assert stage.commands.count("volume start v force") == 3


@pytest.mark.parametrize(("serves", "pid", "rc"), [(True, 1, DEGRADED), (True, 0, ERR_GENERIC), (False, 0, DEGRADED)])
def test_a_monitor_fails_only_when_a_restart_takes_nothing_away(stage: Stage, serves: bool, pid: int, rc: int) -> None:
    if serves:
        memo.Memo("files-v").write("serves", "yes")
    stage.pid = pid
    stage.facts = [SERVING._replace(dead=frozenset({PATH}))]
    stage.failing = {"volume start v force": ["it failed"] * 9}
    with pytest.raises(OcfError, match="it failed") as error:
        stage.forming().go_on()
    assert error.value.rc == rc


def test_a_brick_that_is_begun_anew(stage: Stage) -> None:
    whole = {name: Told(decide.RUNNING, serves=frozenset({PATH})) for name in "bc"}
    stage.facts = [SERVING._replace(here={PATH: place.FRESH}, anew=True, told=whole), SERVING]
    brick = f"10.0.0.1:{PATH}"
    stage.failing = {f"volume reset-brick v {brick} {brick} commit": ["When destination brick is new, please use …"]}
    monkeyed = stage.forming()
    monkeyed._restart_daemon = lambda: stage.commands.append("restart")  # type: ignore[method-assign]
    assert monkeyed.run() == SUCCESS
    assert stage.commands[:6] == [
        "refilling True",
        f"volume reset-brick v {brick} start",
        f"volume reset-brick v {brick} {brick} commit force",
        "restart",
        f"volume reset-brick v {brick} {brick} commit force",
        "refilling False",
    ]
    assert stage.events == ["reset", "up"]


def test_a_brick_that_was_not_begun_anew_on_all_nodes_stays_marked(stage: Stage) -> None:
    """It has the volume's mark by then, and nothing in it: taken for a copy, it would serve as one."""
    whole = {name: Told(decide.RUNNING, serves=frozenset({PATH})) for name in "bc"}
    stage.facts = [SERVING._replace(here={PATH: place.HALF}, anew=True, told=whole)]
    stage.failing = {"volume reset-brick": ["Pre Validation failed on 10.0.0.3. Host 10.0.0.1 not connected"] * 9}
    with pytest.raises(OcfError, match="not connected"):
        stage.forming().run()
    assert "refilling True" in stage.commands
    assert "refilling False" not in stage.commands


def test_nodes_are_added(stage: Stage) -> None:
    six = (*NODES, "d", "e", "f")
    ready = {name: Told(decide.READY) for name in "def"}
    stage.facts = [SERVING._replace(nodes=six, told=ready, pool=six), SERVING]
    addresses = {name: f"10.0.0.{at}" for at, name in enumerate(six, 1)}
    made = stage.forming()
    made._pool.addresses = addresses
    assert made.run() == SUCCESS
    assert stage.commands[:2] == [
        f"volume add-brick v 10.0.0.4:{PATH} 10.0.0.5:{PATH} 10.0.0.6:{PATH} force",
        "volume rebalance v fix-layout start",
    ]


def test_why_a_node_is_blocked_is_told_to_the_others(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise OcfError(ERR_GENERIC, "the brick's disk is missing: /dev/x is no block device on this node")

    monkeypatch.setattr(disk, "prepare", missing)
    with pytest.raises(OcfError, match="disk is missing"):
        stage.forming().run()
    assert stage.told[-1].state == decide.BLOCKED
    assert stage.told[-1].why.startswith("cannot: the brick's disk is missing")


PAIR = Volume("id", True, BRICKS[:2], 2, False)
BEHIND = SERVING._replace(nodes=NODES[:2], replica="2", volume=PAIR, behind=frozenset({"v-client-0"}))


def test_a_brick_that_is_behind_is_ended_and_waits(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(bricks, "end", lambda pids, seconds: ended.extend(pids))
    stage.facts = [BEHIND]
    assert stage.forming().run() == SUCCESS
    assert ended == [1]
    assert stage.commands[-1] == "attrd_updater -D -n files-v-ready", "nothing is to be mounted"
    assert stage.events == ["behind", "waiting"]
    assert stage.told[-1] == Told(decide.READY, "u-a", why=decide.BEHIND)
    stage.pid, stage.ctx.action = 0, "monitor"
    with pytest.raises(OcfError, match="lacks what was written on b without it") as error:
        stage.forming().go_on()
    assert error.value.rc == DEGRADED
    assert len([said for said in stage.commands if "-D -n files-v-ready" in said]) == 1, (
        "a mount that runs rides it out"
    )


def test_what_a_person_has_allowed_holds_once(stage: Stage) -> None:
    stage.facts = [BEHIND._replace(allowed=decide.ALONE)]
    assert stage.forming().run() == SUCCESS
    assert stage.events == ["alone", "note ['v-client-0']", "up"]
    assert "attrd_updater -D -n files-v-allow" in stage.commands
    assert stage.logged == []


def test_what_a_person_has_allowed_and_cannot_be_taken_back_is_said(stage: Stage) -> None:
    stage.facts = [BEHIND._replace(allowed=decide.ALONE)]
    stage.silent = "files-v-allow"
    assert stage.forming().run() == SUCCESS
    assert stage.logged == [
        "the attribute files-v-allow cannot be taken back: attrd_updater failed with 1: nobody answers"
    ]


def test_a_volume_that_cannot_be_announced_does_not_count_as_started(stage: Stage) -> None:
    stage.silent = "files-v-ready"
    with pytest.raises(PacemakerError, match="attrd_updater failed with 1: nobody answers"):
        stage.forming().ready()


def test_a_brick_that_is_behind_serves_beside_the_other_copy(stage: Stage) -> None:
    stage.facts = [BEHIND._replace(told={"b": Told(decide.RUNNING, serves=frozenset({PATH}))})]
    assert stage.forming().run() == SUCCESS
    assert stage.events == ["note []", "up"]


def test_a_copy_that_goes_on_alone_keeps_its_mark_in_its_new_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[str | None] = []
    monkeypatch.setattr(forming.disk, "mark_ahead", lambda root, turn: marks.append(turn))
    stage.facts = [BEHIND._replace(behind=frozenset(), ahead=True)]
    assert stage.forming().run() == SUCCESS
    assert marks == ["a.2"]
    assert stage.forming().run() == SUCCESS  # it serves already, and begins nothing
    stage.facts = [SERVING]
    assert (stage.records["turn"], marks) == ("a.2", ["a.2"])


def test_a_mark_says_nothing_once_the_other_copy_has_begun_to_serve(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: list[str | None] = []
    monkeypatch.setattr(health.disk, "mark_ahead", lambda root, turn: marks.append(turn))
    here, sight = memo.Memo(stage.ctx.instance), stage.sight(stage.ctx)
    both = {"b": Told(decide.RUNNING, serves=frozenset({PATH}))}
    for turn, told, pending, marked in (
        ("a.1", both, 0, [None]),  # the first look after a start
        ("a.1", both, 0, []),
        ("a.1", {}, 4, ["a.1"]),
        ("a.1", {}, 4, []),
        ("b.2", both, 4, ["b.2"]),  # the other is back and lacks something still
        ("b.2", both, 4, []),
        ("b.2", both, 0, [None]),
        ("b.2", both, 3, []),
    ):
        marks.clear()
        stage.records["turn"] = turn
        sight.told = lambda told=told: told
        health._mark(here, sight, PAIR, health.Health(pending=pending))
        assert marks == marked, (turn, told, pending)


# -- stop --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "making", "ended"), [("id", "", True), ("", "yes", True), ("", "", False), ("other", "yes", False)]
)
def test_a_stop_ends_no_bricks_of_a_volume_that_was_made_by_hand(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, record: str, making: str, ended: bool
) -> None:
    """A start that was refused is followed by a stop."""
    sight = stage.sight(stage.ctx)
    sight.made = lambda volume: Sight.made(sight, volume)
    stage.records = {"volume-v": record, "making-v": making}
    monkeypatch.setattr(health, "Sight", lambda ctx: sight)
    stopped: list[int] = []
    monkeypatch.setattr(bricks, "end", lambda pids, seconds: (stopped.extend(pids), ([], []))[1])
    monkeypatch.setattr(bricks, "healer", lambda volume: 0)
    assert health.probe(stage.ctx) == (SUCCESS if ended else NOT_RUNNING)
    health.stop(stage.ctx)
    assert stopped == ([1] if ended else [])
    assert "down" in stage.events


@pytest.mark.parametrize(("mark", "unmounted"), [("volume v on a", True), ("volume w on a", False), ("", False)])
def test_a_stop_unmounts_only_a_disk_that_carries_the_mark(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, unmounted: bool
) -> None:
    """What a start refused at the brick's place is somebody else's."""
    sight = stage.sight(stage.ctx)
    sight.root = str(tmp_path / "place")
    sight.volume = lambda: None
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / place.MARK).write_text(f"{mark}\n")
    stage.ctx.params["device"] = "/dev/x"
    done: list[str] = []
    monkeypatch.setattr(health, "Sight", lambda ctx: sight)
    monkeypatch.setattr(bricks, "healer", lambda volume: 0)
    monkeypatch.setattr(disk, "unmount", lambda ctx, want: done.append(want.directory))
    health.stop(stage.ctx)
    assert done == ([sight.root] if unmounted else [])


@pytest.mark.parametrize(
    ("answers", "asked", "told"),
    [
        ([(32, "target is busy."), (32, "target is busy."), (0, "")], 3, ""),
        ([(32, "target is busy.")], 0, "stays mounted: umount: target is busy."),
        ([(1, "must be superuser.")], 1, "stays mounted: umount: must be superuser."),
    ],
    ids=["somebody still looked at it", "somebody works on it", "another reason"],
)
def test_a_disk_that_is_still_in_use_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, str]], asked: int, told: str
) -> None:
    """Who replaces a disk after a stop would find it busy."""
    number = os.stat("/").st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    want, runs, said = place.Wanted("/srv/bricks", "/dev/vdx", "mark"), 0, []

    def run(argv: Sequence[str], timeout: float) -> Result:
        nonlocal runs
        rc, error = answers[min(runs, len(answers) - 1)]
        runs += 1
        return Result(rc, "", f"umount: {error}" if error else "", False)

    monkeypatch.setattr(disk, "_BUSY", 0.5)
    monkeypatch.setattr(disk, "_number", lambda _: device)
    monkeypatch.setattr(disk.mounts, "read", list)
    monkeypatch.setattr(disk.mounts, "stack", lambda *_: [SimpleNamespace(device=device)])
    ctx: Any = SimpleNamespace(run=run, deadline=Deadline(60), log=lambda _, text: said.append(text))
    disk.unmount(ctx, want)
    assert runs == asked or (not asked and runs > 1)
    assert " ".join(said).endswith(told)
    assert bool(said) == bool(told)
