"""Fence devices of a source: what is drafted loads, and what is lost with it is told."""

from pathlib import Path

import pytest
from hafailover.crm import corosync, corosync_conf, generate, importing, topology, yamldoc
from hafailover.crm.commands.import_ import command
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from lxml import etree
from test_importing_hostile import CONF, checked, clone, document, pair, primitive
from topologies import EXAMPLES, invoke

DATA = Path(__file__).parent / "data"
OURS = [*EXAMPLES, *sorted((DATA / "fencing").glob("*.yml"))]
OTHERS = [*sorted((DATA / "import").glob("*.xml")), *sorted((DATA / "cibs").glob("*.xml"))]
LONG = [("1", "db1.example.org"), ("2", "db2.example.org")]


@pytest.mark.parametrize("with_corosync", [True, False])
@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_what_a_topology_generates_is_drafted_so_that_it_loads(path, with_corosync):
    wanted = topology.load(path)
    root = cib.parse(cib.text(generate.configuration(wanted)), "cib.xml")
    conf = corosync_conf.parse(corosync.text(wanted), "corosync.conf") if with_corosync else None
    found = importing.run(root, "cib.xml", conf)
    assert found.compared
    # Without corosync.conf the addresses of a cluster that no agent was told them are missing, and nothing else.
    assert [one for one in found.lacking if ".links: is missing" not in one and "quorum" not in one] == []
    if not found.lacking:
        result = topology.parse(yamldoc.parse(found.text, "t.yml"))
        if with_corosync:
            assert cib.text(generate.configuration(result)) == cib.text(generate.configuration(wanted))
            assert found.differences == ()


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_the_draft_of_a_cib_of_others_loads_or_it_is_said_why_not(path):
    conf = path.with_suffix(".corosync.conf")
    result = invoke(command, path, *(["--corosync", conf] if conf.exists() else []))
    if isinstance(result.exception, UsageError):
        assert "names no node" in str(result.exception)
        return
    try:
        topology.parse(yamldoc.parse(result.stdout, "t.yml"))
        assert result.exit_code in (0, 4)
    except UsageError:
        assert result.exit_code == 1 and "it does not load yet:\n  " in result.stderr
        assert "# It does not load yet. What is missing:\n# - " in result.stdout


def imported(devices, nodes=(("1", "a"), ("2", "b")), levels="", conf=None):
    root = document(nodes="".join(f'<node id="{id}" uname="{name}"/>' for id, name in nodes))
    root.find("configuration/resources").extend(devices)
    root.find("configuration/crm_config/cluster_property_set").append(pair("cluster-name", "c"))
    if levels:
        root.find("configuration").append(etree.fromstring(f"<fencing-topology>{levels}</fencing-topology>"))
    links = [f"node {{\nname: {name}\nnodeid: {id}\nring0_addr: 10.0.0.{id}\n}}" for id, name in nodes]
    two = "two_node: 1" if len(nodes) == 2 else ""
    text = f"totem {{\nversion: 2\ncluster_name: c\n}}\nnodelist {{\n{chr(10).join(links)}\n}}\nquorum {{\n"
    text += f"provider: corosync_votequorum\n{two}\n}}\n"
    return importing.run(root, "c.xml", corosync_conf.parse(conf or text, "corosync.conf"))


def fence(id, agent="fence_x", **params):
    return primitive(id, f"stonith:{agent}", **params)


def told(found, *kinds):
    return "\n".join(str(one) for one in found.notes if not kinds or one.kind in kinds)


def test_outlets_and_waits_go_on_under_the_new_names():
    device = fence(
        "pdu",
        pcmk_host_map="db1.example.org:7;db2.example.org:8",
        pcmk_delay_base="db1.example.org:10s;db2.example.org:0s",
    )
    found = imported([device], LONG)
    assert found.lacking == ()
    assert found.data["fencing"]["pcmk_host_map"] == "db1:7;db2:8"
    assert found.data["fencing"]["pcmk_delay_base"] == "db1:10s;db2:0s"


