"""What would happen if …, asked of Pacemaker's own crm_simulate: every example topology, with each node and each service lost."""

import json
import re

import pytest
from hafailover.crm import (
    generate,
    simulate_failure,
    simulate_places,
    simulate_quorum,
    simulate_run,
    simulate_scene,
    simulate_text,
    simulation,
)
from hafailover.crm import topology as topologies
from hafailover.crm.commands import simulate as command
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.formats import cib
from lxml import etree
from scenes import TOPOLOGIES, pair, scene
from topologies import BASE, invoke, parse, services

pytestmark = pytest.mark.usefixtures("pacemaker")


def everywhere(place):
    return (*place.promoted, *place.running)


def followers(wanted):
    """Address → the primitive it follows, and whether its primary."""
    for vip in wanted.vips.values():
        name, _, role = (vip.follows or "").partition(".")
        if name:
            yield vip.name, name, role == "primary"


def check_addresses(wanted, places):
    """Each address is where what it follows is."""
    for vip, name, primary in followers(wanted):
        members = [place for one, place in places.items() if one == name or one.startswith(f"{name}-")]
        nodes = {node for place in members for node in (place.promoted if primary else everywhere(place))}
        assert set(places[vip].running) <= nodes, (vip, places)
        assert places[vip].running, (vip, places)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_on_paper_everything_runs_where_it_should(name):
    wanted = topologies.load(TOPOLOGIES[name])
    places = simulate_places.places(scene(name).running, ())
    configuration = generate.configuration(wanted)
    assert set(places) == {primitive.id for primitive in configuration.primitives()}
    for primitive, place in places.items():
        assert place.anywhere, primitive
    for service in wanted.services.values():
        if service.type == "mariadb":
            assert places[service.name] == simulate_places.Place(service.nodes[:1], service.nodes[1:])
    check_addresses(wanted, places)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_loss_of_each_node(name):
    wanted = topologies.load(TOPOLOGIES[name])
    for lost in wanted.nodes:
        result = simulation.simulate(scene(name), [lost])
        assert result.quorum.quorate
        assert result.whole, (lost, result.stopped)
        assert result.fewer == ()
        assert result.by is not None
        left = [node for node in wanted.nodes if node != lost]
        for primitive, place in result.after.items():
            assert lost not in everywhere(place)
            was = result.before[primitive]
            # Where it ran it stays, and only what was on the lost node goes anywhere.
            stayed = set(everywhere(was)) - {lost}
            assert stayed <= set(everywhere(place)), (lost, primitive)
            if was.promoted == (lost,):
                assert place.promoted and place.promoted[0] in was.running
            else:
                assert place.promoted == was.promoted
        assert all(step.node in left or step.action == simulate_run.FENCE for step in result.steps)
        fenced = [step.node for step in result.steps if step.action == simulate_run.FENCE]
        assert fenced == ([lost] if generate._properties(wanted)["stonith-enabled"] == "true" else [])
        check_addresses(wanted, result.after)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_failure_of_each_service(name):
    wanted = topologies.load(TOPOLOGIES[name])
    before = simulate_places.places(scene(name).running, ())
    for service in (*wanted.services, *wanted.vips):
        # One of its resources stands for all: a group's members are restarted together.
        primitive = next(one for one in before if one == service or one.startswith(f"{service}-"))
        place = before[primitive]
        node = everywhere(place)[0]
        result = simulation.simulate(scene(name), [f"{primitive}@{node}"])
        assert result.whole and result.fewer == (), (primitive, result.stopped, result.fewer)
        assert [one.failure.node for one in result.seen] == [node]
        assert result.seen[0].noticed and result.seen[0].at_most > 0
        actions = [(step.action, step.resource, step.node) for step in result.steps]
        if place.promoted:
            assert result.after[primitive].promoted and node not in result.after[primitive].promoted
            assert actions.index(("demote", primitive, node)) < actions.index(
                ("promote", primitive, result.after[primitive].promoted[0])
            )
        assert ("start", primitive, node) in actions  # it is brought back where it was, or is told to start again
        check_addresses(wanted, result.after)
        assert not any(action == simulate_run.FENCE for action, _, _ in actions)


