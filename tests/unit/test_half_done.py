"""What ends a change half-way: what is kept of it, and what the next command makes of that."""

import os
import signal

import pytest
from changing import MOVED, content
from hafailover.crm import apply, undo, undo_store
from hafailover.crm.commands import apply as apply_command
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError
from hafailover.crm.local import Result
from lxml import etree
from topologies import invoke, parse


def test_a_change_that_is_half_in_is_kept_as_it_is(cluster, monkeypatch):
    made = apply.plan(parse(), apply.live_cib())

    def half():
        cluster.change(lambda root: root.find(".//nvpair[@name='ip']").set("value", "10.77.0.7"))
        raise IncompleteError("half")

    with pytest.raises(IncompleteError):
        apply_command.keep("apply t.yml", "c1", made, half)
    (entry,) = undo_store.entries()
    assert entry.after.find(".//primitive[@id='vip']//nvpair[@name='ip']").get("value") == "10.77.0.7"


@pytest.mark.parametrize(("made", "kept"), [(True, 1), (False, 0)])
def test_a_patch_whose_fate_is_not_known_is_kept_when_it_is_in(cluster, made, kept):
    agreed = apply.plan(parse(MOVED), apply.live_cib())

    def silent():
        if made:
            apply.commit(parse(MOVED), agreed)
        raise HafailoverError("the cluster did not answer the change in time")

    with pytest.raises(HafailoverError):
        apply_command.keep("apply t.yml", "c1", agreed, silent)
    assert len(undo_store.entries()) == kept


