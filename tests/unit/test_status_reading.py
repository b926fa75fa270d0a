"""How a status comes about: what is asked and read, what cannot be read, and what is known where no cluster runs."""

import json
import time

import pytest
from hafailover.crm import local, status_offline
from hafailover.crm.corosync_glance import device_state, quorum_device
from hafailover.crm.errors import HafailoverError
from hafailover.crm.status_facts import ClusterDown, gather
from hafailover.crm.status_failures import moment
from hafailover.crm.status_read import read
from hafailover.crm.status_xml import parse
from status_samples import load

# -- reading ----------------------------------------------------------------------------------------------------------


def test_other_tools_output_is_refused():
    with pytest.raises(HafailoverError, match=r"reads pacemaker-result 2\.x"):
        read(load("healthy", mon="<crm_mon version='2.1.5'/>"))
    with pytest.raises(HafailoverError, match="not XML"):
        read(load("healthy", cib="Segmentation fault"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21 03:49:15Z", 1795232955.0),
        ("2026-11-21 03:49:15.250Z", 1795232955.25),
        ("2026-11-21 04:49:15 +01:00", 1795232955.0),
        ("2026-11-20 22:49:15 -05:00", 1795232955.0),
        ("", None),
        ("yesterday", None),
    ],
)
def test_time_stamps(text, expected):
    assert moment(text) == expected


def test_time_stamps_of_older_tools_are_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert moment("Sat Nov 21 04:49:15 2026") == 1795232955.0
    finally:
        monkeypatch.undo()
        time.tzset()


CONF = """
totem { version: 2 }
quorum {
    provider: corosync_votequorum
    device {
        model: net
        votes: 1
        net {
            host: 10.0.0.9
            algorithm: ffsplit
        }
    }
}
"""


def test_the_quorum_device_of_corosync_conf():
    assert quorum_device(CONF) == ("net", "10.0.0.9")
    assert quorum_device("quorum {\n provider: corosync_votequorum\n # device {\n}\n") is None


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("         1          1    A,V,NMW db1 (local)", (True, True)),
        ("         1          1   A,NV,NMW db1 (local)", (True, False)),
        ("         2          1         NR db2 (local)", (False, False)),
        ("         2          1    A,V,NMW db2", (None, None)),
    ],
)
def test_the_quorum_devices_vote(line, state):
    assert device_state(f"Membership information\n{line}\n") == state


# -- asking -----------------------------------------------------------------------------------------------------------


def fake(answers):
    """A run that answers by the program's name: (rc, out, err) or text."""

    def run(argv, timeout=None, input=None):
        answer = answers.get(argv[0], (102, "", "Connection refused"))
        rc, out, err = (0, answer, "") if isinstance(answer, str) else answer
        return local.Result(rc, out, err)

    return run


def test_gather_says_that_pacemaker_is_down():
    with pytest.raises(ClusterDown, match="does not run on this node"):
        gather(fake({}))


def test_gather_says_that_pacemaker_hangs():
    hangs = (124, "", "cibadmin did not answer within 5 s")
    with pytest.raises(ClusterDown, match="does not answer on this node: cibadmin did not answer"):
        gather(fake({"cibadmin": hangs, "crm_mon": hangs}))


def test_gather_keeps_going_without_the_attribute_daemon_and_the_coordinator():
    record = load("healthy")
    facts = gather(fake({"cibadmin": record.cib, "crm_mon": record.mon, "crm_node": "db1\n"}))
    assert facts.coordinator_state == ""
    assert facts.unanswered == ("attrd_updater failed with 102: Connection refused",)
    assert read(facts).services[0].primary == "db1"


# -- without a cluster ----------------------------------------------------------------------------------------------


def test_offline_says_what_the_node_last_knew(tmp_path):
    disk = tmp_path / "cib.xml"
    disk.write_text(load("healthy").cib)
    run = fake({"systemctl": (3, "inactive\n", "")})
    found = status_offline.look(run, "Pacemaker does not run on this node", str(disk))
    screen = status_offline.render(found)
    assert screen.startswith("UNKNOWN  Pacemaker does not run on this node")
    assert "db1 was primary" in screen
    assert "replicas in sync: db2" in screen
    assert [line for line in screen.splitlines() if len(line) > 80] == []
    told = json.loads(json.dumps(status_offline.as_json(found)))
    assert (told["available"], told["healthy"], told["verdict"]) == (False, False, "UNKNOWN")
    assert told["last_known"]["journals"]["db"]["primary"] == "db1"
    assert told["units"] == {"corosync": "inactive", "pacemaker": "inactive"}


def test_offline_without_anything(tmp_path):
    found = status_offline.look(fake({}), "Pacemaker does not run on this node", str(tmp_path / "none"))
    assert found.last_known is None
    assert "systemctl start pacemaker" in status_offline.render(found)
    elsewhere = status_offline.look(
        fake({}), "Pacemaker is not installed on this node", str(tmp_path / "none"), installed=False
    )
    assert status_offline.advice(elsewhere) == "run it on a node of the cluster"


def test_parse_names_the_tools():
    with pytest.raises(HafailoverError, match="Pacemaker's tools"):
        parse("<a>")
