"""The switchover's checklist: each reason to refuse, and that nothing else refuses."""

import dataclasses
import re

import pytest
from hafailover.agents.mariadb.decide import Replica
from hafailover.crm.commands.promote import command
from hafailover.crm.errors import HafailoverError
from hafailover.crm.status_fencing import FenceDevice
from hafailover.crm.status_read import read
from hafailover.crm.status_xml import parse
from hafailover.crm.switchover import Answer, Answers, Forecast, nothing_to_do, preflight, refused, steps
from hafailover.crm.switchover_facts import read_forecast, with_score
from status_samples import load, status

GOOD = Replica(
    source="10.77.0.11", io="Yes", sql=True, received="0-1-9", applied="0-1-9", io_errno=0, sql_errno=0, error=""
)
PRIMARY = Answer("db1", writable=True, state="0-1-9", position="0-1-9")
TARGET = Answer("db2", replica=GOOD, state="0-1-9", position="0-1-9", acknowledges=True, lag=0.0)
FORECAST = Forecast("db2", {"vip": "db2"}, ())
NAMES = (
    "node", "quorum", "managed", "idle", "primary", "server", "in-sync", "score", "failures", "bans", "replication", "lag",
    "address", "fencing", "forecast",
)  # fmt: skip


def check(found, target=TARGET, primary=PRIMARY, forecast=FORECAST, accepted=(), unasked=""):
    """The checks of moving db to db2 in the status ``found``."""
    answers = Answers({} if unasked else {"db1": primary, "db2": target}, unasked)
    return preflight(found, found.services[0], "db2", answers, forecast, frozenset(accepted))


def reasons(checks):
    return {item.name: item.says for item in refused(checks)}


def changed(old, new, part="mon", record="healthy"):
    """A recorded status in whose XML ``old`` was replaced."""
    text = getattr(load(record), part)
    assert old in text
    return status(record, **{part: text.replace(old, new)})


def test_all_is_well():
    checks = check(status("healthy"))
    assert tuple(item.name for item in checks) == NAMES
    assert [item for item in checks if item.ok is not True] == []


def node(**changes):
    found = status("healthy")
    nodes = tuple(one._replace(**changes) if one.name == "db2" else one for one in found.nodes)
    return found._replace(nodes=nodes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"online": False}, "db2 is offline"),
        ({"standby": True}, "db2 is online, standby"),
        ({"maintenance": True}, "db2 is online, maintenance"),
        ({"pending": True}, "db2 is joining"),
        ({"unclean": True}, "db2 is online, waits to be fenced"),
        ({"shutting_down": True}, "db2 is online, shutting down"),
    ],
)
def test_the_node_cannot_run_it(changes, says):
    assert reasons(check(node(**changes)))["node"] == says


def test_no_quorum():
    found = reasons(check(status("no-quorum")))
    assert found["quorum"] == "this partition has no quorum"
    assert "has no primary" in found["primary"]


def test_maintenance_mode_and_a_ban():
    found = check(status("maintenance-and-ban"), forecast=Forecast("db1", {"vip": "db1"}, ()))
    assert reasons(found) == {
        "managed": "the cluster is in maintenance mode and would do nothing",
        "bans": "db-clone may not be promoted on db2 (constraint cli-ban-db-clone-on-db2)",
        "forecast": "asked for db2, Pacemaker would not promote it: db1 would be primary",
    }


def test_one_unmanaged_resource():
    found = status("healthy")
    loose = found._replace(addresses=tuple(one._replace(managed=False) for one in found.addresses))
    assert reasons(check(loose)) == {"managed": "Pacemaker does not manage db (vip)"}


def test_a_cluster_that_acts_may_be_accepted():
    found = status("healthy", coordinator_state="S_TRANSITION_ENGINE")
    assert list(reasons(check(found))) == ["idle"]
    assert refused(check(found, accepted=("idle",))) == ()
    assert next(item.ok for item in check(status("healthy", coordinator_state="")) if item.name == "idle") is None


def test_nobody_is_primary():
    found = check(status("switching"))
    assert "db has no primary" in reasons(found)["primary"]
    assert "forecast" not in {item.name for item in found}, "without a primary there is no role to move"


def test_two_primaries():
    assert "has 2 primaries: db1, db2" in reasons(check(changed('role="Unpromoted"', 'role="Promoted"')))["primary"]


def test_the_journal_names_another_primary():
    found = reasons(check(changed("primary=db1", "primary=db2", "cib")))
    assert found["primary"] == "db1 is promoted, but db2 is recorded as primary"


def test_a_journal_that_cannot_be_read():
    found = reasons(check(changed('value="v=1 ', 'value="v=9 ', "cib")))
    assert "schema '9'" in found["primary"]
    assert found["in-sync"] == "nothing is recorded about who holds every acknowledged write"


