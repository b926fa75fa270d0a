"""A plan and its patch: what would change and what that causes, other people's changes meanwhile, and what does not run yet."""

from dataclasses import replace
from pathlib import Path

import pytest
from hafailover.crm import apply, generate, local, simulate
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.crm.formats import cib
from hafailover.crm.local import Result
from pacemaker_tools import LIVE, NO_EFFECT, instance, simulated, state
from topologies import parse


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Result(102, "", "Could not connect"), "the cluster is not running on this node; start it"),
        (
            Result(124, "", "cibadmin did not answer within 30 s"),
            "cannot be read: cibadmin: cibadmin did not answer within 30 s",
        ),
        (Result(0, "junk", ""), "the live cluster: is not well-formed XML"),
    ],
)
def test_a_cluster_that_does_not_answer(tools, monkeypatch, answer, said):
    tools(cibadmin__query=[answer])
    monkeypatch.setattr(local, "may_ask_cluster", lambda: True)
    with pytest.raises(HafailoverError, match=said):
        apply.live_cib()


def test_a_stranger_is_not_told_that_the_cluster_is_down(tools, monkeypatch):
    tools(cibadmin__query=[Result(102, "", "Could not connect")])
    monkeypatch.setattr(local, "may_ask_cluster", lambda: False)
    with pytest.raises(UsageError, match="only talks to root and to members of the group haclient"):
        apply.live_cib()


def test_a_plan_changes_nothing(tools):
    used = tools()
    plan = apply.plan(parse(), apply.live_cib())
    assert plan.needed
    assert "cibadmin --patch" not in used.calls


def test_what_pacemaker_would_refuse_is_refused_before(tools):
    complaint = "(unpack_x)\terror: this is bad\ncrm_verify: Errors found during check: config not valid\n"
    tools(crm_verify=[Result(78, "", complaint), Result(0, "", "")])
    with pytest.raises(
        RefusedError, match="Pacemaker would not accept the new configuration, nothing was changed: error: this"
    ):
        apply.plan(parse(), apply.live_cib())
    # Nobody is kept from an improvement by a fault that was there before; and a warning is no error.
    tools(crm_verify=[Result(78, "", complaint), Result(78, "", complaint)])
    assert "with the change as without it" in apply.plan(parse(), apply.live_cib()).notes[0]
    # But what is there already is no cover for a new error.
    more = complaint.replace("crm_verify:", "(unpack_y)\terror: and this\ncrm_verify:")
    tools(crm_verify=[Result(78, "", more), Result(78, "", complaint)])
    with pytest.raises(RefusedError, match=r"nothing was changed: error: and this$"):
        apply.plan(parse(), apply.live_cib())
    warned = "warning: hm\ncrm_verify: Warnings found during check: config may not be valid\n"
    tools(crm_verify=[Result(78, "", complaint), Result(78, "", warned)])
    with pytest.raises(RefusedError, match=r"nothing was changed: error: this is bad$"):
        apply.plan(parse(), apply.live_cib())
    tools(crm_verify=[Result(78, "", complaint.replace("crm", "warning: new\ncrm")), Result(78, "", complaint)])
    assert apply.plan(parse(), apply.live_cib()).notes[1] == "crm_verify warns: warning: new"
    warning = "warning: hm\ncrm_verify: Warnings found during check: config may not be valid\n"
    tools(crm_verify=[Result(78, "", warning), Result(0, "", "")])
    assert apply.plan(parse(), apply.live_cib()).notes == ("crm_verify warns: warning: hm",)


def test_a_busy_cluster_is_patched_at_a_later_version(tools):
    used = tools(cibadmin__patch=[Result(103, "", "old"), Result(103, "", "old"), Result(0, "", "")])
    apply.commit(parse(), apply.plan(parse(), apply.live_cib()))
    assert used.calls.count("cibadmin --patch") == 3
    # The plan is not computed again when only the state has changed.
    assert used.calls.count("crm_simulate") == 2


def test_a_cluster_that_is_never_quiet_is_left_alone(tools):
    tools(cibadmin__patch=[Result(103, "", "old")])
    with pytest.raises(RefusedError, match=r"faster than it could be patched \(10 attempts\); nothing was changed"):
        apply.commit(parse(), apply.plan(parse(), apply.live_cib()))


