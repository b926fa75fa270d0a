from dataclasses import replace
from pathlib import Path

import pytest
from hafailover.crm import apply, generate, local, simulate
from hafailover.crm.commands import apply as apply_command
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.crm.formats import cib
from hafailover.crm.local import Result
from topologies import BASE, invoke, parse

LIVE = """<cib epoch="4" num_updates="7" admin_epoch="2" validate-with="pacemaker-3.7"><configuration><crm_config>
<cluster_property_set id="o"><nvpair id="o1" name="cluster-name" value="c1"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="db1"/><node id="2" uname="db2"/></nodes><resources/><constraints/></configuration>
<status><node_state id="1" uname="db1"/><node_state id="2" uname="db2"/></status></cib>"""
CMAP = """nodelist.local_node_pos (u32) = 0
nodelist.node.0.name (str) = db1
nodelist.node.0.nodeid (u32) = 1
nodelist.node.0.ring0_addr (str) = 10.77.0.11
nodelist.node.0.ring1_addr (str) = 10.77.1.11
nodelist.node.1.name (str) = db2
nodelist.node.1.nodeid (u32) = 2
nodelist.node.1.ring0_addr (str) = 10.77.0.12
nodelist.node.1.ring1_addr (str) = 10.77.1.12
"""
NO_EFFECT = '<pacemaker-result><actions/><transition/><status code="0"/></pacemaker-result>'


class Tools:
    """Stands in for Pacemaker's programs: ``answers`` of each in order, the last one for ever; ``calls`` as they came."""

    def __init__(self, **answers):
        self.answers = {
            "cibadmin --query": [Result(0, LIVE, "")],
            "crm_verify": [Result(0, "", "")],
            "crm_simulate": [Result(0, NO_EFFECT, "")],
            "crm_diff": [Result(1, "<diff/>", "")],
            "cibadmin --patch": [Result(0, "", "")],
            "corosync-cmapctl": [Result(0, CMAP, "")],
            "attrd_updater": [Result(78, "", "attribute does not exist")],
        }
        self.answers.update({name.replace("__", " --"): list(given) for name, given in answers.items()})
        self.calls = []

    def __call__(self, argv, timeout=None, input=None):
        name = " ".join(argv[:2]) if argv[0] == "cibadmin" else argv[0]
        self.calls.append(name)
        answers = self.answers[name]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def tools(monkeypatch):
    def install(**answers):
        found = Tools(**answers)
        monkeypatch.setattr(local, "run", found)
        monkeypatch.setattr(apply.time, "sleep", lambda seconds: None)
        return found

    return install


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
def test_a_cluster_that_does_not_answer(tools, answer, said):
    tools(cibadmin__query=[answer])
    with pytest.raises(HafailoverError, match=said):
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


def simulated(*actions):
    inner = "".join(f'<rsc_action action="{name}" resource="{what}" node="{node}"/>' for name, what, node in actions)
    inner += '<node_action task="stonith" node="db2"/>'
    return Result(
        0, f'<pacemaker-result><actions>{inner}</actions><transition/><status code="0"/></pacemaker-result>', ""
    )


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


def state(
    vip="", db="", nodes='<node name="db1" online="true"/><node name="db2" online="true"/>', dc="true", quorum="true"
):
    return Result(
        0,
        f'<pacemaker-result><summary><current_dc present="{dc}" with_quorum="{quorum}"/></summary><nodes>{nodes}</nodes><resources>'
        f'<resource id="vip" managed="true" {vip}/><clone id="db-clone">{db}</clone></resources>'
        '<failures><failure op_key="vip_start_0" node="db1" task="start" exitreason="no such interface"/></failures>'
        '<status code="0"/></pacemaker-result>',
        "",
    )


def instance(role, active="true", **more):
    extra = " ".join(f'{key}="{value}"' for key, value in more.items())
    return f'<resource id="db:0" managed="true" active="{active}" role="{role}" {extra}/>'


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


@pytest.fixture
def run(tools, monkeypatch, tmp_path):
    file = tmp_path / "t.yml"
    file.write_text(BASE)
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(apply_command.os, "geteuid", lambda: 0)

    def run(*options, **answers):
        whole = state('active="true"', instance("Promoted") + instance("Unpromoted"))
        used = tools(**{"crm_mon": [whole], **answers})
        return invoke(apply_command.command, file, *options), used

    return run


def test_without_a_terminal_a_harmless_change_is_made(run):
    result, used = run()
    assert result.exception is None
    assert result.stdout.endswith("applied: 10 changes, settled after 0.0 s\n")
    assert used.calls.count("cibadmin --patch") == 1


def test_without_a_terminal_an_interruption_needs_a_yes(run):
    harm = [simulated(), simulated(("demote", "db:1", "db2"))]
    result, used = run(crm_simulate=list(harm))
    assert isinstance(result.exception, RefusedError)
    assert str(result.exception) == (
        "this would interrupt running services (demote db on db2); nothing was changed. Allow it with --yes"
    )
    assert "cibadmin --patch" not in used.calls
    result, used = run("--yes", crm_simulate=list(harm))
    assert result.exception is None
    assert "cibadmin --patch" in used.calls


@pytest.mark.parametrize(("answer", "made"), [(True, True), (False, False)])
def test_on_a_terminal_it_asks_first(run, monkeypatch, answer, made):
    asked = []
    monkeypatch.setattr(apply_command, "on_terminal", lambda: True)
    monkeypatch.setattr(apply_command.click, "confirm", lambda text, err: asked.append(text) or answer)
    result, used = run(crm_simulate=[simulated(), simulated(("stop", "vip", "db2")), Result(0, NO_EFFECT, "")])
    assert asked == ["This interrupts: stop vip on db2. Apply?"]
    assert ("cibadmin --patch" in used.calls) is made
    if not made:
        assert isinstance(result.exception, RefusedError)


