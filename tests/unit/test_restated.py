"""The reason of a monitor that stays degraded: Pacemaker records the first one alone, and a later one is published."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
from hafailover.agents import memo, ocf
from hafailover.agents.ocf import OcfError
from toy_agent import Toy

pytestmark = pytest.mark.usefixtures("no_journal")
META = "OCF_RESKEY_CRM_meta_"
NAME = "hafailover-db-reason"
Monitor = Callable[..., list[str]]


@pytest.fixture
def monitor(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Monitor:
    """Run an action that ends so, and return how attrd_updater was called in it."""
    monkeypatch.setattr(memo, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(ocf, "RUN_DIR", str(tmp_path))
    said, fails = tmp_path / "said", tmp_path / "fails"
    program = tmp_path / "attrd_updater"
    program.write_text(f'#!/bin/sh\n[ ! -e {fails} ] || exit 1\necho "$*" >>{said}\n')
    program.chmod(0o755)

    def run(outcome: int | Exception, action: str = "monitor", interval: str = "10000") -> list[str]:
        said.write_text("")
        toy.outcome = outcome
        environ = {"OCF_RESOURCE_INSTANCE": "db:1", META + "interval": interval, "PATH": f"{tmp_path}:/bin"}
        rc = toy.run(action, **environ)
        assert rc == (outcome.rc if isinstance(outcome, OcfError) else outcome)
        return said.read_text().splitlines()

    return run


def degraded(reason: str, rc: int = ocf.DEGRADED) -> OcfError:
    return OcfError(rc, reason)


def test_the_first_reason_is_pacemakers(monitor: Monitor) -> None:
    assert monitor(degraded("g2 is not there")) == []
    assert monitor(degraded("g2 is not there")) == []


def test_another_reason_is_published_once_and_taken_back(monitor: Monitor, tmp_path: Path) -> None:
    monitor(degraded("g2 is not there"))
    assert monitor(degraded("g3 is not there")) == [f"-p -n {NAME} -U 10000 g3 is not there"]
    assert monitor(degraded("g3 is not there")) == []
    assert monitor(degraded("g2 is not there")) == [f"-p -n {NAME} -U 10000 g2 is not there"]
    assert monitor(ocf.SUCCESS) == [f"-p -n {NAME} -D"]
    assert monitor(ocf.SUCCESS) == []
    assert not (tmp_path / "db.degraded").exists()


def test_seconds_and_counts_are_no_other_reason(monitor: Monitor) -> None:
    monitor(degraded("10.0.0.1 has not answered for 6 s (3 entries, 0.5 s)"))
    assert monitor(degraded("10.0.0.1 has not answered for 16.5 s (4 entries, 1 s)")) == []
    assert len(monitor(degraded("10.0.0.2 has not answered for 16 s (4 entries, 1 s)"))) == 1


def test_a_reason_that_could_not_be_told_is_told_by_the_next_monitor(monitor: Monitor, tmp_path: Path) -> None:
    monitor(degraded("a"))
    (tmp_path / "fails").touch()
    assert monitor(degraded("b")) == []
    (tmp_path / "fails").unlink()
    assert len(monitor(degraded("b"))) == 1
    (tmp_path / "fails").touch()
    assert monitor(ocf.SUCCESS) == []
    (tmp_path / "fails").unlink()
    assert len(monitor(ocf.SUCCESS)) == 1


@pytest.mark.parametrize("over", [ocf.NOT_RUNNING, OcfError(ocf.ERR_GENERIC, "it hangs")])
def test_a_failure_is_no_degradation(monitor: Monitor, over: int | Exception) -> None:
    monitor(degraded("a"))
    monitor(degraded("b"))
    assert monitor(over) == [f"-p -n {NAME} -D"]


def test_the_monitor_of_another_depth_takes_nothing_back(monitor: Monitor) -> None:
    monitor(degraded("a"))
    monitor(degraded("b"))
    assert monitor(ocf.SUCCESS, interval="60000") == []
    assert monitor(ocf.SUCCESS) == [f"-p -n {NAME} -D"]


def test_a_stop_forgets_and_a_probe_or_a_start_does_not(monitor: Monitor) -> None:
    monitor(degraded("a"))
    monitor(degraded("b"))
    assert monitor(ocf.SUCCESS, interval="0") == []
    assert monitor(ocf.SUCCESS, "start", "0") == []
    assert monitor(ocf.SUCCESS, "stop", "0") == [f"-p -n {NAME} -D"]
    assert monitor(degraded("b", ocf.DEGRADED_PROMOTED)) == [], "Pacemaker records it again"


def test_what_cannot_be_kept_fails_no_monitor(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "db.degraded.new").mkdir()
    assert monitor(degraded("a")) == []
