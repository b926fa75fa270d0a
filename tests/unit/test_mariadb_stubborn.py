"""The rules for what stands in the way: full disks, busy servers, events; on facts and on small processes, without a server."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.agents import ocf, process
from hafailover.agents.deadline import Deadline
from hafailover.agents.mariadb import (
    cloning,
    disk,
    events,
    held,
    patience,
    recovery,
    sql,
    standby,
    starting,
    unseen,
    vital,
)
from hafailover.agents.mariadb.disk import Disk
from hafailover.agents.mariadb.server import Process, Unit
from hafailover.crm import mariadb_options
from hafailover.crm.pacemaker import PacemakerError

# The package gives its agent that name; its actions stand in the module.
agent = importlib.import_module("hafailover.agents.mariadb.actions")

FULL = Disk(free=0, waiting=True, lasts=0.0)


@pytest.mark.parametrize(
    ("state", "heir", "published", "keeps"),
    [
        (FULL, "db2", {"db2": "ok"}, None),
        (FULL, "db2", {"db2": "low", "db3": "ok"}, "the disk of db2 is low"),
        (FULL, "db2", {"db2": "full"}, "the disk of db2 is full"),
        (FULL, "db2", {}, "not known"),
        (FULL, None, {"db2": "ok"}, "no replica may take over"),
        (FULL._replace(waiting=False), "db2", {"db2": "ok"}, "nothing waits"),
        (FULL._replace(waiting=False, lasts=11.0), "db2", {"db2": "ok"}, None),
        (FULL._replace(free=disk.FULL), "db2", {"db2": "ok"}, "not full"),
    ],
)
def test_a_full_disk_is_left_for_one_with_space(
    state: Disk, heir: str | None, published: dict[str, str], keeps: str | None
) -> None:
    found = disk.leave(state, heir, published)
    assert (found is None) if keeps is None else (found is not None and keeps in found)


def test_a_replica_with_little_space_is_not_where_a_full_primary_goes() -> None:
    assert [disk.state(free) for free in (0, disk.FULL - 1, disk.FULL, disk.LOW - 1, disk.LOW)] == [
        "full",
        "full",
        "low",
        "low",
        "ok",
    ]


def test_a_full_disk_is_trouble_and_names_what_waits() -> None:
    assert disk.trouble(FULL._replace(free=disk.FULL)) is None
    assert "wait" in str(disk.trouble(FULL))
    assert "wait" not in str(disk.trouble(FULL._replace(waiting=False)))


NAMES = [("shop", "nightly"), ("shop", "a.b"), ("s,h op", "é`%="), ("a", "b")]


def test_a_list_of_events_comes_back_as_it_was() -> None:
    text = events.write(NAMES)
    assert events.read(text) == frozenset(NAMES)
    assert not set(text[len("v=1 ") :]) & set(" \"'<&")
    assert text == events.write(reversed(NAMES)), (
        "the same events are the same text, or it would be written again and again"
    )


@pytest.mark.parametrize("text", [None, "", "v=1 off=", "v=2 off=a.b", "nonsense"])
def test_no_list_of_events_disables_none(text: str | None) -> None:
    assert events.read(text) == frozenset()


@pytest.mark.parametrize(
    ("definer", "account"),
    [("app@%", "`app`@`%`"), ("a@b@localhost", "`a@b`@`localhost`"), ("a`b@h", "`a``b`@`h`"), ("role", "`role`")],
)
def test_an_event_keeps_its_definer(definer: str, account: str) -> None:
    assert events.waking("s`x", "e", definer, enabled=True) == f"ALTER DEFINER={account} EVENT `s``x`.`e` ENABLE"
    assert events.waking("s", "e", definer, enabled=False).endswith("`s`.`e` DISABLE")


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, False),
        ({"event_scheduler": "ON"}, True),
        ({"event-scheduler": True}, True),
        ({"EVENT_SCHEDULER": 0}, False),
    ],
)
def test_events_run_where_the_topology_says_so(options: dict[str, object], runs: bool) -> None:
    assert mariadb_options.runs_events(options) is runs
    assert all(mariadb_options.refusal(name, value) is None for name, value in options.items())


def test_the_event_scheduler_may_not_be_disabled_for_good() -> None:
    assert "ON or OFF" in str(mariadb_options.refusal("event_scheduler", "DISABLED"))


@pytest.fixture
def idle() -> Iterator[subprocess.Popen[str]]:
    with running("import sys; print('up', flush=True); sys.stdin.read()") as process:
        yield process


def running(program: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def named(process: subprocess.Popen[str]) -> Process:
    with open(f"/proc/{process.pid}/stat") as file:
        return Process(process.pid, file.read().rpartition(")")[2].split()[19])


def test_a_process_that_waits_is_not_busy(idle: subprocess.Popen[str]) -> None:
    assert not vital.busy(named(idle))
    idle.kill()


def test_a_process_that_computes_is_busy_until_it_is_stopped() -> None:
    with running("print('up', flush=True)\nwhile True: pass") as process:
        try:
            assert vital.busy(named(process))
            process.send_signal(signal.SIGSTOP)
            assert not vital.busy(named(process))
        finally:
            process.kill()


def test_a_process_is_gone_when_it_is_a_zombie_without_threads(idle: subprocess.Popen[str]) -> None:
    it = named(idle)
    assert not vital.gone(it)
    assert not vital.hangs_dead(it)  # it sleeps, but a signal would wake it
    idle.kill()
    idle.wait()
    assert vital.gone(it)
    assert vital.gone(Process(it.pid, "another start"))


def test_a_full_disk_is_said_before_what_else_degrades_a_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    def degraded(*of: object) -> int:
        raise ocf.OcfError(ocf.DEGRADED_PROMOTED, "db2 does not replicate")

    def failed(*of: object) -> int:
        raise ocf.OcfError(ocf.FAILED_PROMOTED, "db2 is the recorded primary")

    nobody: Any = None
    monkeypatch.setattr(events, "keep_running", lambda *of: None)
    for look, full, rc, said in (
        (degraded, "its disk is full", ocf.DEGRADED_PROMOTED, "its disk is full; db2 does not replicate"),
        (degraded, None, ocf.DEGRADED_PROMOTED, "db2 does not replicate"),
        (failed, "its disk is full", ocf.FAILED_PROMOTED, "db2 is the recorded primary"),
        (lambda *of: ocf.RUNNING_PROMOTED, "its disk is full", ocf.DEGRADED_PROMOTED, "its disk is full"),
    ):
        monkeypatch.setattr(agent.reign, "look", look)
        with pytest.raises(ocf.OcfError) as error:
            agent._serves(nobody, nobody, nobody, full)
        assert (error.value.rc, error.value.reason) == (rc, said)
    monkeypatch.setattr(agent.reign, "look", lambda *of: ocf.RUNNING_PROMOTED)
    assert agent._serves(nobody, nobody, nobody, None) == ocf.RUNNING_PROMOTED


def test_a_server_that_does_not_start_says_when_its_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ctx:
        instance = "db"
        params = {"datadir": str(tmp_path)}
        deadline = Deadline(60)

    ctx: Any = Ctx()
    unit = Unit(ctx)
    for name, answer in (
        ("_mark_planned", None),
        ("_mark_unplanned", None),
        ("state", "failed"),
        ("last_error", "Aborted"),
    ):
        monkeypatch.setattr(unit, name, lambda answer=answer: answer)
    monkeypatch.setattr(unit, "_launch", lambda *of: process.Result(1, "", ""))
    for left, said in (
        (0, "mariadbd did not start: its disk is full: 0 KiB are left for the server; Aborted"),
        (disk.FULL, "mariadbd did not start: Aborted"),
    ):
        monkeypatch.setattr(disk, "free", lambda path, left=left: left)
        with pytest.raises(ocf.OcfError) as error:
            unit.start(())
        assert error.value.reason.startswith(said) and ("full" in error.value.reason) == (left == 0)


@pytest.mark.parametrize(
    ("role", "left", "heir", "slow", "answer"),
    [
        ("Promoted", 0, True, "a statement is held up", ocf.RUNNING_PROMOTED),  # handed over
        ("Promoted", 0, False, "a statement is held up", "its disk is full: 0 KiB .*; a statement is held up"),
        ("Promoted", 0, False, None, "its disk is full: 0 KiB .*; mariadbd 7 does not answer"),
        ("Unpromoted", 0, True, None, "its disk is full: 0 KiB .*; mariadbd 7 does not answer"),
        ("Unpromoted", disk.FULL, True, None, "^mariadbd 7 runs but does not answer"),
    ],
)
def test_a_server_that_hangs_on_a_full_disk_is_not_started_anew(
    role: str, left: int, heir: bool, slow: str | None, answer: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ctx:
        instance = "db"

    class Its:
        datadir = "/"

        def process(self) -> Process:
            return Process(7, "1")

        def state(self) -> str:
            return "active"

    ctx: Any = Ctx()
    ctx.role = role
    unit: Any = Its()
    nobody: Any = None
    monkeypatch.setattr(disk, "free", lambda path: left)
    monkeypatch.setattr(disk, "hand_over", lambda *of: heir)
    monkeypatch.setattr(patience, "excuse", lambda *of: slow)
    refused = sql.SqlError(0, "timed out")
    if isinstance(answer, int):
        assert agent._unanswered(ctx, nobody, unit, Process(7, "1"), refused) == answer
        return
    with pytest.raises(ocf.OcfError, match=answer) as error:
        agent._unanswered(ctx, nobody, unit, Process(7, "1"), refused)
    degraded = ocf.DEGRADED_PROMOTED if role == "Promoted" else ocf.DEGRADED
    assert error.value.rc == (degraded if left < disk.FULL else ocf.ERR_GENERIC)


@pytest.mark.parametrize("late", [False, True])
def test_a_server_that_is_stopped_for_its_clone_is_not_failed_while_it_ends(
    late: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The worker marks and stops it while a monitor looks: under load the instance was failed, stopped, and its clone was lost."""
    monkeypatch.setattr(held, "RUN_DIR", str(tmp_path))
    ctx: Any = SimpleNamespace(instance="db", role="Unpromoted", log=lambda *of: None)
    unit: Any = SimpleNamespace(datadir="/", process=lambda: Process(7, "1"), state=lambda: "deactivating")
    nobody: Any = None

    def mark(*of: object) -> None:
        held.hold("db", held.CLONING, "its data directory is being replaced")

    monkeypatch.setattr(standby, "held_back", lambda ctx, cluster, mark: mark.kind)
    monkeypatch.setattr(disk, "unasked", lambda path: None)
    monkeypatch.setattr(patience, "excuse", mark)
    if not late:
        mark()
    assert agent._unanswered(ctx, nobody, unit, Process(7, "1"), sql.SqlError(0, "refused")) == held.CLONING


