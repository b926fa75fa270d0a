"""Undo on a cluster in a file, with Pacemaker's real programs: what is taken back, what stays, what stands in the way."""

import json
import stat

import pytest
from changing import MOVED, applied, content, undone
from hafailover.crm import revert, undo, undo_store
from hafailover.crm.commands import apply as apply_command
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError, UsageError
from lxml import etree
from topologies import changed, invoke


def test_apply_and_undo_and_the_undo_of_the_undo(cluster, file):
    before = cluster.configuration()
    applied(file, MOVED, "--yes")
    assert cluster.value("vip", "ip") == "10.77.0.101"
    shown = undone("--dry-run")
    assert "change parameter ip of vip: 10.77.0.101 → 10.77.0.100" in shown.stdout
    assert "restart vip on db1" in shown.stdout
    assert cluster.value("vip", "ip") == "10.77.0.101"
    refused = undone()
    # Nobody is there who could be asked: that is a matter of usage (docs/history.md).
    assert isinstance(refused.exception, UsageError)
    assert "interrupt running services (restart vip on db1)" in str(refused.exception)
    result = undone("--yes", "-o", "json")
    assert result.exception is None, result.exception
    assert json.loads(result.stdout)["applied"] is True
    assert cluster.configuration() == before
    assert undone("--yes").exception is None
    assert cluster.value("vip", "ip") == "10.77.0.101"
    # One step further back than the last: everything since the first change.
    listed = json.loads(undone("--list", "-o", "json").stdout)
    assert [one["number"] for one in listed] == [1, 2, 3]
    assert undone("1", "--yes").exception is None
    assert cluster.configuration() == before
    assert isinstance(undone("9", "--yes").exception, UsageError)


def test_what_is_kept_is_roots_alone_and_bounded(cluster, file, monkeypatch):
    monkeypatch.setattr(undo_store, "KEEP", 3)
    for number in range(5):
        undo_store.add(f"apply {number}", "c1", cluster.root, cluster.root)
    kept = sorted(path.name for path in undo_store.DIRECTORY.iterdir())
    assert kept == ["000003.pending.xml", "000004.pending.xml", "000005.pending.xml"]
    for entry in undo_store.entries():
        undo_store.became(entry, entry.before, entry.after)
    kept = sorted(path.name for path in undo_store.DIRECTORY.iterdir())
    assert kept == ["000003.xml", "000004.xml", "000005.xml"]
    assert stat.S_IMODE(undo_store.DIRECTORY.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in undo_store.DIRECTORY.iterdir()} == {0o600}
    (undo_store.DIRECTORY / "000004.xml").write_text("<change/>")
    # A damaged one is no obstacle for what came after it.
    listed = undone("--list")
    assert listed.exception is None
    assert "4  damaged: " in listed.stdout and "5  " in listed.stdout
    assert [one.get("state") for one in json.loads(undone("--list", "-o", "json").stdout)][1] == "damaged"
    kept = undo_store.entries()
    assert undo.chosen(kept, None).number == 5
    with pytest.raises(RefusedError, match=r"change 4 cannot be taken back, nothing was changed: .*000004"):
        undo.chosen(kept, 3)


def test_nothing_is_changed_when_the_old_configuration_cannot_be_kept(cluster, file, monkeypatch):
    before = cluster.configuration()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(undo_store.tempfile, "mkstemp", full)
    result = invoke(apply_command.command, file(MOVED), "--yes")
    assert type(result.exception) is HafailoverError
    assert "No space left on device), so the change could not be taken back; nothing was changed" in str(
        result.exception
    )
    assert cluster.configuration() == before


def test_an_undo_without_anything_to_undo(cluster):
    assert isinstance(undone().exception, RefusedError)
    assert "a change is kept on the node where it was made" in str(undone().exception)
    assert undone("--list").stdout == "nothing is kept on this node\n"