def test_a_cluster_that_still_acts_is_waited_for(tools):
    busy = Result(
        0, '<pacemaker-result><transition><rsc_action/></transition><status code="0"/></pacemaker-result>', ""
    )
    whole = state('active="true"', instance("Promoted") + instance("Unpromoted"))
    told = []
    tools(crm_mon=[whole], crm_simulate=[busy, Result(0, NO_EFFECT, "")])
    assert apply.settle(parse(), 5, told.append) == []
    assert told == ["waiting: the cluster still has something to do"]


def test_what_is_left_is_incomplete(run):
    result, _ = run("--wait=0", crm_mon=[state('active="true"', instance("Unpromoted") + instance("Unpromoted"))])
    assert isinstance(result.exception, IncompleteError)
    assert "after 0 s: db-clone has no promoted instance" in str(result.exception)


def test_not_root_and_no_pacemaker(run, monkeypatch):
    monkeypatch.setattr(apply_command.os, "geteuid", lambda: 1000)
    assert isinstance(run()[0].exception, UsageError)
    monkeypatch.setattr(local, "installed", lambda program: False)
    error = run()[0].exception
    assert type(error) is HafailoverError
    assert "Pacemaker is not installed on this machine" in str(error)


GROWN = BASE.replace(
    "quorum: {device: {host: 10.77.0.13, tls: off}}\n",
    "  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}\n",
)


def test_a_dry_run_says_what_would_be_done_about_a_new_node(run, monkeypatch, tmp_path):
    from hafailover.crm import corosync, members_run

    monkeypatch.setattr(members_run, "COROSYNC_CONF", tmp_path / "corosync.conf")
    (tmp_path / "t.yml").write_text(GROWN)
    text = corosync.text(parse(GROWN))
    members_run.COROSYNC_CONF.write_text(text)
    digest = members_run._digest(text.encode())
    shown = Result(
        0, "".join(f'name="hafailover-corosync-conf" host="{n}" value="{digest}"\n' for n in ("db1", "db2")), ""
    )
    members = '<node name="db1" online="true" type="member"/><node name="db2" online="true" type="member"/>'
    whole = state('active="true"', instance("Promoted") + instance("Unpromoted"), members)
    result, used = run("--dry-run", crm_mon=[whole], attrd_updater=[shown])
    assert result.exception is None, result.exception
    lines = result.stdout.splitlines()
    assert lines[:2] == ["would have Corosync read corosync.conf again on all nodes", "would wait until db3 has joined"]
    assert any("clone-max" in line or "db-clone" in line for line in lines)
    assert not {"corosync-cfgtool", "cibadmin --patch"} & set(used.calls)
    # One member has not shown its file.
    result, used = run("--dry-run", crm_mon=[whole])
    assert isinstance(result.exception, RefusedError)
    assert str(result.exception).endswith("Nothing was changed")


def test_a_node_is_only_removed_when_somebody_agrees(run, monkeypatch, tmp_path):
    from hafailover.crm import corosync, members_run

    monkeypatch.setattr(members_run, "COROSYNC_CONF", tmp_path / "corosync.conf")
    text = corosync.text(parse())
    members_run.COROSYNC_CONF.write_text(text)
    digest = members_run._digest(text.encode())
    shown = Result(
        0, "".join(f'name="hafailover-corosync-conf" host="{n}" value="{digest}"\n' for n in ("db1", "db2")), ""
    )
    third = "nodelist.node.2.name (str) = db3\nnodelist.node.2.nodeid (u32) = 3\nnodelist.node.2.ring0_addr (str) = 10.77.0.14\n"
    members = '<node name="db1" online="true" type="member"/><node name="db2" online="true" type="member"/>'
    whole = state('active="true"', instance("Promoted") + instance("Unpromoted"), members)
    answers = {
        "crm_mon": [whole],
        "attrd_updater": [shown],
        "corosync-cmapctl": [Result(0, CMAP + third, "")],
        "crm_attribute": [Result(105, "", "")],
    }
    result, used = run(**answers)
    assert isinstance(result.exception, RefusedError)
    assert str(result.exception) == "this would remove db3 from the cluster; nothing was changed. Allow it with --yes"
    assert "corosync-cfgtool" not in used.calls
    voting = "Nodeid Votes Qdevice Name\n 1 1 A,V,NMW db1\n 2 1 A,V,NMW db2\n"
    done = {
        "cibadmin__modify": [Result(0, "", "")],
        "corosync-cfgtool": [Result(0, "", "")],
        "crm_node": [Result(0, "", "")],
        "corosync-quorumtool": [Result(0, voting, "")],
        "corosync-qdevice-tool": [Result(0, "Algorithm:\t\tFifty-Fifty split\n", "")],
    }
    result, used = run("--yes", **answers, **done)
    assert result.exception is None, result.exception
    assert "db3 is removed" in result.stderr
    order = [call for call in used.calls if call in ("corosync-cfgtool", "crm_node", "cibadmin --patch")]
    assert order == ["corosync-cfgtool", "crm_node", "cibadmin --patch"]
    # When the cluster then refuses the configuration, what was done is said.
    complaint = "(unpack_x)\terror: this is bad\ncrm_verify: Errors found during check: config not valid\n"
    result, used = run("--yes", **answers, **done, crm_verify=[Result(78, "", complaint), Result(0, "", "")])
    assert isinstance(result.exception, IncompleteError)
    assert "db3 is removed; but the configuration is not applied: Pacemaker would not accept" in str(result.exception)
