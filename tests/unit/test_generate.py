import time

import pytest
from golden import check
from hafailover.agents.mariadb import agent as mariadb_agent
from hafailover.agents.ocf_xml import metadata
from hafailover.agents.vip import agent as vip_agent
from hafailover.crm import generate, topology, validate
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh
from hafailover.crm.model import Clone
from lxml import etree
from topologies import EXAMPLES, changed, parse

FENCE = ("id: 1,", "id: 1, fence: {agent: fence_x, ip: 192.0.2.1, password: file:ipmi},")
FENCES = (FENCE, ("id: 2,", "id: 2, fence: {agent: fence_x, ip: 192.0.2.2},"), ("lab: true", "lab: false"))
TWO_NODE = ("{device: {host: 10.77.0.13, tls: off}}", "{two_node: true}")


def made(*replacements):
    return generate.configuration(parse(changed(*replacements)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize(("suffix", "write"), [("xml", cib.text), ("crm", crmsh.text)])
def test_the_examples_generate_what_was_reviewed(path, suffix, write):
    check(f"{path.stem}.{suffix}", write(generate.configuration(topology.load(path))))


@pytest.mark.parametrize(
    "replacements",
    [(), FENCES, (TWO_NODE, *FENCES), (("10.77.0.100/24, ", "10.77.0.100/24, nic: eth0, "),), (("db.primary", "db"),)],
)
def test_what_is_generated_is_valid_under_pacemakers_schema(replacements):
    assert validate.validate(cib.tree(made(*replacements)), "t.yml") is None


def test_the_same_topology_gives_the_same_text():
    assert cib.text(made()) == cib.text(made())


def test_the_address_follows_the_primary_in_place_and_in_time():
    constraints = {constraint.kind: constraint for constraint in made().constraints}
    colocation, order = constraints["rsc_colocation"], constraints["rsc_order"]
    assert [colocation.get(key) for key in ("rsc", "with-rsc", "with-rsc-role", "score")] == [
        "vip",
        "db-clone",
        "Promoted",
        "INFINITY",
    ]
    assert [order.get(key) for key in ("first", "first-action", "then", "then-action", "kind")] == [
        "db-clone",
        "promote",
        "vip",
        "start",
        "Mandatory",
    ]


def test_every_node_is_covered_and_none_fences_itself():
    made_here = made(*FENCES)
    devices = {found.id: found for found in made_here.primitives() if found.agent[0] == "stonith"}
    assert {found.param("pcmk_host_list") for found in devices.values()} == {"db1", "db2"}
    bans = {(found.get("rsc"), found.get("node"), found.get("score")) for found in made_here.constraints}
    assert {("fence-db1", "db1", "-INFINITY"), ("fence-db2", "db2", "-INFINITY")} <= bans
    assert made_here.property("stonith-enabled") == "true"
    assert made().property("stonith-enabled") == "false"


def test_a_fence_secret_is_read_by_a_program_and_is_in_no_cib():
    device = next(found for found in made(*FENCES).primitives() if found.id == "fence-db1")
    assert device.param("password_script") == "/etc/hafailover/fence-db1-password"
    assert device.param("password") is None


def test_only_two_nodes_without_a_third_voter_race_for_fencing():
    race, voted = made(TWO_NODE, *FENCES), made(*FENCES)
    assert race.property("priority-fencing-delay") == "10s"
    assert voted.property("priority-fencing-delay") is None
    delays = [
        [found.param("pcmk_delay_max") for found in one.primitives() if found.agent[0] == "stonith"]
        for one in (race, voted)
    ]
    assert delays == [["5s", "5s"], [None, None]]
    assert [
        next(found for found in one.primitives() if found.id == "db").meta("priority") for one in (race, voted)
    ] == [
        "10",
        None,
    ]


def test_a_service_on_some_nodes_is_kept_from_the_others():
    third = ("quorum:", "  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}\nquorum:")
    here = made(third, ("tls: off", "algorithm: lms"), ("mariadb}", "mariadb, on: [db1, db2]}"))
    clone = next(found for found in here.resources if isinstance(found, Clone))
    assert clone.meta("clone-max") == "2"
    assert ("db-clone", "db3", "-INFINITY") in {
        (found.get("rsc"), found.get("node"), found.get("score")) for found in here.constraints
    }
    assert next(here.primitives()).id == "vip"
    assert (
        next(found for found in here.primitives() if found.id == "db").param("nodes") == "db1:10.77.0.11 db2:10.77.0.12"
    )


def test_names_that_meet_are_refused():
    text = changed(
        (
            "  db: {type: mariadb}",
            "  db: {type: mariadb}\n  db-clone: {type: mariadb, port: 1, datadir: /a, socket: /b}",
        )
    )
    with pytest.raises(UsageError, match="two parts of the configuration would be named db-clone; rename"):
        generate.configuration(parse(text))


def declared(agent):
    root = etree.fromstring(metadata(agent).encode(), etree.XMLParser(load_dtd=False))
    actions = {
        (one.get("name"), one.get("interval"), one.get("role"), one.get("timeout")) for one in root.iter("action")
    }
    return {one.get("name") for one in root.iter("parameter")}, actions


@pytest.mark.parametrize(("name", "agent"), [("db", mariadb_agent), ("vip", vip_agent)])
def test_parameters_and_operations_are_those_the_agent_declares(name, agent):
    everything = (
        "mariadb}",
        "mariadb, port: 3307, datadir: /d, socket: /s.sock, binary: /b, user: me, stall: 1s, patience: 2s}",
    )
    here = made(everything, ("10.77.0.100/24,", "10.77.0.100/24, nic: eth0,"))
    resource = next(found for found in here.primitives() if found.id == name)
    parameters, actions = declared(agent)
    for found in resource.sets("instance_attributes"):
        assert {pair.name for pair in found.pairs} <= parameters
    for op in resource.operations:
        interval = None if op.interval == "0" else op.interval
        assert (op.name, interval, op.get("role"), op.get("timeout")) in actions


def big(nodes, vips, databases):
    lines = ["version: 1", "lab: true", "cluster: {name: big, encryption: off}", "nodes:"]
    lines += [f"  n{i}: {{id: {i + 1}, links: [10.0.{i}.1, 10.1.{i}.1]}}" for i in range(nodes)]
    lines.append("vips:")
    for i in range(vips):
        lines.append(f"  vip{i}: {{ip: 10.0.{100 + i // 200}.{1 + i % 200}/16, follows: db{i % databases}.primary}}")
    lines.append("services:")
    for i in range(databases):
        lines.append(
            f"  db{i}: {{type: mariadb, port: {3306 + i}, datadir: /srv/db{i}, socket: /run/mysqld/db{i}.sock}}"
        )
    return "\n".join(lines)


def test_thirty_two_nodes_and_five_hundred_resources_take_less_than_a_second():
    text = big(32, 450, 50)
    begin = time.process_time()
    configuration = generate.configuration(parse(text))
    root = cib.parse(cib.text(configuration), "big")
    crmsh.text(configuration)
    assert validate.validate(root, "big") is None
    assert cib.read(root).resources == configuration.resources
    assert time.process_time() - begin < 1.0


def test_without_pacemaker_it_is_said_that_nothing_was_validated(monkeypatch, tmp_path):
    monkeypatch.setattr(validate, "SCHEMAS", tmp_path)
    said = validate.validate(cib.tree(made()), "t.yml")
    assert (
        said
        == "the configuration was not validated against Pacemaker's schema: Pacemaker is not installed on this machine"
    )


def test_a_broken_cib_is_refused_with_its_place():
    root = cib.tree(made())
    root.find("configuration/resources")[0].set("class", "no such class")
    with pytest.raises(UsageError, match=r"t\.yml: the configuration is not valid under pacemaker-3\.7\.rng: line"):
        validate.validate(root, "t.yml")


def test_crmsh_is_not_given_what_it_garbles():
    with pytest.raises(UsageError, match="crmsh garbles what is not ASCII"):
        crmsh.text(
            made(
                ("id: 1,", "id: 1, fence: {agent: fence_x, plug: Büro},"),
            )
        )