def test_an_address_comes_after_the_promotion_it_follows():
    result = simulation.simulate(pair(), ["db1"])
    assert [(step.action, step.resource, step.node) for step in result.steps] == [
        ("promote", "db", "db2"),
        ("start", "vip", "db2"),
    ]
    # Notifications before and after the promotion count, although nobody wants to read them.
    assert [(step.at_most, step.by) for step in result.steps] == [(120, 180), (20, 260)]
    assert result.by == pytest.approx(260 + 3 * 2.2)
    assert "nothing fences db1" in result.notes[0]


def test_a_stop_that_fails_has_the_node_fenced():
    result = simulation.simulate(scene("mariadb-production"), ["shop-db"], stop_fails=True)
    assert [(step.action, step.resource, step.failed) for step in result.steps][:2] == [
        ("stop", "shop-db", True),
        (simulate_run.FENCE, "", False),
    ]
    assert result.whole
    blocked = simulation.simulate(pair(), ["vip"], stop_fails=True)
    assert blocked.stopped == ("vip runs nowhere",)
    assert any(note.startswith("vip stays blocked") for note in blocked.notes)
    with pytest.raises(UsageError, match="--stop-fails is about a resource"):
        simulation.simulate(pair(), ["db1"], stop_fails=True)


def test_without_quorum_everything_stops():
    result = simulation.simulate(pair(), ["db1", "quorum-device"])
    assert not result.quorum.quorate
    assert set(result.stopped) == {"db runs nowhere", "vip runs nowhere"}
    kept = simulation.simulate(pair(), ["db1", "quorum-device"], quorum=True)
    assert kept.whole
    # The device alone is missed by nobody.
    assert simulation.simulate(pair(), ["quorum-device"]).steps == ()
    assert simulation.simulate(pair(), ["db1", "db2"]).after["db"] == simulate_places.Place((), ())


def test_a_replica_that_could_not_take_over_is_no_reason_to_stop_the_primary_for_good():
    result = simulation.simulate(pair(), ["db2", "db"])
    assert result.after["db"] == simulate_places.Place(("db1",), ())
    assert ("start", "db", "db1") in [(step.action, step.resource, step.node) for step in result.steps]


def test_what_nobody_watches_is_not_noticed():
    root = cib.tree(generate.configuration(parse()))
    for op in root.iterfind(".//primitive[@id='vip']//op[@name='monitor']"):
        op.getparent().remove(op)
    result = simulation.simulate(simulate_scene.of_cib(root, "x.xml"), ["vip"])
    assert (result.seen[0].noticed, result.steps) == (False, ())
    assert result.notes[-1] == "nothing happens, because nothing looks"


def test_what_the_cluster_would_do_anyway_is_told_apart():
    root = etree.fromstring(etree.tostring(pair().cib))
    for resource in root.findall("status//lrm_resource[@id='vip']"):
        resource.getparent().remove(resource)
    result = simulation.simulate(simulate_scene.of_cib(root, "x.xml"), ["db2"])
    assert result.notes[0] == "the cluster is not at rest, and would do this without any failure: start vip"
    assert not pair().unrest


