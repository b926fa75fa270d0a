"""The status of recorded clusters: verdict, model, screen and JSON."""

import json
import re
import time

import pytest
from hafailover.crm.colour import coloured
from hafailover.crm.status import DEGRADED, DOWN, OK, as_json
from hafailover.crm.status_facts import ClusterDown
from hafailover.crm.status_judge import judge
from hafailover.crm.status_read import read
from hafailover.crm.status_text import render
from status_samples import load, status

# record: verdict, primary, what the headline says
VERDICTS = {
    "healthy": (OK, "db1", "db1 is primary of db, 1 replica in sync"),
    "killed-and-back": (OK, "db2", "db2 is primary of db, 1 replica in sync"),
    "promote-failed": (OK, "db1", "db1 is primary of db, 1 replica in sync"),
    "sql-stopped": (DEGRADED, "db1", "db1 is primary of db; db on db2 cannot take over"),
    "maintenance-and-ban": (DEGRADED, "db1", "left behind: maintenance mode (and 1 more)"),
    "standby": (DEGRADED, "db1", "left behind: standby of db2"),
    "pacemaker-stopped": (DEGRADED, "db1", "Pacemaker does not run on db2"),
    "primary-fenced": (DEGRADED, "db1", "db2 is offline"),
    "node-booting": (DEGRADED, "db1", "Pacemaker does not run on db2"),
    "no-device": (DEGRADED, "db2", "the quorum device 10.77.0.13 does not vote for this node"),
    "primary-unclean": (DOWN, None, "db has no primary"),
    "switching": (DOWN, None, "db has no primary"),
    "no-quorum": (DOWN, None, "this partition (db1) has no quorum"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(name):
    word, primary, headline = VERDICTS[name]
    found = status(name)
    verdict = judge(found)
    assert verdict.word == word
    assert found.services[0].primary == primary
    assert headline in verdict.reason
    assert verdict.healthy == (word == OK)


@pytest.mark.parametrize("name", VERDICTS)
def test_the_screen_has_80_columns_and_no_colour_unless_asked(name):
    found = status(name)
    verdict = judge(found)
    screen = render(found, verdict)
    assert "\033" not in screen
    wide = [line for line in screen.splitlines() if len(line) > 80]
    assert wide == []
    assert screen.startswith(f"{verdict.word}  ")
    assert re.sub(r"\033\[[\d;]*m", "", render(found, verdict, coloured)) == screen


@pytest.mark.parametrize("name", VERDICTS)
def test_the_json_is_json_and_has_every_key(name):
    found = status(name)
    told = json.loads(json.dumps(as_json(found, judge(found))))
    assert told["schema"] == 1
    assert told["available"] is True
    assert set(told) >= {
        "healthy", "verdict", "reason", "problems", "cluster", "seen_by", "at", "coordinator", "idle", "maintenance", "managing",
        "quorum", "nodes", "fencing", "services", "addresses", "resources", "failures", "bans", "leftovers", "unanswered",
    }  # fmt: skip
    assert set(told["services"][0]) >= {"name", "primary", "promoted", "journal", "instances", "nodes"}
    assert set(told["services"][0]["instances"][0]) >= {"node", "role", "score", "standing", "reason"}


def test_the_healthy_screen():
    found = status("healthy", at=0.0)
    lines = render(found, judge(found)).splitlines()
    assert lines[0] == "OK  db1 is primary of db, 1 replica in sync"
    assert "Quorum   yes, 3 of 3 votes (2 needed); quorum device 10.77.0.13 votes" in lines
    assert "  db1   primary  100    primary" in lines
    assert "  db2   replica  50     in sync" in lines
    assert "  vip  10.77.0.100  on db1, follows the primary of db" in lines


def test_a_cluster_that_acts_is_not_healthy_yet():
    verdict = judge(status("healthy", coordinator_state="S_TRANSITION_ENGINE"))
    assert (verdict.word, verdict.healthy) == (OK, False)
    assert "acting right now" in verdict.reason


def test_not_knowing_whether_it_acts_does_not_make_it_sick():
    found = status("healthy", coordinator_state="")
    assert found.idle is None
    assert judge(found).healthy


def test_the_role_of_a_server_on_a_lost_node_is_not_known():
    found = status("primary-unclean")
    lost = found.services[0].instance("db2")
    assert (lost.role, lost.pending, lost.standing) == ("Stopped", "lost", "stopped")
    assert found.addresses[0].nodes == ()
    assert any(problem.what == "db2 must be fenced" for problem in judge(found).problems)


def test_while_the_role_moves_the_node_that_is_demoted_is_named():
    found = status("switching").services[0]
    assert (found.instance("db1").role, found.instance("db1").pending) == ("Unpromoted", "demoting")


def test_a_stopped_node_is_not_in_standby():
    node = status("pacemaker-stopped").node("db2")
    assert (node.online, node.standby, node.stopped) == (False, False, True)
    assert not any("standby" in leftover.what for leftover in status("pacemaker-stopped").leftovers)


def test_a_node_that_does_not_know_the_others_says_so():
    with pytest.raises(ClusterDown, match="no coordinator"):
        status("joining")


def test_what_the_node_says_of_itself_is_the_reason():
    one = status("sql-stopped").services[0].instance("db2")
    assert one.standing == "cannot be promoted"
    assert one.reason.startswith("the SQL thread stopped")


def test_another_life_of_the_server_is_stale_though_its_score_is_still_good():
    published = {**load("healthy").published, "hafailover-db-incarnation": {"db1": "1.1.1", "db2": "2.2.2"}}
    found = status("healthy", published=published)
    one = found.services[0].instance("db2")
    assert (one.score, one.standing) == (50, "cannot be promoted")
    assert one.reason.startswith("STALE: db1 was primary last")
    assert judge(found).word == DEGRADED


def test_a_primary_that_the_journal_does_not_name():
    facts = load("healthy")
    found = read(load("healthy", cib=facts.cib.replace("primary=db1", "primary=db2")))
    assert found.services[0].instance("db1").standing == "unknown"
    assert judge(found).word == DOWN


def test_a_journal_of_another_version():
    facts = load("healthy")
    found = read(load("healthy", cib=facts.cib.replace('value="v=1 ', 'value="v=9 ')))
    assert "schema '9'" in found.services[0].journal_error
    verdict = judge(found)
    assert verdict.word == DOWN
    assert "journal of db cannot be trusted" in verdict.reason


def test_two_primaries():
    facts = load("healthy")
    verdict = judge(read(load("healthy", mon=facts.mon.replace('role="Unpromoted"', 'role="Promoted"'))))
    assert verdict.word == DOWN
    assert "2 primaries" in verdict.reason


def test_an_address_away_from_the_primary():
    facts = load("healthy")
    at = facts.mon.index('<resource id="vip"')
    end = facts.mon.index("</resource>", at)
    moved = facts.mon[:at] + facts.mon[at:end].replace("db1", "db2") + facts.mon[end:]
    verdict = judge(read(load("healthy", mon=moved)))
    assert verdict.word == DOWN
    assert "10.77.0.100 (vip) is on db2" in verdict.reason


def test_a_raised_score_is_told_but_is_no_fault():
    facts = load("healthy")
    found = read(load("healthy", mon=facts.mon.replace('value="50"', 'value="1000"')))
    assert judge(found).word == OK
    assert [leftover.what for leftover in found.leftovers] == ["promotion score 1000 of db on db2"]
    assert "-v 50" in found.leftovers[0].remedy


def test_leftovers_name_what_they_do_and_how_to_remove_them():
    found = status("maintenance-and-ban").leftovers
    assert [leftover.what for leftover in found] == [
        "maintenance mode",
        "ban of db-clone (cli-ban-db-clone-on-db2)",
    ]
    assert found[1].effect == "db-clone may not be promoted on db2"
    assert found[1].remedy == "crm_resource --clear -r db-clone"


def test_a_move_is_a_leftover_too():
    facts = load("healthy")
    move = '<rsc_location id="cli-prefer-vip" rsc="vip" role="Started" node="db2" score="INFINITY"/></constraints>'
    found = read(load("healthy", cib=facts.cib.replace("</constraints>", move)))
    assert [(one.what, one.effect) for one in found.leftovers] == [
        ("move of vip (cli-prefer-vip)", "vip wants to run on db2")
    ]


@pytest.mark.parametrize(
    ("rule", "ends_in", "what", "word"),
    [
        ("cli-prefer-rule-vip", 60, "move of vip (cli-prefer-vip)", "DEGRADED"),
        ("hafailover-stack-1234-vip", 60, "move under way of vip (cli-prefer-vip)", OK),
        ("hafailover-stack-1234-vip", -60, "expired move of vip (cli-prefer-vip)", OK),
        ("cli-prefer-rule-vip", -60, "expired move of vip (cli-prefer-vip)", OK),
    ],
)
def test_a_move_that_ends_by_itself_says_when_and_does_no_harm_afterwards(rule, ends_in, what, word):
    facts = load("healthy")
    end = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(facts.at + ends_in))
    move = (
        f'<rsc_location id="cli-prefer-vip" rsc="vip"><rule id="{rule}" score="INFINITY" boolean-op="and">'
        '<expression id="e" attribute="#uname" operation="eq" value="db2"/>'
        f'<date_expression id="d" operation="lt" end="{end}"/></rule></rsc_location></constraints>'
    )
    found = read(load("healthy", cib=facts.cib.replace("</constraints>", move)))
    assert [one.what for one in found.leftovers] == [what]
    assert found.leftovers[0].effect.startswith("vip wants to run on db2, until " if ends_in > 0 else "it does nothing")
    assert judge(found).word == word


def test_a_failure_that_was_got_over_is_a_note():
    found = status("killed-and-back")
    (failure,) = found.failures
    assert (failure.resource, failure.node, failure.task, failure.rc, failure.lasting) == (
        "db",
        "db1",
        "monitor",
        7,
        False,
    )
    assert failure.at == pytest.approx(found.at, abs=60)
    (problem,) = judge(found).problems
    assert problem.severity == "NOTE"
    assert problem.what.startswith("db on db1: it was found dead")
    assert "recovered since" in problem.why


PENDING = {"rc_code": 193, "op_status": -1, "call_id": -1}
OWN = r'<lrm_rsc_op id="db_monitor_3000"[^>]*>'
FAILED = r'<lrm_rsc_op id="db_last_failure_0"[^>]*>'


def entry(text, pattern, **changes):
    """The history entry of this pattern that db1 has, with other attributes."""
    start = text.index('uname="db1"', text.index("<status>"))
    found = re.compile(pattern).search(text, start)
    changed = found[0]
    for name, value in changes.items():
        changed = re.sub(rf' {name.replace("_", "-")}="[^"]*"', "", changed)
        changed = changed.replace("/>", f' {name.replace("_", "-")}="{value}"/>')
    return text[: found.start()] + changed + text[found.end() :]


@pytest.mark.parametrize(
    ("own", "failed", "lasting"),
    [
        ({"last_rc_change": 1000}, {"last_rc_change": 1010}, True),
        ({"last_rc_change": 1010}, {"last_rc_change": 1000}, False),
        # Never anything else: the entry of its own says only that it runs.
        ({**PENDING, "last_rc_change": 1000}, {"last_rc_change": 1000}, True),
        # Scheduled anew, which changes no result.
        ({**PENDING, "last_rc_change": 1010}, {"last_rc_change": 1000}, True),
        # It was started again after that, and its monitor has not ended yet; or it was stopped.
        ({**PENDING, "last_rc_change": 1010}, {"last_rc_change": 1000, "call_id": 147}, False),
        ({"last_rc_change": 1000}, {"last_rc_change": 1010, "call_id": 147}, False),
    ],
)
def test_a_monitor_that_is_degraded_has_recovered_when_a_later_one_says_so(own, failed, lasting):
    """Pacemaker 2.1.5 keeps a result of 190 where it keeps failures, and nowhere else."""
    facts = load("killed-and-back")
    mon = re.sub(r'(<failure op_key="db_monitor_[^>]*exitcode=)"7"', r'\1"190"', facts.mon)
    cib = entry(entry(facts.cib, OWN, **own), FAILED, **{"rc_code": 190, "call_id": 153, **failed})
    (failure,) = read(load("killed-and-back", mon=mon, cib=cib)).failures
    assert (failure.rc, failure.lasting) == (190, lasting)


def test_a_failure_that_lasts_degrades():
    facts = load("killed-and-back")
    # The recurring monitor's own entry has the failure's code: it has failed ever since.
    cib = re.sub(r'(<lrm_rsc_op id="db_monitor_3000"[^>]*) rc-code="0"', r'\1 rc-code="7"', facts.cib)
    found = read(load("killed-and-back", cib=cib))
    assert found.failures[0].lasting
    assert judge(found).word == DEGRADED


def test_a_monitor_that_stays_degraded_gives_its_reason_of_now():
    facts = load("killed-and-back")
    (key,) = re.findall(r'<failure op_key="(db_monitor_\d+)"', facts.mon)
    mon = re.sub(r'(<failure op_key="db_monitor_[^>]*exitcode=)"7"', r'\1"190"', facts.mon)
    interval = key.rpartition("_")[2]
    for text, reason in (
        (f"{interval} the disk is full", "the disk is full"),
        ("77 another monitor's", read(load("killed-and-back", mon=mon)).failures[0].reason),
    ):
        published = {**facts.published, "hafailover-db-reason": {"db1": text, "db2": f"{interval} another node's"}}
        assert read(load("killed-and-back", mon=mon, published=published)).failures[0].reason == reason
    published = {**facts.published, "hafailover-db-reason": {"db1": f"{interval} of before"}}
    assert read(load("killed-and-back", published=published)).failures[0].reason != "of before", "it has failed since"


def test_a_node_that_pacemaker_has_given_up_on():
    facts = load("killed-and-back")
    mon = facts.mon.replace('fail-count="1"', 'fail-count="INFINITY"')
    assert mon != facts.mon
    mon = mon.replace('migration-threshold="1000000"', 'migration-threshold="3"')
    found = read(load("killed-and-back", mon=mon))
    assert found.failures[0].given_up
    assert "keeps it off db1" in next(problem.why for problem in judge(found).problems)


def test_fencing_that_failed_and_was_never_made_good():
    facts = load("primary-fenced")
    good = re.search(r"<fence_event[^>]*/>", facts.mon).group(0)
    failed = re.sub(r'status="success"', 'status="failed" exit-reason="no route to the switch"', good)
    later = failed.replace("2026-", "2027-")
    assert (
        judge(read(load("primary-fenced", mon=facts.mon.replace(good, good + failed)))).reason
        == judge(status("primary-fenced")).reason
    ), "a success afterwards makes it good"
    problems = judge(read(load("primary-fenced", mon=facts.mon.replace(good, good + later)))).problems
    (problem,) = [problem for problem in problems if problem.what == "fencing of db2 failed"]
    assert problem.why == "no route to the switch"


def test_fencing_switched_off():
    facts = load("healthy")
    verdict = judge(read(load("healthy", mon=facts.mon.replace('stonith-enabled="true"', 'stonith-enabled="false"'))))
    assert verdict.word == DEGRADED
    assert "fencing is switched off" in verdict.reason


def test_a_node_without_a_fencing_device():
    facts = load("healthy")
    found = read(load("healthy", cib=facts.cib.replace('value="db1"', 'value="db9"')))
    assert any(problem.what == "no fencing device covers db1" for problem in judge(found).problems)


@pytest.mark.parametrize("said", ["DB1", "db2:7;Db1=8", r"db1:vm\ 1"])
def test_a_device_covers_a_node_as_pacemaker_reads_it(said):
    facts = load("healthy")
    name = "pcmk_host_list" if said == "DB1" else "pcmk_host_map"
    cib = re.sub(r'name="pcmk_host_list" value="db1"', lambda _: f'name="{name}" value="{said}"', facts.cib)
    assert cib != facts.cib
    assert judge(read(load("healthy", cib=cib))).word == OK


def test_an_attribute_daemon_that_does_not_answer_is_told():
    verdict = judge(status("healthy", unanswered=("attrd_updater failed with 102: Connection refused",)))
    assert verdict.word == DEGRADED
    assert "not everything could be asked" in verdict.reason


def test_an_unnumbered_resource_in_a_cloned_group_and_one_that_runs_nowhere():
    facts = load("healthy")
    more = (
        '<clone id="web-clone"><group id="web:0"><resource id="httpd" resource_agent="systemd:httpd" role="Started" active="true" '
        'managed="true" failed="false" orphaned="false"><node name="db1"/></resource></group></clone>'
        '<resource id="mail" resource_agent="systemd:postfix" role="Stopped" active="false" managed="true" failed="false" '
        'orphaned="false"/></resources>'
    )
    found = read(load("healthy", mon=facts.mon.replace("</resources>", more)))
    assert {one.id: (one.parent, one.nodes) for one in found.resources} == {
        "httpd": ("web-clone", ("db1",)),
        "mail": ("", ()),
    }
    assert judge(found).reason.endswith("mail runs nowhere")
    meta = '<meta_attributes id="m"><nvpair id="t" name="target-role" value="Stopped"/></meta_attributes>'
    stopped = f'<primitive id="mail">{meta}</primitive></resources>'
    wanted = read(
        load("healthy", mon=facts.mon.replace("</resources>", more), cib=facts.cib.replace("</resources>", stopped))
    )
    assert judge(wanted).word == OK
