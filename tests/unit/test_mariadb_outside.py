"""What an instance leaves in /run for others: its environment, and the mark that no server is expected to run."""

import stat

import pytest
from hafailover.agents.mariadb import held, outside
from hafailover.agents.mariadb.declaration import agent
from hafailover.agents.ocf import OcfError

ENVIRON = {
    "OCF_RESOURCE_INSTANCE": "db:1",
    "OCF_RESKEY_nodes": "db1:10.0.0.1 db2:10.0.0.2",
    "OCF_RESKEY_config": "/etc/mysql/a b.cnf",
    "OCF_RESKEY_credentials": "/etc/hafailover/db.cred",
    "OCF_RESKEY_stall": "3s",
    "OCF_RESKEY_CRM_meta_on_node": "db2",
    "OCF_RESKEY_CRM_meta_timeout": "20000",
    "OCF_RESKEY_CRM_meta_notify_type": "pre",
    "HOME": "/root",
}


@pytest.fixture(autouse=True)
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr(outside, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(held, "RUN_DIR", str(tmp_path))
    return tmp_path


def test_a_context_is_rebuilt_from_what_an_action_was_given(run_dir):
    outside.save(agent.context("start", ENVIRON, 10))
    again = outside.context("db", "tend", 7)
    assert (again.instance, again.node, again.action) == ("db", "db2", "tend")
    assert (again.params["nodes"], again.params["config"]) == (
        ENVIRON["OCF_RESKEY_nodes"],
        ENVIRON["OCF_RESKEY_config"],
    )
    assert again.params["stall"] == 3.0
    assert 5 < again.deadline.remaining() <= 7
    assert again.notify.type == "" and "HOME" not in again.environ
    assert stat.S_IMODE((run_dir / "db.env").stat().st_mode) == 0o600


def test_an_instance_that_was_never_started_is_named():
    with pytest.raises(OcfError, match="db has not been started on this node"):
        outside.context("db", "tend", 7)


def test_a_parameter_that_is_wrong_is_named():
    with pytest.raises(OcfError, match="nodes is required"):
        agent.context("start", {"OCF_RESOURCE_INSTANCE": "db"}, 10)


def test_a_held_instance_says_why_until_it_is_released():
    assert held.read("db") is None
    held.hold("db", held.WAITING, "waits for db2")
    mark = held.read("db")
    assert mark is not None
    assert (mark.kind, mark.why) == ("waiting", "waits for db2")
    held.hold("db", held.WAITING, "waits for db3")
    assert held.read("db") == held.Held("waiting", "waits for db3", mark.since), "the same wait"
    held.release("db")
    held.release("db")
    assert held.read("db") is None