def test_remote_nodes_are_no_nodes_that_vote():
    root = cib.tree(generate.configuration(parse()))
    remote = '<primitive id="far" class="ocf" provider="pacemaker" type="remote"/>'
    root.find("configuration/resources").append(etree.fromstring(remote))
    result = simulation.simulate(simulate_scene.of_cib(root, "x.xml"), ["db1"])
    assert result.quorum.text.startswith("db2 is no majority of 2 nodes")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dbb1", "--fail dbb1: unknown node or resource 'dbb1'; .*did you mean 'db1'"),
        ("dbl@db1", "unknown resource 'dbl'; .*did you mean 'db'"),
        ("db@db3", "unknown node 'db3'; allowed: db1, db2; did you mean 'db2'"),
        ("node:vip", "unknown node 'vip'; allowed: db1, db2"),
        ("vip@db2", "vip does not run on db2, but on db1"),
        ("", "unknown node or resource ''"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_the_nearest(word, said):
    with pytest.raises(UsageError, match=said):
        simulation.simulate(pair(), [word])


def test_an_instance_of_a_clone_has_to_be_named():
    with pytest.raises(UsageError, match="mq runs on 2 nodes, say on which it fails: mq@st2-node or mq@st2-secondary"):
        simulation.simulate(scene("stackstorm-pair"), ["mq"])
    # Of a promotable one it is the primary, whatever it is called.
    failures = [
        simulation.simulate(pair(), [word]).seen[0].failure for word in ("db", "db-clone", "resource:db", "db@db1")
    ]
    assert failures == [simulate_failure.Failure("resource", "db1", "db", "Promoted")] * 4


@pytest.mark.parametrize(
    ("lost", "device", "quorate"),
    [((), True, True), (("a",), False, True), (("a",), True, False), (("a", "b"), False, False)],
)
def test_votes_are_counted(lost, device, quorate):
    votes = simulate_quorum.Votes({"a": 1, "b": 1}, 1, 2)
    assert simulate_quorum.after(votes, lost, device).quorate is quorate


def test_votes_as_corosync_tells_them():
    text = (
        "Quorum information\nQuorate:          Yes\n\nVotequorum information\nExpected votes:   3\nTotal votes:      3\n"
        "Quorum:           2  \nFlags:            Quorate Qdevice \n\nMembership information\n"
        "    Nodeid      Votes    Qdevice Name\n         1          1    A,V,NMW 10.77.0.11 (local)\n"
        "         2          1    A,V,NMW 10.77.0.12\n         0          1            Qdevice\n"
    )
    assert simulate_quorum.of_quorumtool(text, {"1": "db1", "2": "db2"}) == simulate_quorum.Votes(
        {"db1": 1, "db2": 1}, 1, 2
    )
    assert simulate_quorum.of_quorumtool("Cannot initialize QUORUM service", {}) is None
    assert simulate_quorum.guessed(["a", "b", "c"], ["a"]).sure
    assert not simulate_quorum.guessed(["a", "b"], ["a"]).sure


def test_times_in_words():
    assert [simulate_text.duration(one) for one in (2.2, 59.96, 60, 260.5, 3900)] == [
        "2.2 s",
        "60 s",
        "1 min",
        "4 min 21 s",
        "1 h 5 min",
    ]


def test_the_command_reads_a_topology_a_cib_with_and_one_without_status(tmp_path):
    file = TOPOLOGIES["mariadb-pair"]
    shown = invoke(command.command, file, "--fail", "db1")
    assert shown.exit_code == 0, shown.exception
    assert re.search(
        r"≤ 2\.2 s  db1: Corosync gives it up .*\n +db2 keeps quorum .*\n +then  promote db on db2 .*\n +start vip",
        shown.stdout,
    )
    report = json.loads(invoke(command.command, file, "--fail", "db1", "-o", "json").stdout)
    assert [step["action"] for step in report["steps"]] == ["promote", "start"]
    assert report["after"]["vip"] == {"promoted": [], "running": ["db2"]}
    bare = tmp_path / "bare.xml"
    bare.write_text(cib.text(generate.configuration(topologies.load(file))))
    on_paper = json.loads(invoke(command.command, bare, "--fail", "db1", "-o", "json").stdout)
    assert on_paper["steps"] == report["steps"]
    assert on_paper["quorum"]["sure"] is False
    saved = tmp_path / "saved.xml"
    saved.write_bytes(etree.tostring(scene("mariadb-pair").cib))
    as_saved = json.loads(invoke(command.command, saved, "--fail", "db1", "-o", "json").stdout)
    assert (as_saved["steps"], as_saved["assumed"]) == (report["steps"], [])
    lost = invoke(command.command, saved, "--fail", "db1", "--quorum", "lost")
    assert lost.exit_code == 4
    assert "! db runs nowhere" in lost.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fail", "a"], "say what to simulate"),
        (["x", "--live", "--fail", "a"], "not both"),
        (["/nonexistent", "--fail", "a"], "/nonexistent: cannot be read: No such file"),
        (["/", "--fail", "a"], "is a directory; name the file in it"),
    ],
)
def test_wrong_use(arguments, said):
    result = invoke(command.command, *arguments)
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