def test_the_primary_does_not_answer_or_is_read_only():
    assert (
        "does not answer: refused"
        in reasons(check(status("healthy"), primary=Answer("db1", error="refused")))["primary"]
    )
    closed = dataclasses.replace(PRIMARY, writable=False)
    assert (
        reasons(check(status("healthy"), primary=closed))["primary"] == "db1 is promoted, but its server is read-only"
    )


def test_the_target_is_writable_beside_the_primary():
    found = reasons(check(status("healthy"), target=dataclasses.replace(TARGET, writable=True)))
    assert found["primary"] == "db2 is writable beside the primary db1"
    assert found["replication"] == "db2: is writable"


def test_the_server_does_not_run_on_the_node():
    found = reasons(check(status("pacemaker-stopped"), target=Answer("db2", error="Connection refused")))
    assert found["server"] == "db on db2 is stopped"
    assert found["replication"] == "the server on db2 does not answer: Connection refused"


def test_the_server_has_failed():
    found = status("healthy")
    broken = tuple(one._replace(failed=one.node == "db2") for one in found.services[0].instances)
    service = found.services[0]._replace(instances=broken)
    assert reasons(check(found._replace(services=(service,))))["server"] == "db on db2 has failed"


def test_another_life_of_the_server_is_not_in_sync():
    published = {**load("healthy").published, "hafailover-db-incarnation": {"db1": "1.1.1", "db2": "2.2.2"}}
    found = reasons(check(status("healthy", published=published)))
    assert found["in-sync"].startswith("db2 may not be promoted: STALE: db1 was primary last")


def test_an_errant_transaction():
    target = dataclasses.replace(TARGET, state="0-1-9,0-2-11")
    assert "0-2-11, which did not come from the primary" in reasons(check(status("healthy"), target=target))["in-sync"]


def test_its_own_agent_bars_it():
    found = reasons(check(changed('value="50"', 'value="-INFINITY"')))
    assert found["score"].startswith("its own agent bars db2")


def test_no_score_at_all():
    assert "has no promotion score" in reasons(check(changed('value="50"', 'value="none"')))["score"]


@pytest.mark.parametrize(
    ("replica", "says"),
    [
        (None, "db2: does not replicate"),
        (GOOD._replace(io="Connecting"), "db2: is not connected (Connecting)"),
        (GOOD._replace(io="No"), "the IO thread is stopped"),
        (GOOD._replace(sql=False), "the SQL thread stopped"),
        (GOOD._replace(io_errno=1236, error="not in the binary log"), "cannot replicate from"),
        (GOOD._replace(source="10.77.0.99"), "db2 replicates from 10.77.0.99, not from db1 (10.77.0.11)"),
        (GOOD._replace(received="0-1-7", applied="0-1-7"), "transactions behind"),
    ],
)
def test_replication_does_not_work(replica, says):
    target = dataclasses.replace(TARGET, replica=replica, state="0-1-7")
    assert says in reasons(check(status("healthy"), target=target))["replication"]


def test_it_does_not_acknowledge():
    target = dataclasses.replace(TARGET, acknowledges=False)
    assert "does not acknowledge" in reasons(check(status("healthy"), target=target))["replication"]


def test_it_applies_too_slowly_and_that_may_be_accepted():
    target = dataclasses.replace(TARGET, lag=None, replica=GOOD._replace(applied="0-1-4"), state="0-1-4")
    found = check(status("healthy"), target=target)
    assert reasons(found) == {
        "lag": "db2 has not applied within 2 s what it had received (5 transactions left): writers would wait for that"
    }
    assert refused(check(status("healthy"), target=target, accepted=("lag",))) == ()


def test_servers_that_cannot_be_asked_are_unknown_but_do_not_refuse():
    found = check(status("healthy"), unasked="cannot read the credentials")
    assert refused(found) == ()
    assert {item.name for item in found if item.ok is None} == {"replication", "lag"}


def test_a_failed_promotion_stays_in_the_way_until_somebody_looked():
    found = reasons(check(status("promote-failed")))
    assert "promoting it did not end within its timeout" in found["failures"]
    assert "crm_resource --cleanup -r db -N db2" in found["failures"]
    assert refused(check(status("promote-failed"), accepted=("failures",))) == ()


def test_a_promotion_that_the_rules_refused_does_not_because_they_are_asked_again():
    ruled = 'exitreason="not promoted: STALE: db1 was primary last"'
    found = changed('exitreason="Resource agent did not complete within 12s"', ruled, record="promote-failed")
    assert "failures" not in reasons(check(found))


