"""What is wrong in a cluster in which everything runs: the status says so, and raises no alarm where nothing is."""

import re

import pytest
from hafailover.crm.status import DEGRADED, DOWN, NOTE, OK, Lag, SemiSync
from hafailover.crm.status_judge import judge
from hafailover.crm.status_read import read
from hafailover.crm.status_servers import Said, with_servers
from hafailover.crm.status_text import render
from status_samples import load, status


def changed(name="healthy", mon=(), cib=(), **fields):
    """The status of a record with these (old, new) texts, each of which is there."""
    facts = load(name)
    texts = {"mon": facts.mon, "cib": facts.cib}
    for part, replacements in (("mon", mon), ("cib", cib)):
        for old, new in replacements:
            assert old in texts[part], old
            texts[part] = texts[part].replace(old, new, 1)
    return read(load(name, **texts, **fields))


def meta(**values):
    pairs = "".join(
        f'<nvpair id="x-{name}" name="{name.replace("_", "-")}" value="{value}"/>' for name, value in values.items()
    )
    return f'<meta_attributes id="x-meta">{pairs}</meta_attributes>'


def of(element, name, **values):
    """A replacement that gives the element with this id more meta-attributes, before all others."""
    tag = re.search(rf'<{element} [^>]*id="{name}"[^>]*>', load("healthy").cib)[0]
    return (tag, tag + meta(**values))


def only(found, severity):
    """The problems of this severity; there are no others that take something away."""
    problems = judge(found).problems
    assert {one.severity for one in problems if one.severity != NOTE} <= {severity}
    return [one for one in problems if one.severity == severity]


# -- fencing ----------------------------------------------------------------------------------------------------------


def test_a_fencing_device_that_is_switched_off_covers_nobody():
    found = changed("standby", cib=[of("primitive", "fence-db1", target_role="Stopped")])
    whats = [one.what for one in judge(found).problems]
    assert "no fencing device covers db1" in whats
    (problem,) = [one for one in judge(found).problems if one.what == "the fencing device fence-db1 is switched off"]
    assert problem.advice == "crm_resource -r fence-db1 --meta -d target-role"
    assert "fence-db1 SWITCHED OFF" in render(found, judge(found))
    assert not any("left behind: fence-db1" in what for what in whats), "it is told once"


def test_a_device_may_be_made_of_a_template():
    cib = re.sub(
        r'<primitive id="(fence-db\d)" class="stonith" type="fence_lab"',
        r'<primitive id="\1" template="power"',
        load("healthy").cib,
    )
    power = '<template id="power" class="stonith" type="fence_lab"><instance_attributes id="p"><nvpair id="q" name="{0}" value="{1}"/>'
    end = "</instance_attributes></template>"
    assert cib.count('template="power"') == 2
    for name, value in (("pcmk_delay_max", "5s"), ("pcmk_host_list", "db9")):
        text = cib.replace("<resources>", f"<resources>{power.format(name, value)}{end}")
        found = read(load("healthy", cib=text))
        assert {one.agent for one in found.fencing.devices} == {"fence_lab"}
        assert judge(found).word == OK, "what a device says itself goes before what its template says"
    text = re.sub(r'<nvpair [^>]*name="pcmk_host_list"[^>]*value="db2"/>', "", text)
    assert judge(read(load("healthy", cib=text))).reason.endswith("no fencing device covers db2")


def test_a_blocked_fencing_device_has_failed():
    at = load("healthy").mon.index('<resource id="fence-db1"')
    tag = load("healthy").mon[at : load("healthy").mon.index(">", at)]
    found = changed(mon=[(tag, tag.replace('blocked="false"', 'blocked="true"'))])
    assert [one.what for one in only(found, DEGRADED)] == ["the fencing device fence-db1 has failed"]


def test_fencing_under_way_is_told_before_what_is_over():
    found = status("primary-unclean")
    assert found.fencing.events[0].status != "pending", (
        "as it is sorted by time, which what is under way does not have yet"
    )
    screen = render(found, judge(found))
    assert "under way: reboot of db2" in " ".join(screen.split())
    (problem,) = [one for one in judge(found).problems if "fenced" in one.what]
    assert (problem.what, problem.why.rpartition("; ")[2]) == ("db2 must be fenced", "that is under way")
    assert "stonith_admin --confirm db2" in problem.advice
    pending = '<fence_event action="reboot" target="db2" client="c" origin="db1" status="pending"/>'
    asked = changed(mon=[("<fence_history>", f"<fence_history>{pending}")])
    assert [one.what for one in only(asked, DEGRADED)] == ["db2 is being fenced"]


