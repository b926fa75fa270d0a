"""What the drill reads from the client program and from Pacemaker's tools."""

from __future__ import annotations

import pytest
from hafailover.crm.drill.database import has_quorum, parse_cluster, parse_health
from hafailover.crm.drill.target import Target

TARGET = Target("db", "db-clone", "vip", "192.0.2.100", 24, 3306, "/run/mysqld/mysqld.sock", {"db1": "192.0.2.1"})
HEAD = "@@server_id\t@@read_only\t@@gtid_current_pos\n"


def slave(**fields: str) -> str:
    defaults = {
        "Slave_IO_Running": "Yes",
        "Slave_SQL_Running": "Yes",
        "Seconds_Behind_Master": "0",
        "Last_SQL_Error": "",
    }
    lines = [f"{name:>30}: {value}" for name, value in {**defaults, **fields}.items()]
    return "*************************** 1. row ***************************\n" + "\n".join(lines) + "\n"


def test_a_primary_has_no_slave_status():
    health = parse_health(HEAD + "1\t0\t0-1-7\n")
    assert (health.server_id, health.read_only, health.replicating, health.lag) == (1, False, False, None)


def test_a_replica_in_order():
    health = parse_health(HEAD + "2\t1\t1-1-3,0-1-7\n" + slave())
    assert (health.read_only, health.replicating, health.lag, health.error) == (True, True, 0, "")
    assert health.position == "0-1-7,1-1-3"


@pytest.mark.parametrize("thread", ["Slave_IO_Running", "Slave_SQL_Running"])
@pytest.mark.parametrize("state", ["No", "Connecting", "Preparing"])
def test_both_threads_must_run(thread, state):
    fields = {thread: state, "Seconds_Behind_Master": "NULL", "Last_SQL_Error": "Duplicate entry"}
    health = parse_health(HEAD + "2\t1\t0-1-7\n" + slave(**fields))
    assert (health.replicating, health.lag, health.error) == (False, None, "Duplicate entry")


def test_a_newer_servers_read_only_values_are_not_writable():
    assert parse_health(HEAD + "2\tNO_LOCK\t0-1-7\n").read_only


REPORT = """<pacemaker-result><resources>
  <resource id="vip" role="{address}"><node name="db2"/></resource>
  <clone id="db-clone">
    <resource id="db" role="{first}"><node name="db1"/></resource>
    <resource id="db:1" role="{second}"><node name="db2"/></resource>
  </clone></resources></pacemaker-result>"""
CIB = """<cib><configuration/><status>
  <node_state uname="db1"><transient_attributes><instance_attributes>
    <nvpair name="master-db" value="-INFINITY"/></instance_attributes></transient_attributes></node_state>
  <node_state uname="db2"><transient_attributes><instance_attributes>
    <nvpair name="master-db" value="50"/><nvpair name="master-other" value="9"/>
    </instance_attributes></transient_attributes></node_state>
</status></cib>"""


def seen(**roles: str):
    return parse_cluster(REPORT.format(**{"address": "Started", **roles}), CIB, TARGET)


def test_roles_scores_and_address():
    cluster = seen(first="Unpromoted", second="Promoted")
    assert (cluster.promoted, cluster.unpromoted, cluster.address) == (["db2"], ["db1"], "db2")
    assert cluster.scores == {"db1": -1_000_000, "db2": 50}


def test_older_names_of_the_roles():
    cluster = seen(first="Master", second="Slave")
    assert (cluster.promoted, cluster.unpromoted) == (["db1"], ["db2"])


def test_a_stopped_instance_has_no_role_and_a_starting_address_is_nowhere():
    cluster = seen(first="Promoted", second="Stopped", address="Starting")
    assert (cluster.promoted, cluster.unpromoted, cluster.address) == (["db1"], [], None)


def test_two_promoted_instances_are_both_seen():
    assert seen(first="Promoted", second="Promoted").promoted == ["db1", "db2"]


@pytest.mark.parametrize(
    ("coordinator", "expected"),
    [
        ('<current_dc present="true" with_quorum="true"/>', True),
        ('<current_dc present="true" with_quorum="false"/>', False),
        ('<current_dc present="false"/>', False),
        ("", False),
    ],
)
def test_whether_the_node_that_tells_has_quorum(coordinator, expected):
    assert has_quorum(f"<r><summary>{coordinator}</summary></r>") is expected