def test_a_failure_that_was_got_over_does_not():
    found = status("killed-and-back")  # db2 is primary there
    answers = Answers({"db2": dataclasses.replace(PRIMARY, node="db2"), "db1": dataclasses.replace(TARGET, node="db1")})
    checks = preflight(found, found.services[0], "db1", answers, Forecast("db1", {"vip": "db1"}, ()))
    (item,) = [item for item in checks if item.name == "failures"]
    assert item.ok
    assert "it was found dead" in item.says


def test_the_address_is_elsewhere_or_has_failed():
    found = status("healthy")
    moved = found._replace(addresses=(found.addresses[0]._replace(nodes=()),))
    assert reasons(check(moved)) == {"address": "10.77.0.100 (vip) is up nowhere, not on the primary alone"}
    assert refused(check(moved, accepted=("address",))) == ()
    failed = found._replace(addresses=(found.addresses[0]._replace(failed=True),))
    assert "has failed" in reasons(check(failed, accepted=("address",)))["address"]


def test_fencing_is_off_or_broken():
    off = changed('stonith-enabled="true"', 'stonith-enabled="false"')
    assert "fencing is switched off" in reasons(check(off))["fencing"]
    assert refused(check(off, accepted=("fencing",))) == ()
    found = status("healthy")
    dead = FenceDevice("fence-db1", "fence_lab", "", running=False, failed=True, targets=("db1",))
    broken = found._replace(fencing=found.fencing._replace(devices=(dead,)))
    assert "no working fencing device covers db1" in reasons(check(broken))["fencing"]


def test_pacemaker_would_do_something_else():
    assert (
        "db1 would be primary"
        in reasons(check(status("healthy"), forecast=Forecast("db1", {"vip": "db1"}, ())))["forecast"]
    )
    stays = Forecast("db2", {"vip": "db1"}, ())
    assert (
        reasons(check(status("healthy"), forecast=stays))["forecast"]
        == "Pacemaker would promote db2, but leave vip db1"
    )
    unknown = check(status("healthy"), forecast=Forecast("", {}, (), error="not installed"))
    assert refused(unknown) == ()


def test_what_concerns_the_data_cannot_be_accepted():
    everything = frozenset(NAMES)
    found = check(node(online=False), target=dataclasses.replace(TARGET, replica=None), accepted=everything)
    assert set(reasons(found)) >= {"node", "in-sync", "replication"}
    choices = next(parameter.type.choices for parameter in command.params if parameter.name == "accept")
    of_a_stack = {"elsewhere", "roles"}
    assert set(choices) - of_a_stack == {"idle", "lag", "failures", "address", "fencing"}


def test_nothing_to_do():
    found = status("healthy").services[0]
    assert nothing_to_do(found, "db1")
    assert not nothing_to_do(found, "db2")


def test_the_steps_name_everything_that_moves():
    found = status("healthy")
    planned = steps(
        found.services[0], "db2", found.addresses, Forecast("db2", {"vip": "db2"}, ("move web from db1 to db2",))
    )
    assert planned[0] == "10.77.0.100 (vip) is taken from db1"
    assert planned[-1] == "also: move web from db1 to db2"
    epoch = found.services[0].journal.epoch + 1
    assert any(f"primary of epoch {epoch}" in step for step in planned)


# -- Pacemaker's simulation -----------------------------------------------------------------------------------------


def test_the_score_is_raised_in_a_copy():
    facts = load("healthy")
    raised = with_score(facts.cib, "db", "db2", 1000)
    assert re.findall(r'name="master-db" value="(\d+)"', raised) == ["100", "1000"]
    assert read(facts).services[0].instance("db2").score == 50
    with pytest.raises(HafailoverError, match="db9 has no promotion score"):
        with_score(facts.cib, "db", "db9", 1000)


SIMULATED = """
<pacemaker-result api-version="2.25"><actions>
 <rsc_action action="demote" resource="db:0" role="Promoted" next-role="Unpromoted" source="db1"/>
 <rsc_action action="promote" resource="db:1" role="Unpromoted" next-role="Promoted" source="db2"/>
 <rsc_action action="move" resource="vip" source="db1" dest="db2"/>
 <rsc_action action="move" resource="web" source="db1" dest="db2"/>
 <rsc_action action="restart" resource="mail" node="db1"/>
</actions><revised_cluster_status><nodes><node name="db1" online="true"/><node name="db2" online="true"/></nodes><resources>
 <clone id="db-clone"><resource id="db" role="Unpromoted"><node name="db1"/></resource>
  <resource id="db" role="Promoted"><node name="db2"/></resource></clone>
 <resource id="vip" role="Started"><node name="db2"/></resource>
</resources></revised_cluster_status></pacemaker-result>
"""


def test_a_forecast_is_read():
    found = status("healthy")
    forecast = read_forecast(parse(SIMULATED), found, found.services[0])
    assert forecast == Forecast("db2", {"vip": "db2"}, ("move web from db1 to db2", "restart mail on db1"))