@pytest.mark.parametrize(
    ("watchdog", "timeout", "covered"),
    [("true", "10s", True), ("true", "-1", True), ("true", "0s", False), ("true", "0", False), ("false", "10s", False)],
)
def test_nodes_that_reset_themselves_need_no_device(watchdog, timeout, covered):
    facts = load("healthy")
    cib = re.sub(r'<primitive [^>]*class="stonith".*?</primitive>', "", facts.cib, flags=re.DOTALL)
    mon = re.sub(r'<resource id="fence-.*?</resource>', "", facts.mon, flags=re.DOTALL)
    properties = "".join(
        f'<nvpair id="w-{name}" name="{name}" value="{value}"/>'
        for name, value in (("have-watchdog", watchdog), ("stonith-watchdog-timeout", timeout))
    )
    cib = re.sub(r'<nvpair [^>]*name="have-watchdog"[^>]*/>', "", cib)
    cib = re.sub(r'(<cluster_property_set [^>]*id="cib-bootstrap-options"[^>]*>)', rf"\1{properties}", cib)
    found = read(load("healthy", cib=cib, mon=mon))
    assert found.fencing.devices == ()
    assert (judge(found).word == OK) is covered
    assert ("SBD" in render(found, judge(found))) is covered


# -- what somebody has left as it is ----------------------------------------------------------------------------------


def test_maintenance_of_a_single_resource():
    found = changed(cib=[of("clone", "db-clone", maintenance="true")])
    (problem,) = only(found, DEGRADED)
    assert problem.what == "left behind: maintenance of db-clone"
    assert problem.advice == "crm_resource -r db-clone --meta -d maintenance"


def test_everything_unmanaged_by_a_default():
    found = changed(mon=[(load("healthy").mon, load("healthy").mon.replace('managed="true"', 'managed="false"'))])
    (problem,) = only(found, DEGRADED)
    assert problem.what == "left behind: unmanaged: fence-db1, fence-db2, vip, db"
    blocked = load("healthy").mon.replace('blocked="false" managed="true"', 'blocked="true" managed="false"', 1)
    given_up = read(load("healthy", mon=blocked))
    assert [one.what for one in only(given_up, DEGRADED)] == ["the fencing device fence-db1 has failed"]
    quiet = changed(mon=[('<node name="db1" id="1" online="true" standby="false" standby_onfail="false" maintenance="false"',
                          '<node name="db1" id="1" online="true" standby="false" standby_onfail="false" maintenance="true"')])  # fmt: skip
    assert [one.what for one in only(quiet, DEGRADED)] == ["left behind: maintenance of db1"]


def test_maintenance_by_a_property_that_only_pacemaker_finds():
    found = changed(mon=[('maintenance-mode="false"', 'maintenance-mode="true"')])
    assert only(found, DEGRADED)[0].what == "left behind: maintenance mode"


def test_a_database_that_is_switched_off_says_how_to_switch_it_on():
    found = changed("switching", cib=[of("clone", "db-clone", target_role="Stopped")])
    if any(one.pending == "promoting" for one in found.services[0].instances):
        found = found._replace(services=(found.services[0]._replace(
            instances=tuple(one._replace(pending="") for one in found.services[0].instances)),))  # fmt: skip
    problem = next(one for one in judge(found).problems if one.what == "db has no primary")
    assert problem.advice == "crm_resource -r db-clone --meta -d target-role"


def test_an_address_that_is_switched_off():
    at = load("healthy").mon.index('<resource id="vip"')
    old = load("healthy").mon[at : load("healthy").mon.index("</resource>", at)]
    new = re.sub(r"<node [^>]*/>", "", old).replace('role="Started" active="true"', 'role="Stopped" active="false"')
    found = changed(mon=[(old, new)], cib=[of("primitive", "vip", target_role="Stopped")])
    (problem,) = only(found, DOWN)
    assert problem.what == "the address 10.77.0.100 (vip) is up nowhere"
    assert problem.advice == "crm_resource -r vip --meta -d target-role"
    (note,) = [one for one in judge(found).problems if one.severity == NOTE]
    assert note.what == "left behind: vip is switched off"