def test_a_change_by_somebody_else_that_does_not_matter_is_no_conflict(tools):
    other = LIVE.replace(
        "<resources/>", '<resources><primitive id="his" class="ocf" provider="x" type="y"/></resources>'
    )
    tools(cibadmin__query=[Result(0, LIVE, ""), Result(0, other, "")])
    plan = apply.plan(parse(), apply.live_cib())
    apply.commit(parse(), plan)


def test_a_change_by_somebody_else_that_matters_is_told(tools):
    stonith = '<nvpair id="o2" name="stonith-enabled" value="true"/></cluster_property_set>'
    other = LIVE.replace("</cluster_property_set>", stonith)
    used = tools(cibadmin__query=[Result(0, LIVE, ""), Result(0, other, "")])
    plan = apply.plan(parse(), apply.live_cib())
    with pytest.raises(RefusedError, match="somebody else changed the cluster's configuration at the same time"):
        apply.commit(parse(), plan)
    assert "cibadmin --patch" not in used.calls


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Result(124, "", "no answer"), "so it may or may not be in; run hafailover apply again"),
        (Result(13, "", "Permission denied"), "the cluster refused the change: cibadmin: Permission denied"),
    ],
)
def test_a_patch_that_fails(tools, answer, said):
    tools(cibadmin__patch=[answer])
    with pytest.raises(HafailoverError, match=said):
        apply.commit(parse(), apply.plan(parse(), apply.live_cib()))


def test_the_patch_names_the_version_it_was_made_from(tools, monkeypatch):
    seen = {}
    used = tools()

    def look(argv, timeout=None, input=None):
        if argv[0] == "crm_diff":
            seen["before"] = cib.parse(Path(argv[3]).read_bytes(), "x").attrib
            seen["after"] = cib.parse(Path(argv[5]).read_bytes(), "x").attrib
        return used(argv, timeout, input)

    monkeypatch.setattr(local, "run", look)
    apply.commit(parse(), apply.plan(parse(), apply.live_cib()))
    assert [seen["before"][key] for key in ("admin_epoch", "epoch", "num_updates")] == ["2", "4", "7"]
    assert [seen["after"][key] for key in ("admin_epoch", "epoch", "num_updates")] == ["2", "5", "0"]


def test_only_what_the_change_causes_is_an_effect(tools, tmp_path):
    anyway = ("start", "b", "db1")
    tools(crm_simulate=[simulated(anyway), simulated(anyway, ("demote", "db:1", "db2"), ("start", "vip", "db1"))])
    effects = simulate.effects(tmp_path, tmp_path)
    assert [str(effect) for effect in effects] == ["demote db on db2", "start vip on db1"]
    assert [effect.disruptive for effect in effects] == [True, False]


def reloading():
    """The plan of a grown cluster: a parameter of db changes, and a replica is started."""
    from lxml import etree

    def tree(nodes, maximum):
        return etree.fromstring(
            '<cib><configuration><resources><clone id="db-clone"><meta_attributes id="m"><nvpair id="m1" name="clone-max" '
            f'value="{maximum}"/></meta_attributes><primitive id="db"><instance_attributes id="i"><nvpair id="i1" name="nodes" '
            f'value="{nodes}"/></instance_attributes><operations/></primitive></clone></resources></configuration></cib>'
        )

    effects = (simulate.Effect("reload", "db", "db1"), simulate.Effect("start", "db", "db3"))
    return apply.Plan(tree("db1 db2", 2), tree("db1 db2 db3", 3), (), effects, ())


def test_reloaded_parameters_come_before_the_rest():
    plan = reloading()
    first = apply.reloads(plan)
    assert [pair.get("value") for pair in first.iter("nvpair")] == ["2", "db1 db2 db3"]
    assert [child.tag for child in first.find(".//primitive")] == ["instance_attributes", "operations"]
    # Nothing to split when nothing is reloaded, or when nothing else changes.
    assert apply.reloads(replace(plan, effects=plan.effects[1:])) is None
    assert apply.reloads(replace(plan, tree=first)) is None