def test_what_operators_and_agents_do_from_day_to_day_stays_and_is_no_obstacle(cluster, file):
    applied(file, MOVED, "--yes")

    def daily(root):
        configuration = root.find("configuration")
        node = configuration.find("nodes/node")
        node.append(
            etree.fromstring(
                '<instance_attributes id="n"><nvpair id="n1" name="standby" value="off"/></instance_attributes>'
            )
        )
        properties = configuration.find("crm_config")
        note = '<nvpair id="hafailover-db-journal" name="journal" value="7"/>'
        journal = f'<cluster_property_set id="hafailover-db">{note}</cluster_property_set>'
        properties.append(etree.fromstring(journal))
        etree.SubElement(properties[0], "nvpair", id="mm", name="maintenance-mode", value="false")
        ban = '<rsc_location id="cli-ban-vip-on-db2" rsc="vip" role="Started" node="db2" score="-INFINITY"/>'
        configuration.find("constraints").append(etree.fromstring(ban))

    cluster.change(daily)
    assert undone("--yes").exception is None
    text = cluster.configuration().decode()
    assert cluster.value("vip", "ip") == "10.77.0.100"
    for piece in ("standby", "hafailover-db-journal", "maintenance-mode", "cli-ban-vip-on-db2"):
        assert piece in text


def test_an_undo_is_refused_when_somebody_has_changed_the_configuration_since(cluster, file):
    applied(file, MOVED, "--yes")

    def his(root):
        root.find("configuration/resources").append(
            etree.fromstring('<primitive id="his" class="ocf" provider="pacemaker" type="Dummy"/>')
        )

    cluster.change(his)
    refused = undone("--yes").exception
    assert isinstance(refused, RefusedError)
    assert "add resource his (ocf:pacemaker:Dummy)" in str(refused) and "--despite-changes" in str(refused)
    assert undone("--yes", "--despite-changes").exception is None
    assert cluster.value("vip", "ip") == "10.77.0.100"
    assert 'id="his"' in cluster.configuration().decode()


CACHED = changed(("services:\n", "services:\n  cache: {type: memcached}\n"))


def constraint(text):
    return lambda root: root.find("configuration/constraints").append(etree.fromstring(text))


@pytest.mark.parametrize("rsc", ["cache", "cache-clone"])
def test_a_ban_of_a_resource_that_goes_with_the_change_goes_with_it(cluster, file, rsc):
    applied(file, CACHED, "--yes")
    ban = f'<rsc_location id="cli-ban-{rsc}-on-db2" rsc="{rsc}" role="Started" node="db2" score="-INFINITY"/>'
    cluster.change(constraint(ban))
    stays = '<rsc_location id="cli-ban-vip-on-db2" rsc="vip" role="Started" node="db2" score="-INFINITY"/>'
    cluster.change(constraint(stays))
    shown = json.loads(undone("--dry-run", "-o", "json").stdout)
    assert ("remove", f"location cli-ban-{rsc}-on-db2") in [(one["action"], one["what"]) for one in shown["changes"]]
    # The cluster in a file does not clean up after a resource that is gone.
    assert isinstance(undone("--yes", "--wait=0").exception, (type(None), IncompleteError))
    text = cluster.configuration().decode()
    assert 'id="cache"' not in text and "cli-ban-cache" not in text and "cli-ban-vip-on-db2" in text
    if rsc == "cache":  # which Pacemaker itself does not take for a member of a clone
        return
    # And back: the ban belongs to what was there.
    assert isinstance(undone("--yes", "--wait=0").exception, (type(None), IncompleteError))
    assert f"cli-ban-{rsc}-on-db2" in cluster.configuration().decode()


def test_an_undo_leaves_no_constraint_of_others_to_a_resource_that_is_gone(cluster, file):
    applied(file, CACHED, "--yes")
    cluster.change(constraint('<rsc_order id="his" first="vip" then="cache-clone"/>'))
    before = cluster.configuration()
    refused = undone("--yes", "--despite-changes").exception
    assert isinstance(refused, RefusedError)
    assert "remove cache-clone, and the order his, which somebody else has made, refers to it; nothing was" in str(
        refused
    )
    assert cluster.configuration() == before
    refs = '<resource_ref id="cache-clone"/><resource_ref id="vip"/>'
    cluster.change(constraint(f'<rsc_colocation id="set"><resource_set id="s">{refs}</resource_set></rsc_colocation>'))
    cluster.change(lambda root: root.find("configuration/constraints").remove(root.find(".//rsc_order[@id='his']")))
    assert "the colocation set" in str(undone("--yes", "--despite-changes").exception)