def test_a_device_for_some_nodes_keeps_the_outlet_and_wait_of_each():
    device = fence("pdu", pcmk_host_map="a.x:7;b.x=8", pcmk_delay_base="a.x:10s;b.x:20s")
    found = imported([device, fence("own", pcmk_host_list="c.x", plug="9")], [("1", "a.x"), ("2", "b.x"), ("3", "c.x")])
    assert found.lacking == ()
    nodes = found.data["nodes"]
    assert nodes["a"]["fence"] == {"agent": "fence_x", "pcmk_host_map": "a:7", "delay": "10s"}
    assert nodes["b"]["fence"] == {"agent": "fence_x", "pcmk_host_map": "b:8", "delay": "20s"}
    assert nodes["c"]["fence"] == {"agent": "fence_x", "plug": 9}


def test_a_device_that_is_told_the_name_of_a_node_still_gets_the_one_it_knows():
    found = imported([fence("vm", pcmk_host_list="db1.example.org db2.example.org")], LONG)
    assert found.data["fencing"]["pcmk_host_map"] == "db1:db1.example.org;db2:db2.example.org"
    assert "keeps db1.example.org" in told(found, "assumed")


def test_a_name_that_begins_another_one_comes_behind_it():
    nodes = [(str(number), name) for number, name in enumerate(("n.x", "n1.x", "n12.x"), 1)]
    found = imported([fence("vm", pcmk_host_list="n.x n1.x n12.x", pcmk_delay_base="n12.x:3s;n1.x:2s;n.x:1s")], nodes)
    assert found.data["fencing"]["pcmk_delay_base"] == "n12:3s;n1:2s;n:1s"


def test_a_device_is_for_the_nodes_of_its_list_and_of_its_map_in_whatever_case():
    found = imported([fence("pdu", pcmk_host_list="A", pcmk_host_map="B=2 a:1")])
    assert found.data["fencing"]["pcmk_host_map"] == "b:2;a:1"


def test_outlets_of_strangers_are_told():
    found = imported([fence("pdu", pcmk_host_map="a:1;b:2;gone:3", pcmk_delay_base="a:5s;gone:6s")])
    assert found.lacking == ()
    assert "pcmk_host_map names gone" in told(found, "left-out") and "pcmk_delay_base names gone" in told(
        found, "left-out"
    )


def test_two_devices_for_a_node_are_never_passed_over_in_silence():
    each = [fence(f"ipmi-{node}", "fence_ipmilan", pcmk_host_list=node, ip=f"10.1.0.{ord(node)}") for node in "ab"]
    both = fence("pdu", pcmk_host_map="a:1;b:2")
    found = imported([*each, both])
    assert found.lacking == () and {"fence", "id", "links"} == set(found.data["nodes"]["a"]) and "fencing" in found.data
    assert "can be switched off by fence and by fencing: each is enough by itself" in told(found, "assumed")
    twice = imported([*each, fence("old", pcmk_host_list="a", plug="3")])
    assert "old: is a second device for a" in told(twice, "left-out")
    second = imported([both, fence("pdu2", pcmk_host_map="a:1;b:2")])
    assert "pdu2: is a second device for all nodes" in told(second, "left-out")


def level(node, index, devices):
    return f'<fencing-level id="l-{node}-{index}" target="{node}" index="{index}" devices="{devices}"/>'


def test_of_several_levels_the_first_is_kept_and_the_order_is_told():
    devices = [
        fence("last", pcmk_host_list="a", plug="3"),
        fence("first", pcmk_host_list="a", plug="4"),
        fence("b1", pcmk_host_list="b"),
    ]
    found = imported(devices, levels=level("a", 2, "last") + level("a", 1, "first"))
    assert found.data["nodes"]["a"]["fence"]["plug"] == 4
    assert "fencing levels of a: 2 levels, tried one after the other" in told(found, "left-out")
    assert "last: is a second device for a" in told(found, "left-out")