def test_the_rest_follows_when_the_cluster_has_reloaded(tools, monkeypatch):
    plan = reloading()
    made = []
    monkeypatch.setattr(apply, "_patch", lambda live, tree: made.append(tree) or Result(0, "", ""))
    monkeypatch.setattr(apply, "live_cib", lambda: plan.live)
    monkeypatch.setattr(apply, "plan", lambda topology, live: plan)
    tools()
    apply.commit(parse(), plan)
    assert [[pair.get("value") for pair in tree.iter("nvpair")] for tree in made] == [
        ["2", "db1 db2 db3"],
        ["3", "db1 db2 db3"],
    ]
    # An interruption that nobody agreed to is not made after all.
    worse = replace(plan, effects=(simulate.Effect("stop", "vip", "db1"),))
    monkeypatch.setattr(apply, "plan", lambda topology, live: worse)
    with pytest.raises(
        IncompleteError, match="the rest would now interrupt stop vip on db1: run hafailover apply again"
    ):
        apply.commit(parse(), plan)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (state('active="true"', instance("Promoted") + instance("Unpromoted")), []),
        (state('active="true"', instance("Master") + instance("Slave")), []),
        (
            state('active="true" pending="Starting"', instance("Promoted") + instance("Unpromoted")),
            ["vip is not running (start on db1: no such interface)"],
        ),
        (
            state('active="true"', instance("Unpromoted") + instance("Unpromoted")),
            ["db-clone has no promoted instance"],
        ),
        (
            state('active="true"', instance("Promoted") + instance("Stopped", "false")),
            ["db-clone runs on 1 of 2 nodes"],
        ),
        # A node in standby is not waited for.
        (
            state(
                'active="true"',
                instance("Promoted"),
                '<node name="db1" online="true"/><node name="db2" online="true" standby="true"/>',
            ),
            [],
        ),
    ],
)
def test_what_does_not_run_yet(tools, answer, said):
    tools(crm_mon=[answer])
    assert simulate.not_running(generate.configuration(parse())) == said


def test_what_is_out_of_management_is_not_waited_for(tools):
    text = state("", instance("Stopped", "false")).out.replace('managed="true"', 'managed="false"')
    tools(crm_mon=[Result(0, text, "")])
    assert simulate.not_running(generate.configuration(parse())) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (state(dc="false"), "the cluster has not chosen a coordinator yet"),
        (state(quorum="false"), "this part of the cluster has no quorum"),
    ],
)
def test_nothing_is_changed_without_coordinator_and_quorum(tools, answer, said):
    tools(crm_mon=[answer])
    told = []
    with pytest.raises(RefusedError, match=said):
        apply.wait_for_coordinator(0, told.append)
    tools(crm_mon=[answer, state()])
    apply.wait_for_coordinator(5, told.append)
    assert told == [f"waiting: {said}"]


def test_a_cluster_that_still_acts_is_waited_for(tools):
    busy = Result(
        0, '<pacemaker-result><transition><rsc_action/></transition><status code="0"/></pacemaker-result>', ""
    )
    whole = state('active="true"', instance("Promoted") + instance("Unpromoted"))
    told = []
    tools(crm_mon=[whole], crm_simulate=[busy, Result(0, NO_EFFECT, "")])
    assert apply.settle(parse(), 5, told.append) == []
    assert told == ["waiting: the cluster still has something to do"]


GROUPED = """<cib validate-with="pacemaker-3.7" epoch="1" num_updates="0" admin_epoch="0"><configuration><crm_config/><nodes/><resources>
<group id="g"><primitive id="x" class="ocf" provider="heartbeat" type="Dummy"/></group>
<clone id="c"><group id="cg"><primitive id="y" class="ocf" provider="heartbeat" type="Dummy"/></group></clone>
</resources><constraints/></configuration><status/></cib>"""


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ("Started", ["Started", "Started"], []),
        ("Stopped", ["Started", "Started"], ["x is not running"]),
        ("Started", ["Started", "Stopped"], ["y of c runs on 1 of 2 nodes"]),
    ],
)
def test_what_is_in_groups_and_clones_of_groups_is_waited_for(tools, x, y, said):
    def one(name, role):
        return f'<resource id="{name}" managed="true" active="{str(role == "Started").lower()}" role="{role}"/>'

    inner = "".join(f'<group id="cg:{number}">{one("y", role)}</group>' for number, role in enumerate(y))
    nodes = '<node name="db1" online="true"/><node name="db2" online="true"/>'
    text = (
        f"<pacemaker-result><nodes>{nodes}</nodes><resources><group id='g'>{one('x', x)}</group>"
        f"<clone id='c'>{inner}</clone></resources></pacemaker-result>"
    )
    tools(crm_mon=[Result(0, text, "")])
    assert simulate.not_running(cib.read(cib.parse(GROUPED, "x"))) == said