def test_what_others_did_between_two_changes_is_not_taken_back_with_them(cluster, file):
    applied(file, MOVED, "--yes")

    def others(root):
        configuration = root.find("configuration")
        dummy = '<primitive id="his" class="ocf" provider="pacemaker" type="Dummy"/>'
        configuration.find("resources").append(etree.fromstring(dummy))
        pair = configuration.find("crm_config")[0]
        etree.SubElement(pair, "nvpair", id="mm", name="maintenance-mode", value="true")
        ban = '<rsc_location id="cli-ban-vip-on-db2" rsc="vip" role="Started" node="db2" score="-INFINITY"/>'
        configuration.find("constraints").append(etree.fromstring(ban))

    cluster.change(others)
    # In maintenance nothing comes to rest.
    invoke(apply_command.command, file(MOVED.replace("10.77.0.101", "10.77.0.102")), "--yes", "--wait=0")
    assert cluster.value("vip", "ip") == "10.77.0.102"
    refused = undone("1", "--yes").exception
    assert isinstance(refused, RefusedError)
    assert "add resource his (ocf:pacemaker:Dummy)\n--despite" in str(refused)
    shown = undone("1", "--yes", "--despite-changes", "-o", "json", "--wait=0")
    changes = json.loads(shown.stdout)["changes"]
    assert [one["detail"] for one in changes] == ["10.77.0.102 → 10.77.0.100"]
    assert cluster.value("vip", "ip") == "10.77.0.100"
    text = cluster.configuration().decode()
    for piece in ('id="his"', "maintenance-mode", "cli-ban-vip-on-db2"):
        assert piece in text


def test_only_what_operators_do_daily_between_two_changes_is_no_obstacle(cluster, file):
    applied(file, MOVED, "--yes")
    pair = '<nvpair id="mm" name="maintenance-mode" value="true"/>'
    cluster.change(lambda root: root.find("configuration/crm_config")[0].append(etree.fromstring(pair)))
    # In maintenance nothing comes to rest.
    invoke(apply_command.command, file(MOVED.replace("10.77.0.101", "10.77.0.102")), "--yes", "--wait=0")
    assert cluster.value("vip", "ip") == "10.77.0.102"
    assert isinstance(undone("1", "--yes", "--wait=0").exception, (type(None), IncompleteError))
    assert cluster.value("vip", "ip") == "10.77.0.100"
    assert "maintenance-mode" in cluster.configuration().decode()


def test_a_place_where_somebody_was_between_two_changes_is_a_conflict():
    def cib(value):
        pair = f'<nvpair id="v1" name="ip" value="{value}"/>'
        vip = f'<primitive id="vip"><instance_attributes id="v">{pair}</instance_attributes></primitive>'
        return etree.fromstring(f"<cib><configuration><resources>{vip}</resources></configuration></cib>")

    entry = undo_store.Entry
    kept = [
        entry(1, 0.0, "eve", "a", "", cib("1"), cib("2")),
        entry(2, 0.0, "eve", "b", "", cib("9"), cib("3")),
    ]
    taken = undo.chosen(kept, 1)
    with pytest.raises(RefusedError, match="parameter ip of vip was changed, and somebody has changed it again"):
        undo.refuse(taken, cib("3"), False)
    assert undo.chosen(kept, None).entries == (kept[1],)
    undo.refuse(undo.chosen(kept, None), cib("3"), False)
    # What is not forced leaves the other one's value.
    found = revert.revert(cib("9"), kept[0].before, kept[0].after, force=False)
    assert (found.changes, len(found.conflicts), content(found.tree)) == ((), 1, content(cib("9")))


def test_a_value_that_somebody_changed_again_is_told(cluster, file):
    applied(file, MOVED, "--yes")
    cluster.change(lambda root: root.find(".//nvpair[@name='ip']").set("value", "10.77.0.222"))
    assert isinstance(undone("--yes").exception, RefusedError)
    told = undone("--yes", "--despite-changes")
    assert "note: parameter ip of vip was changed, and somebody has changed it again since" in told.stderr
    assert cluster.value("vip", "ip") == "10.77.0.100"


def test_another_clusters_change_is_not_taken_back(cluster, file):
    undo_store.add("apply x.yml", "elsewhere", cluster.root, cluster.root)
    assert "is of the cluster elsewhere" in str(undone("--yes").exception)
    refused = undone("--yes").exception
    assert isinstance(refused, RefusedError) and "is of the cluster elsewhere, and this is c1" in str(refused)