def test_everything_to_be_stopped_is_not_called_maintenance():
    found = changed(mon=[('stop-all-resources="false"', 'stop-all-resources="true"')])
    screen = " ".join(render(found, judge(found)).split())
    assert "EVERYTHING IS TO BE STOPPED" in screen
    assert "MAINTENANCE" not in screen


def test_standby_until_the_next_reboot_is_taken_back_where_it_stands():
    facts = load("standby")
    cib = facts.cib
    state = re.search(r'<node_state [^>]*uname="db2"[^>]*>', cib)[0]
    pair = '<nvpair id="s" name="standby" value="on"/>'
    more = (
        f'<transient_attributes id="2"><instance_attributes id="t">{pair}</instance_attributes></transient_attributes>'
    )
    assert status("standby").leftovers[0].remedy == "crm_attribute -N db2 -n standby -D"
    bare = re.sub(r'(<nvpair [^>]*name="standby" value=)"[^"]*"', r'\1"off"', cib)
    assert bare != cib
    found = read(load("standby", cib=bare.replace(state, state + more)))
    assert found.leftovers[0].remedy == "crm_attribute -N db2 -n standby -D -l reboot"
    failed = read(load("standby", cib=bare))
    assert failed.leftovers[0].remedy.endswith("crm_resource --cleanup -N db2")


# -- what does not run where it should --------------------------------------------------------------------------------

INSTANCE = (
    '<resource id="web" resource_agent="systemd:nginx" role="{0}" active="{1}" orphaned="false" blocked="false" managed="true" '
    'failed="false">{2}</resource>'
)
THERE, NOT_THERE = INSTANCE.format("Started", "true", '<node name="db1"/>'), INSTANCE.format("Stopped", "false", "")
HALF = f'<clone id="web-clone">{THERE}{NOT_THERE}</clone>'
WEB = '<clone id="web-clone"><primitive id="web" class="systemd" type="nginx"/></clone></resources>'


@pytest.mark.parametrize(
    ("constraint", "told"),
    [
        ("", ["web does not run on db2"]),
        ('<rsc_location id="l" rsc="other" node="db2" score="-INFINITY"/>', ["web does not run on db2"]),
        ('<rsc_location id="l" rsc="web-clone" node="db2" score="-INFINITY"/>', []),
        ('<rsc_colocation id="l" rsc="web-clone" with-rsc="vip" score="INFINITY"/>', []),
        ('<rsc_order id="l" first="vip" then="web-clone"/>', []),
        ('<rsc_order id="l"><resource_set id="s"><resource_ref id="web-clone"/></resource_set></rsc_order>', []),
    ],
)
def test_a_clone_that_runs_on_some_nodes_only(constraint, told):
    cib = [("</resources>", WEB), ("</constraints>", f"{constraint}</constraints>")]
    found = changed(mon=[("</resources>", f"{HALF}</resources>")], cib=cib)
    assert [one.what for one in only(found, DEGRADED)] == told
    away = changed("standby", mon=[("</resources>", f"{HALF}</resources>")], cib=[("</resources>", WEB)])
    assert not any("web does not run" in one.what for one in judge(away).problems)


COUNTED = '<resource_history id="vip" orphan="false" migration-threshold="3" fail-count="{}"/>'


def counted(node, fails):
    """A failure count of the address, which runs on db1."""
    head = re.search(rf'<node_history>.*?<node name="{node}">', load("healthy").mon, re.DOTALL)[0]
    return (head, head + COUNTED.format(fails))


def test_a_failcount_without_a_failed_action():
    (problem,) = only(changed(mon=[counted("db2", 3)]), DEGRADED)
    assert problem.what == "vip may not run on db2"
    assert judge(changed(mon=[counted("db2", 2)])).word == OK


def test_a_failcount_of_what_runs_there_is_over():
    """Past its failure-timeout it stands there until the scheduler comes round to it: for a minute status was DEGRADED."""
    assert judge(changed(mon=[counted("db1", 3)])).word == OK


def test_a_node_that_shuts_down_and_one_of_another_version():
    found = changed(
        mon=[('shutdown="false" expected_up="true" is_dc="false"', 'shutdown="true" expected_up="true" is_dc="false"')]
    )
    assert "db2 is shutting down" in [one.what for one in judge(found).problems]
    mixed = changed(mon=[('mixed_version="false"', 'mixed_version="true"')])
    assert judge(mixed).word == OK
    assert [one.what for one in judge(mixed).problems] == ["the nodes run different versions of Pacemaker"]


