"""What the agent's monitor costs to import, and the data directory's states, with files alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import DEGRADED, OcfError
from hafailover.agents.rabbitmq import credentials, decide, health
from hafailover.agents.rabbitmq.cluster import Cluster
from hafailover.agents.rabbitmq.disk import Disk
from hafailover.agents.units import State
from hafailover.crm.install import AGENTS_DIR, install
from hafailover.crm.local import Result
from test_ocf_agents import HEAVY, imported


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "mnesia").mkdir()
    params = {"data": str(tmp_path / "mnesia"), "user": "root"}
    context: Any = SimpleNamespace(node="mq1", instance="mq", params=params)
    return Disk(context)


def holding(disk: Disk, *members: str) -> None:
    os.makedirs(disk.path)
    names = ",".join(f"rabbit@{name}" for name in members)
    Path(disk.path, "cluster_nodes.config").write_text(f"{{[{names}],[{names}]}}.\n")
    Path(disk.path, "nodes_running_at_shutdown").write_text(f"[{names}].\n")


def test_a_blank_directory(disk: Disk) -> None:
    assert disk.holds("mq1").kind == decide.NOTHING
    os.makedirs(disk.path)
    assert disk.holds("mq1").kind == decide.NOTHING


def test_a_member(disk: Disk) -> None:
    holding(disk, "mq1", "mq2")
    assert disk.holds("mq1") == decide.Here(decide.KEPT, frozenset({"mq1", "mq2"}))
    disk.begin("join mq2")
    assert disk.holds("mq1") == decide.Here(decide.KEPT, frozenset({"mq1", "mq2"}), decide.JOIN)


def test_a_broker_of_its_own_is_looked_at_once(disk: Disk) -> None:
    holding(disk, "mq1")
    assert disk.holds("mq1").kind == decide.ALONE
    disk.saw(decide.FRESH)
    assert disk.holds("mq1").kind == decide.FRESH
    disk.saw(decide.KEPT)
    assert disk.holds("mq1").kind == decide.KEPT


def test_what_an_interrupted_beginning_left(disk: Disk) -> None:
    disk.begin(decide.FOUND)
    assert disk.holds("mq1").kind == decide.NOTHING
    holding(disk, "mq1")
    assert disk.holds("mq1").kind == decide.HALF
    disk.remove_half()
    assert disk.is_blank()
    disk.finish()
    disk.finish()
    assert disk.begun() is None


def test_what_is_put_aside_is_kept(disk: Disk) -> None:
    holding(disk, "mq1")
    Path(f"{disk.path}-feature_flags").write_text("x")
    place = disk.set_aside()
    assert Path(place, "cluster_nodes.config").exists()
    assert disk.is_blank()
    assert not Path(f"{disk.path}-feature_flags").exists()


def test_force_is_a_file(disk: Disk) -> None:
    holding(disk, "mq1")
    disk.force()
    assert Path(disk.path, "force_load").exists()


def test_who_is_at_work_on_the_data(disk: Disk, tmp_path: Path) -> None:
    holding(disk, "mq1")
    assert disk.user() is None
    beam = tmp_path / "beam.smp"
    shutil.copy("/bin/sleep", beam)
    with open(f"{disk.path}/cluster_nodes.config") as file:
        running = subprocess.Popen([str(beam), "60"], stdin=file)
    try:
        end = time.monotonic() + 30
        while disk.user() is None and time.monotonic() < end:
            time.sleep(0.01)  # the kernel gives it its name after it has told us that it runs
        assert disk.user() == running.pid
    finally:
        running.kill()
        running.wait()


def test_a_disk_that_cannot_be_read_makes_no_stop_fail_and_no_monitor_end_the_broker(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(f"{disk.path}/cluster_nodes.config")
    logged: list[str] = []
    context: Any = SimpleNamespace(node="mq1", log=lambda level, text: logged.append(text))
    health.told(context, disk)
    assert "Is a directory" in logged[0]

    def fails(ctx: Any) -> int:
        return len(disk.members())

    monkeypatch.setattr(health, "_recurring", fails)
    with pytest.raises(OcfError, match="look at its disk") as caught:
        health.recurring(context)
    assert caught.value.rc == DEGRADED


def test_a_broker_whose_inside_was_stopped_by_hand_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hafailover.agents.memo.RUN_DIR", str(tmp_path))
    up = State("loaded", "active", "running", 1, "success", 0)
    broker: Any = SimpleNamespace(state=lambda: up)
    context: Any = SimpleNamespace(instance="mq", params={"patience": 60.0})
    with pytest.raises(OcfError, match="stop_app; it is given 60 s") as caught:
        health._silent(context, broker, False, "port 5672: Connection refused")
    assert caught.value.rc == DEGRADED


def test_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hafailover.agents.memo.RUN_DIR", str(tmp_path))
    memo = Memo("mq")
    assert memo.read("idle") is None
    assert memo.since("idle") == 0.0
    assert memo.since("idle") >= 0.0
    memo.write("idle", "why")
    assert memo.read("idle") == "why"
    assert memo.clear("idle", "unwell")
    assert not memo.clear("idle")


def test_credentials_that_lack_something(tmp_path: Path) -> None:
    file = tmp_path / "mq.cred"
    file.write_text("user=a\npassword=b=c\n")
    context: Any = SimpleNamespace(params={"credentials": str(file)})
    with pytest.raises(OcfError, match="lacks vhost, cookie"):
        credentials.read(context)
    file.write_text("user=a\npassword=b=c\nvhost=v\ncookie=0\n")
    assert credentials.read(context)["password"] == "b=c"


def test_the_monitor_imports_little(tmp_path: Path) -> None:
    install(tmp_path)
    environ = {
        "PATH": os.environ["PATH"],
        "OCF_RESOURCE_INSTANCE": "mq",
        "OCF_RESKEY_nodes": f"{os.uname().nodename}:127.0.0.1",
        "OCF_RESKEY_credentials": str(tmp_path / "mq.cred"),
        "OCF_RESKEY_definitions": str(tmp_path / "none"),
        "OCF_RESKEY_CRM_meta_interval": "10000",
    }
    (tmp_path / "mq.cred").write_text("user=a\npassword=b\nvhost=v\ncookie=0\n")
    argv = ["/usr/bin/python3", "-IS", "-X", "importtime", str(tmp_path / AGENTS_DIR / "rabbitmq"), "monitor"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert not set(HEAVY) & imported(done.stderr)


@pytest.mark.parametrize("rc", [0, 1])
def test_what_a_person_has_allowed_and_cannot_be_taken_back_is_said(rc: int) -> None:
    ran: list[str] = []
    logged: list[tuple[str, str]] = []

    def run(argv: list[str], **_: object) -> Result:
        ran.append(" ".join(argv))
        return Result(rc, "", "nobody answers" if rc else "")

    context: Any = SimpleNamespace(
        node="mq1",
        instance="mq",
        params={"nodes": "mq1:10.0.0.1 mq2:10.0.0.2"},
        run=run,
        log=lambda level, text: logged.append((level, text)),
    )
    Cluster(context).done()
    assert ran == ["attrd_updater -D -n mq-allow"]
    said = (
        "what was allowed is done, but mq-allow cannot be taken back, and would hold again: attrd_updater failed with 1: "
        "nobody answers. Take it back with crm_attribute -N mq1 -l reboot -n mq-allow -D"
    )
    assert logged == ([("warning", said)] if rc else [])