def test_a_cluster_that_cannot_take_the_role_fails_no_server_with_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*of: object) -> bool:
        raise PacemakerError("attrd_updater did not answer")

    ctx: Any = SimpleNamespace(instance="db", role="Promoted", log=lambda *of: None)
    unit: Any = SimpleNamespace(datadir="/", process=lambda: Process(7, "1"))
    nobody: Any = None
    monkeypatch.setattr(disk, "free", lambda path: 0)
    monkeypatch.setattr(disk, "hand_over", silent)
    monkeypatch.setattr(patience, "excuse", lambda *of: None)
    with pytest.raises(ocf.OcfError, match="its disk is full") as error:
        agent._unanswered(ctx, nobody, unit, Process(7, "1"), sql.SqlError(0, "timed out"))
    assert error.value.rc == ocf.DEGRADED_PROMOTED


def test_a_start_waits_to_the_end_of_a_recovery_only_when_the_last_one_was_not_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waited: list[float] = []

    class Its:
        datadir = str(tmp_path)

        def start(self, options: tuple[str, ...], patience: float) -> bool:
            waited.append(patience)
            return False

    class Ctx:
        instance = "db"

    unit: Any = Its()
    ctx: Any = Ctx()
    for name in ("_tell", "_cut_torn_end"):
        monkeypatch.setattr(starting, name, lambda *of: None)
    monkeypatch.setattr(unseen, "RUN_DIR", str(tmp_path))
    choice = recovery.Recovery((), False, "")
    starting._run(ctx, unit, choice)
    unseen.mark("db")
    starting._run(ctx, unit, choice)
    monkeypatch.setattr(disk, "free", lambda path: 0)
    starting._run(ctx, unit, choice)
    unseen.forget("db")
    unseen.forget("db")
    starting._run(ctx, unit, choice)
    assert waited == [starting._PATIENCE, float("inf"), starting._PATIENCE, starting._PATIENCE]


@pytest.mark.parametrize(("action", "rc"), [("monitor", ocf.DEGRADED), ("start", ocf.ERR_GENERIC)])
def test_a_busy_systemd_fails_no_server_that_waits_to_be_rebuilt(
    action: str, rc: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(ctx: object) -> str | None:
        raise ocf.OcfError(ocf.ERR_GENERIC, "systemd does not tell the state")

    class Ctx:
        instance = "db"

    ctx: Any = Ctx()
    ctx.action = action
    monkeypatch.setattr(cloning.service, "start_worker", silent)
    monkeypatch.setattr(cloning.notes, "ask", lambda *of, **more: None)
    with pytest.raises(ocf.OcfError) as error:
        cloning.rejoin(ctx, "asked", clone=False)
    assert error.value.rc == rc and "systemd does not tell" in error.value.reason