def tiny(value, more="", epoch=5):
    pair = f'<nvpair id="v1" name="ip" value="{value}"/>'
    vip = f'<primitive id="vip"><instance_attributes id="v">{pair}</instance_attributes></primitive>'
    text = f'<cib epoch="{epoch}"><configuration><crm_config/><resources>{vip}{more}</resources></configuration></cib>'
    return etree.fromstring(text)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A cluster that is but an element: ``small["live"]``; ``small["answers"]``: what cibadmin says to each patch, the last for ever."""
    state = {"live": tiny("1"), "answers": [0]}
    monkeypatch.setattr(undo_store, "DIRECTORY", tmp_path / "kept")
    monkeypatch.setattr(apply, "live_cib", lambda: state["live"])
    monkeypatch.setattr(apply.simulate, "resting", lambda: True)
    monkeypatch.setattr(apply.time, "sleep", lambda seconds: None)

    def patch(live, wanted):
        code = state["answers"].pop(0) if len(state["answers"]) > 1 else state["answers"][0]
        if code == 0:
            state["live"] = wanted
        return Result(code, "", "")

    monkeypatch.setattr(apply, "_patch", patch)
    return state


OTHER = '<primitive id="other"/>'


@pytest.mark.parametrize("end", [103, 13, OSError(28, "No space left"), KeyboardInterrupt(), 124])
def test_whatever_ends_a_change_after_its_first_half_is_told_as_half_done(small, monkeypatch, end):
    wanted = tiny("2", OTHER)
    agreed = apply.Plan(small["live"], wanted, (), (apply.simulate.Effect("reload", "vip", "db1"),), ())
    answers = [0, end] if isinstance(end, int) else [0]
    small["answers"] = answers

    def again(live):
        if isinstance(end, BaseException):
            raise end
        return apply.Plan(live, wanted, (), agreed.effects, ())

    with pytest.raises(IncompleteError) as raised:
        apply_command.keep("apply t.yml", "c1", agreed, lambda: apply.carry_out(agreed, again))
    assert raised.value.exit_code == 4
    assert "nothing was changed" not in str(raised.value) and "parameters were changed" in str(raised.value)
    (entry,) = undo_store.entries()
    assert entry.state == ("uncertain" if end == 124 else "")
    if end != 124:
        assert [content(one) for one in (entry.before, entry.after)] == [content(tiny("1")), content(tiny("2"))]
    (entry,) = undo.settle(small["live"])
    assert content(undo.reverted((entry,), small["live"]).tree) == content(tiny("1"))


def test_what_others_did_while_a_change_was_made_is_not_part_of_it(small):
    """Between the plan and its first patch, and between its two patches."""
    wanted = tiny("2", OTHER)
    agreed = apply.Plan(small["live"], wanted, (), (apply.simulate.Effect("reload", "vip", "db1"),), ())
    his = '<primitive id="his"/>'
    small["live"] = tiny("1", his)
    later = '<primitive id="later"/>'

    def again(live):
        if live.find(".//nvpair").get("value") == "2":
            live = small["live"] = tiny("2", his + later)
        tree = etree.fromstring(etree.tostring(live))
        tree.find(".//nvpair").set("value", "2")
        tree.find(".//resources").append(etree.fromstring(OTHER))
        return apply.Plan(live, tree, (), agreed.effects, ())

    apply_command.keep("apply t.yml", "c1", agreed, lambda: apply.carry_out(agreed, again))
    (entry,) = undo_store.entries()
    assert content(entry.after) == content(tiny("2", his + later + OTHER))
    assert content(entry.before) == content(tiny("1", his + later))


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_what_ends_before_the_patch_leaves_nothing_to_undo(small, end):
    def ended():
        raise end

    agreed = apply.Plan(small["live"], tiny("2"), (), (), ())
    with pytest.raises(KeyboardInterrupt if end is KeyboardInterrupt else HafailoverError):
        apply_command.keep("apply t.yml", "c1", agreed, ended)
    assert undo_store.entries() == []


def test_what_a_killed_command_left_is_compared_with_the_cluster(small):
    whole = tiny("2", OTHER)
    undo_store.add("not in", "", tiny("1"), whole)
    assert "(not finished)" in str(undo_store.entries()[0])
    assert undo.settle(tiny("1", epoch=5)) == undo_store.entries() == []
    undo_store.add("half", "", tiny("1"), whole)
    (half,) = undo.settle(tiny("2", epoch=6))
    assert half.state == "" and content(undo.reverted((half,), tiny("2")).tree) == content(tiny("1"))
    undo_store.forget(half)
    undo_store.add("in", "", tiny("1"), whole)
    (done,) = undo.settle(tiny("2", OTHER + '<primitive id="his"/>'))
    assert content(done.after) == content(whole)  # so that what somebody else did since is told
    assert [one.state for one in undo_store.entries()] == [""]
    undo_store.forget(done)
    # Where somebody has set another value since, it is not this change that is in.
    undo_store.add("not in", "", tiny("1"), tiny("2"))
    assert undo.settle(tiny("3")) == []


def test_a_patch_without_an_answer_is_kept_until_it_cannot_come_any_more(small):
    small["answers"] = [124]
    agreed = apply.Plan(small["live"], tiny("2", epoch=5), (), (), ())
    with pytest.raises(HafailoverError, match="may or may not be in"):
        apply_command.keep("apply t.yml", "c1", agreed, lambda: apply.carry_out(agreed, lambda live: agreed))
    (entry,) = undo.settle(tiny("1"))
    assert entry.state == "uncertain" and "uncertain" in str(entry)
    with pytest.raises(RefusedError, match="may still come"):
        undo.refuse(undo.chosen([entry], None), tiny("1"), False)
    # The version that it names is over, or nobody works on it any more.
    assert undo.settled(entry, tiny("1", epoch=6), entry.when) is None
    assert undo.settled(entry, tiny("1"), entry.when + 3600) is None
    # It comes after all.
    (entry,) = undo.settle(tiny("2", epoch=6))
    assert entry.state == "" and undo_store.entries()[0].state == ""


def test_a_disk_that_is_full_after_the_patch_hides_nothing(small, monkeypatch, capsys):
    agreed = apply.Plan(small["live"], tiny("2"), (), (), ())
    real = undo_store._write

    def full(entry):
        raise OSError(28, "No space left on device")

    def carry_out(more):
        monkeypatch.setattr(undo_store, "_write", full)
        small["live"] = tiny("2", more)
        return apply.Made(tiny("1", more), tiny("2", more))

    apply_command.keep("apply t.yml", "c1", agreed, lambda: carry_out(""))
    assert capsys.readouterr().err == ""  # nothing has to be written that is there already
    monkeypatch.setattr(undo_store, "_write", real)
    undo_store.forget(undo_store.entries()[0])
    apply_command.keep("apply t.yml", "c1", agreed, lambda: carry_out(OTHER))
    assert "note: the change is in the cluster, but what is kept" in capsys.readouterr().err
    monkeypatch.setattr(undo_store, "_write", real)
    (entry,) = undo.settle(small["live"])
    assert content(undo.reverted((entry,), small["live"]).tree) == content(tiny("1", OTHER))


def test_a_closed_terminal_takes_an_apply_back_before_its_patch(cluster, file):
    before = cluster.configuration()
    cluster.before_patch = lambda: os.kill(os.getpid(), signal.SIGHUP)
    result = invoke(apply_command.command, file(MOVED), "--yes")
    assert result.exit_code != 0
    assert "db1" not in cluster.attributes  # the lock is given back
    (entry,) = undo_store.entries()
    assert entry.state == "uncertain" and cluster.configuration() == before
