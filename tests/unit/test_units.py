"""What systemctl answers, read; what it does is seen on real nodes."""

from __future__ import annotations

from hafailover.agents import units
from hafailover.agents.units import State, parse

ANSWER = """Id=rabbitmq-server.service
LoadState=loaded
ActiveState=active
SubState=running
MainPID=812
Result=success

Id=st2api.service
LoadState=not-found
ActiveState=inactive
SubState=dead
MainPID=0
Result=success
Job=77
"""


def test_states_are_read_in_order():
    assert parse(ANSWER) == [
        State("loaded", "active", "running", 812, "success", 0),
        State("not-found", "inactive", "dead", 0, "success", 77),
    ]


def test_dead_is_without_process_and_without_job():
    running, queued = parse(ANSWER)
    assert not running.dead
    assert not queued.dead, "a job may be about to start it"
    assert queued._replace(job=0).dead
    assert not queued._replace(job=0, active="deactivating").dead
    assert queued._replace(job=0, active="failed").dead


def test_the_processes_of_a_unit_are_those_of_its_control_group_and_below(tmp_path):
    (tmp_path / "worker").mkdir()
    (tmp_path / "cgroup.procs").write_text("12\n13\n")
    (tmp_path / "worker" / "cgroup.procs").write_text("14\n")
    assert sorted(units._members(str(tmp_path))) == [12, 13, 14]
    assert units._members(str(tmp_path / "none")) == []