# -- the links --------------------------------------------------------------------------------------------------------

LINKS = """Local node ID 1, transport knet
LINK ID 0 udp
\taddr\t= 10.77.0.11
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\t{0}
LINK ID 1 udp
\taddr\t= 10.78.0.11
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\t{1}
"""


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (("connected", "connected"), []),
        (("connected", "disconnected"), ["Corosync's link 1 from db1 to db2 is cut"]),
        (("disconnected", "disconnected"), []),  # then the node is away, which is told as that
    ],
)
def test_a_link_that_is_cut(states, told):
    found = changed(links=LINKS.format(*states))
    assert [one.what for one in only(found, DEGRADED)] == told
    assert len(found.links) == 2


# -- replication ------------------------------------------------------------------------------------------------------


def replicating(seconds=0, semi=None, **fields):
    found = changed(**fields)
    (service,) = found.services
    primary, replica = service.instances
    assert (primary.standing, replica.standing) == ("primary", "in sync")
    service = service._replace(instances=(primary, replica._replace(lag=Lag(seconds, 0, 0))), semi_sync=semi)
    return found._replace(services=(service,))


@pytest.mark.parametrize(("seconds", "told"), [(0, []), (59, []), (60, ["db on db2 is 60 s behind"]), (None, [])])
def test_a_replica_that_is_far_behind(seconds, told):
    assert [one.what for one in only(replicating(seconds), DEGRADED)] == told


@pytest.mark.parametrize(
    ("semi", "state", "told"),
    [
        (SemiSync(True, 1, 0), "S_IDLE", []),
        (SemiSync(True, 1, 5), "S_IDLE", []),
        (SemiSync(True, 0, 0), "S_IDLE", []),
        (SemiSync(True, 0, 1), "S_IDLE", ["writes to db hang on db1"]),
        (SemiSync(False, 1, 0), "S_IDLE", ["commits on db1 do not wait for a copy"]),
        (SemiSync(False, 1, 0), "S_TRANSITION_ENGINE", []),
    ],
)
def test_commits_that_wait_for_nobody_or_for_ever(semi, state, told):
    assert [one.what for one in only(replicating(0, semi, coordinator_state=state), DEGRADED)] == told


def test_alone_the_primary_need_not_wait():
    found = status("standby")
    service = found.services[0]._replace(semi_sync=SemiSync(False, 0, 0))
    assert not any("do not wait" in one.what for one in judge(found._replace(services=(service,))).problems)


# -- who accepts writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state", "db1", "db2", "told"),
    [
        ("healthy", "S_IDLE", True, False, []),
        ("healthy", "S_IDLE", True, None, []),
        ("healthy", "S_IDLE", True, True, ["db on db2 accepts writes"]),
        ("healthy", "S_IDLE", False, False, ["db on db1 is primary, but accepts no writes"]),
        ("healthy", "S_TRANSITION_ENGINE", False, True, []),
        ("standby", "S_IDLE", True, True, ["db on db2 accepts writes"]),  # where the cluster runs none
    ],
)
def test_who_accepts_writes(name, state, db1, db2, told):
    def said(writable):
        return Said(error="no answer in time") if writable is None else Said("0-1-1", writable=writable)

    found = with_servers(status(name, coordinator_state=state), {"db": {"db1": said(db1), "db2": said(db2)}})
    assert [one.what for one in judge(found).problems if one.severity == DOWN] == told
    assert [one.writable for one in found.services[0].instances] == [db1, db2]


def test_where_nobody_may_be_promoted_the_replica_is_no_trouble_of_its_own():
    """It was told to wait until the primary confirms it, which is what it waits for."""
    found = status("healthy")
    service = found.services[0]
    first, second = service.instances
    stale = second._replace(standing="cannot be promoted", reason="STALE: db1 was primary last", score=None)
    gone = first._replace(role="Stopped", standing="stopped")
    nodes = tuple(node._replace(online=node.name != "db1") for node in found.nodes)
    service = service._replace(primary=None, promoted=(), instances=(gone, stale))
    problems = judge(found._replace(nodes=nodes, services=(service,))).problems
    (down,) = [one for one in problems if one.what == "db has no primary"]
    assert down.advice == "bring back db1; hafailover explain says why nobody else may be promoted"
    assert "STALE: db1 was primary last" in down.why
    assert not [one for one in problems if "cannot take over" in one.what]