@pytest.mark.parametrize(
    "text",
    [
        "<cib",
        "<cib/>",
        "<cib><configuration/></cib>",
        '<!DOCTYPE a [<!ENTITY b "c">]><cib><configuration>&b;</configuration></cib>',
        '<cib validate-with="pacemaker-3.7" epoch="1" num_updates="0" admin_epoch="0"><configuration><crm_config/><nodes>'
        '<node id="1" uname="a"/></nodes><resources><primitive id="x"/></resources><constraints/></configuration><status/></cib>',
    ],
)
def test_a_hostile_or_broken_cib_is_a_sentence(text, tmp_path):
    file = tmp_path / "c.xml"
    file.write_text(text)
    result = invoke(command.command, file, "--fail", "a")
    assert result.exception.__class__.__name__ in ("UsageError", "HafailoverError"), result.exception
    assert str(result.exception)


def test_a_cib_of_a_newer_pacemaker_is_a_sentence():
    root = cib.tree(generate.configuration(parse()))
    root.set("crm_feature_set", "3.99.0")
    with pytest.raises(HafailoverError, match=r"most likely of a newer Pacemaker \(crm_feature_set 3.99.0\)"):
        simulate_scene.of_cib(root, "x.xml")


def test_an_address_away_from_its_primary_is_told():
    root = etree.fromstring(etree.tostring(pair().cib))
    meta = '<meta_attributes id="vipm"><nvpair id="vipmm" name="is-managed" value="false"/></meta_attributes>'
    root.find(".//primitive[@id='vip']").append(etree.fromstring(meta))
    result = simulation.simulate(simulate_scene.of_cib(root, "x"), ["db"])
    assert result.problems == ("vip is on db1, away from the primary of db-clone on db2",)
    assert not result.whole


def test_a_domain_in_the_names_of_the_nodes(tmp_path):
    text = cib.text(generate.configuration(parse())).replace("db1", "db1.dc.example").replace("db2", "db2.dc.example")
    file = tmp_path / "cib.xml"
    file.write_text(text)
    told = invoke(command.command, file, "--fail", "db1.dc.example", "--quorum", "kept", "-o", "json")
    answer = json.loads(told.stdout)
    assert [(one["kind"], one["node"]) for one in answer["failures"]] == [("node", "db1.dc.example")]
    assert answer["before"]["db"] == {"promoted": ["db1.dc.example"], "running": ["db2.dc.example"]}
    assert answer["after"]["vip"]["running"] == ["db2.dc.example"]
    told = invoke(command.command, file, "--fail", "db@db2.dc.example", "-o", "json")
    assert [(one["resource"], one["node"]) for one in json.loads(told.stdout)["failures"]] == [("db", "db2.dc.example")]
    for word in ("db1", "db@db1"):
        assert "did you mean 'db1.dc.example'" in str(invoke(command.command, file, "--fail", word).exception)


def test_a_role_is_told_in_the_words_of_operators(tmp_path):
    def role(word, text=BASE):
        file = tmp_path / "t.yml"
        file.write_text(text)
        (failure,) = json.loads(invoke(command.command, file, "--fail", word, "-o", "json").stdout)["failures"]
        return failure.get("role")

    assert (role("db"), role("db@db2"), role("vip")) == ("primary", "replica", None)
    assert role("cache@db1", services("  cache: {type: memcached}\n")) is None
