"""Who could fence and who has quorum, in what simulate says: CIBs of three nodes, by Pacemaker's own crm_simulate."""

import re

import pytest
from hafailover.crm import (
    simulate_places,
    simulate_quorum,
    simulate_run,
    simulate_scene,
    simulate_text,
    simulation,
)
from hafailover.crm.formats import cib
from lxml import etree
from scenes import pair

pytestmark = pytest.mark.usefixtures("pacemaker")
NODES = "".join(f'<node id="{number}" uname="n{number}"/>' for number in (1, 2, 3))
DEVICE = '<primitive id="f" class="stonith" type="fence_x"><instance_attributes id="fa">{0}</instance_attributes></primitive>'


def host_list(names):
    return DEVICE.format(f'<nvpair id="fh" name="pcmk_host_list" value="{names}"/>')


def dummy(name, operation='interval="10s" timeout="20s"', tag="op"):
    op = f'<operations><{tag} id="{name}m" name="monitor" {operation}/></operations>' if operation else ""
    return f'<primitive id="{name}" class="ocf" provider="heartbeat" type="Dummy">{op}</primitive>'


def three(resources, *, more="", nodes=NODES, levels=""):
    """A scene of a CIB without status; ``a`` runs on n2."""
    text = (
        '<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.7" epoch="1" num_updates="0" admin_epoch="0"><configuration>'
        f'<crm_config><cluster_property_set id="o"><nvpair id="o1" name="stonith-enabled" value="true"/>'
        "</cluster_property_set></crm_config>"
        f"<nodes>{nodes}</nodes><resources>{resources}</resources><constraints>"
        f'<rsc_location id="l" rsc="a" node="n2" score="100"/>{more}</constraints>{levels}</configuration><status/></cib>'
    )
    return simulate_scene.of_cib(cib.parse(text, "x.xml"), "x.xml")


def test_a_fencing_that_no_device_can_do_does_not_happen():
    result = simulation.simulate(three(host_list("n1") + dummy("a")), ["n2"])
    assert result.problems == (
        "nothing can fence n2: no fence device is for it; what waits for it never comes: start a on "
        + result.held[0].node,
    )
    assert (result.whole, result.by, result.after["a"]) == (False, None, simulate_places.Place((), ()))
    assert [step.at_most for step in result.steps if step.action == simulate_run.FENCE] == [None]
    assert result.as_dict()["steps"][-1]["never"]
    text = "\n".join(simulate_text.lines(result))
    assert "waits for the fencing of n2, for ever" in text and "! nothing can fence n2" in text
    # The node that fails is not the one that could not be fenced.
    assert simulation.simulate(three(host_list("n1 N2") + dummy("a")), ["n2"]).whole


BANNED = "".join(f'<rsc_location id="b{one}" rsc="f" node="n{one}" score="-INFINITY"/>' for one in (1, 3))
LEVEL = '<fencing-topology><fencing-level id="v" index="1" target="n2" devices="{0}"/></fencing-topology>'


@pytest.mark.parametrize(
    ("device", "more", "levels", "said"),
    [
        (host_list("n2"), "", "", ""),
        (host_list("n2"), BANNED, "", r"f may be used on no node that is left \(n1, n3\)"),
        (DEVICE.format('<nvpair id="fh" name="pcmk_host_map" value="n2:7;n3:8"/>'), "", "", ""),
        (
            DEVICE.format('<nvpair id="fh" name="pcmk_host_map" value="n1:7;n3:8"/>'),
            "",
            "",
            "no fence device is for it",
        ),
        (
            DEVICE.format('<nvpair id="fh" name="pcmk_host_map" value="n1:7,n2;n3:8"/>'),
            "",
            "",
            "no fence device is for it",
        ),
        (host_list("n2"), "", LEVEL.format("f"), ""),
        (host_list("n2"), "", LEVEL.format("f,other"), "no level of its fencing topology .*other is not there"),
        (DEVICE.format(""), "", "", ""),
    ],
)
def test_who_can_fence(device, more, levels, said):
    result = simulation.simulate(three(device + dummy("a"), more=more, levels=levels), ["n2"])
    assert len(result.problems) == bool(said)
    assert re.search(said, "".join(result.problems))
    assert any("only the device knows" in note for note in result.notes) is ("pcmk" not in device)


def test_nodes_that_are_away_have_no_vote_and_a_loss_brings_no_quorum():
    root = three(host_list("n1 n2 n3") + dummy("a")).cib
    state = root.find("status/node_state[@uname='n3']")
    for key, value in {"in_ccm": "false", "crmd": "offline", "join": "down", "expected": "down"}.items():
        state.set(key, value)
    scene = simulate_scene.of_cib(root, "x.xml")
    assert scene.away == ("n3",)
    assert not simulation.simulate(scene, ["n2"]).quorum.quorate
    root.set("have-quorum", "0")
    assert not simulation.simulate(simulate_scene.of_cib(root, "x.xml"), ["n3"]).quorum.quorate
    assert simulate_quorum.guessed(["a", "b", "c"], [], ["a"]).quorate


@pytest.mark.parametrize("operation", ["", 'interval="10s" timeout="20s" on-fail="ignore"'])
def test_what_is_dead_and_shown_as_started_is_no_service(operation):
    result = simulation.simulate(three(host_list("n1 n2 n3") + dummy("a", operation)), ["a"])
    assert result.problems == ("a is dead on n2, and the cluster shows it as started",)
    assert result.stopped == ("a runs nowhere",)


def test_intervals_are_read_as_pacemaker_reads_them():
    result = simulation.simulate(three(host_list("n1 n2 n3") + dummy("a", 'interval="PT10S" timeout="PT20S"')), ["a"])
    assert (result.seen[0].noticed, result.seen[0].at_most) == (True, 30)
    assert [step.action for step in result.steps] == ["stop", "start"]


def test_two_instances_on_one_node_need_no_choice():
    pairs = "".join(
        f'<nvpair id="u{name}" name="{name}" value="{value}"/>'
        for name, value in (("globally-unique", "true"), ("clone-max", "2"), ("clone-node-max", "2"))
    )
    clone = f'<clone id="uc"><meta_attributes id="ucm">{pairs}</meta_attributes>{dummy("u")}</clone>'
    bans = "".join(f'<rsc_location id="b{one}" rsc="uc" node="n{one}" score="-INFINITY"/>' for one in (2, 3))
    result = simulation.simulate(three(host_list("n1 n2 n3") + dummy("a") + clone, more=bans), ["u"])
    assert ("stop", "u") in [(step.action, step.resource) for step in result.steps]


def test_what_is_said_of_block_of_maintenance_and_of_the_device():
    blocked = simulation.simulate(three(host_list("n2") + dummy("a", 'interval="10s" on-fail="block"')), ["a"])
    assert any(note.endswith("its monitor's on-fail is block") for note in blocked.notes)
    resting = '<nvpair id="o2" name="maintenance-mode" value="true"/>'
    root = etree.fromstring(etree.tostring(three(host_list("n2") + dummy("a")).cib))
    root.find("configuration/crm_config/cluster_property_set").append(etree.fromstring(resting))
    assert (
        simulation.simulate(simulate_scene.of_cib(root, "x"), ["a"])
        .notes[0]
        .startswith("the cluster is in maintenance mode")
    )
    lost = simulation.simulate(pair(), ["db1", "quorum-device"])
    assert lost.seen[1].text.endswith("without its vote nobody has quorum")