def test_devices_that_must_act_together_are_not_taken_one_by_one():
    """A node with two power supplies goes on when one of them is switched off, and would count as down."""
    devices = [fence(f"pdu{number}", pcmk_host_map="a:1;b:2", ip=f"10.1.0.{number}") for number in (1, 2)]
    found = imported(devices, levels=level("a", 1, "pdu1,pdu2") + level("b", 1, "pdu1,pdu2"))
    assert "fencing" not in found.data and not any("fence" in node for node in found.data["nodes"].values())
    assert any("nothing can switch a off" in one for one in found.lacking)
    assert "level 1 needs all of pdu1, pdu2" in told(found, "left-out")
    # A board beside them is enough by itself.
    boards = [fence(f"ipmi-{node}", "fence_ipmilan", pcmk_host_list=node, ip=f"10.1.1.{ord(node)}") for node in "ab"]
    every = "".join(level(node, 1, f"ipmi-{node}") + level(node, 2, "pdu1,pdu2") for node in "ab")
    found = imported([*devices, *boards], levels=every)
    assert found.lacking == () and found.data["nodes"]["b"]["fence"]["agent"] == "fence_ipmilan"


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ([fence("d", pcmk_host_list="a b", plug="7")], "plug is one outlet for a, b"),
        ([fence("d", pcmk_host_map="a:1;b:1")], "pcmk_host_map has the outlet"),
        ([fence("d", pcmk_host_list="a b", pcmk_reboot_action="monitor")], "pcmk_reboot_action is"),
        ([fence("d", pcmk_host_list="a b", pcmk_host_argument="none")], "pcmk_host_argument is none"),
        ([fence("d", pcmk_host_list="a b", pcmk_delay_base="soon")], "pcmk_delay_base is no time"),
        ([fence("d", pcmk_host_list="a b", pcmk_delay_base="20s", pcmk_delay_max="10s")], "shorter than delay"),
        ([fence(f"d{node}", pcmk_host_list=node, pcmk_delay_base="9s") for node in "ab"], "is 9s for a too"),
        ([fence("d", pcmk_host_list="a b", action="reboot")], "action has no place"),
        (
            [fence("d", pcmk_host_list="a b", delay="5", pcmk_delay_base="7s", pcmk_delay_max="9s")],
            "the second is kept",
        ),
        ([clone("c", fence("d", pcmk_host_list="a b", plug="7"))], "plug is one outlet for a, b"),
    ],
)
def test_what_the_loader_refuses_of_a_device_is_left_out_and_told(devices, words):
    found = imported(devices)
    assert found.lacking == () and found.compared
    assert words in told(found, "left-out")


def test_two_nodes_with_the_same_machine_behind_their_devices_do_not_load_and_the_reason_is_told():
    found = imported([fence(f"d{node}", "fence_ipmilan", pcmk_host_list=node, ip="10.1.0.1") for node in "ab"])
    assert "switches off the device of a too" in told(found, "left-out")
    assert any("nothing can switch b off" in one for one in found.lacking)


def test_names_with_a_domain_are_shortened_where_they_stay_apart_and_it_is_said_what_to_do():
    found = imported([fence("d", plug="1", pcmk_host_list="db1.example.org")], LONG)
    assert list(found.data["nodes"]) == ["db1", "db2"]
    note = next(one for one in found.notes if one.where == "node db1.example.org")
    assert "apply refuses" in note.text and "while the whole cluster is stopped" in note.fix
    assert "corosync.conf node db1.example.org: is called db1; that takes a stop of the whole cluster" in map(
        str, found.differences
    )
    same = imported([], [("1", "db.one"), ("2", "db.two")])
    assert list(same.data["nodes"]) == ["db-one", "db-two"]


def test_a_node_with_its_domain_in_a_topology_is_refused_with_what_to_do():
    text = EXAMPLES[0].read_text()
    name = next(iter(topology.load(EXAMPLES[0]).nodes))
    with pytest.raises(UsageError, match="leave the domain out"):
        topology.parse(yamldoc.parse(text.replace(f"{name}:", f"{name}.example.org:", 1), "t.yml"))


def test_levels_of_any_form_are_read():
    for xml in (
        'target-pattern="(a+)+$" index="1" devices="x,y"',
        'target-attribute="r" target-value="1" index="x" devices=""',
        "",
    ):
        found = imported([fence("x", pcmk_host_list="a b"), fence("y")], levels=f'<fencing-level id="l" {xml}/>')
        assert found.text
    root = document()
    root.find("configuration").append(etree.fromstring("<fencing-topology><x/></fencing-topology>"))
    assert checked(root) and CONF
