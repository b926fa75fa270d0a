"""The command ``apply``: what it asks, what it refuses, and nodes that come and go."""

from contextlib import nullcontext

import pytest
from hafailover.crm import local
from hafailover.crm.commands import apply as apply_command
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from hafailover.crm.local import Result
from pacemaker_tools import CMAP, NO_EFFECT, instance, simulated, state
from topologies import BASE, invoke, parse


@pytest.fixture
def run(tools, monkeypatch, tmp_path):
    file = tmp_path / "t.yml"
    file.write_text(BASE)
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(apply_command.os, "geteuid", lambda: 0)
    monkeypatch.setattr(apply_command.apply_lock, "held", lambda what: nullcontext())
    monkeypatch.setattr(apply_command.undo_store, "DIRECTORY", tmp_path / "kept")

    def run(*options, **answers):
        whole = state('active="true"', instance("Promoted") + instance("Unpromoted"))
        used = tools(**{"crm_mon": [whole], **answers})
        return invoke(apply_command.command, file, *options), used

    return run


def test_without_a_terminal_every_change_needs_a_yes(run):
    result, used = run()
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == "this would make 11 changes; nothing was changed. Allow it with --yes"
    assert "cibadmin --patch" not in used.calls
    result, used = run("--yes")
    assert result.exception is None
    assert result.stdout.endswith("applied: 11 changes, settled after 0.0 s\n")
    assert used.calls.count("cibadmin --patch") == 1


def test_without_a_terminal_it_is_said_what_would_be_interrupted(run):
    harm = [simulated(), simulated(("demote", "db:1", "db2"))]
    result, used = run(crm_simulate=list(harm))
    assert isinstance(result.exception, UsageError)
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


def test_what_is_left_is_incomplete(run):
    result, _ = run(
        "--yes", "--wait=0", crm_mon=[state('active="true"', instance("Unpromoted") + instance("Unpromoted"))]
    )
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
    assert isinstance(result.exception, UsageError)
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
