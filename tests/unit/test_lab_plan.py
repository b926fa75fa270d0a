"""What a lab consists of, worked out from a topology without touching the machine."""

import dataclasses
import json

import pytest
from hafailover.crm import topology as topologies
from hafailover.crm import yamldoc
from hafailover.crm.errors import UsageError
from hafailover.vagrant import adapt, network, plan, seed

TWO = {"db1": ["10.9.0.1", "10.9.1.1"], "db2": ["10.9.0.2", "10.9.1.2"]}

REAL = """
version: 1
cluster: {name: real, secrets_dir: /etc/hafailover, authkey: "file:/etc/corosync/key"}
nodes:
  a: {id: 1, links: [192.0.2.1], fence: {agent: fence_ipmilan, ip: 198.51.100.1, password: file:ipmi}}
  b: {id: 4, links: [192.0.2.2], fence: {agent: fence_ipmilan, ip: 198.51.100.2, password: file:ipmi}}
quorum: {device: {host: 192.0.2.9, tls: required}}
vips: {vip: {ip: 192.0.2.100/24, follows: db.primary}}
services: {db: {type: mariadb}}
"""


def topology(text=REAL):
    return topologies.parse(yamldoc.parse(text, "real.yml"))


def by_name(made):
    return {machine.name: machine for machine in made.machines}


def test_one_subnet_per_link():
    made = plan.make("x", TWO)
    assert made.subnets == ("10.9.0.0/24", "10.9.1.0/24")
    assert [i.address for i in by_name(made)["db2"].interfaces] == ["10.9.0.2/24", "10.9.1.2/24"]
    assert [i.subnet for i in by_name(made)["db2"].interfaces] == [0, 1]


def test_the_quorum_host_is_a_machine_of_its_own():
    machine = by_name(plan.make("x", TWO, quorum="10.9.1.77"))["quorum"]
    assert machine.role == plan.QUORUM
    assert [(i.subnet, i.address) for i in machine.interfaces] == [(1, "10.9.1.77/24")]


def test_a_quorum_host_by_name_gets_a_free_address():
    made = plan.make("x", TWO, quorum="arbiter.example.org")
    assert by_name(made)["arbiter"].address.startswith("10.9.0.")


def test_a_spare_machine_is_in_no_cluster():
    made = plan.make("x", TWO, quorum="10.9.1.77", spares=["db3"])
    machine = by_name(made)["db3"]
    assert (machine.role, len(machine.interfaces)) == (plan.SPARE, 2)
    assert seed.units(machine, made) == [] and seed.links(machine, made) == {}
    assert "/var/lib/pacemaker/cib/cib.xml" not in {file.path for file in seed.files(machine, made)}
    assert "db3" in seed.hosts(made)
    with pytest.raises(UsageError, match=r"two machines of the lab would be named db2\."):
        plan.make("x", TWO, spares=["db2"])


def test_a_quorum_host_elsewhere_is_refused():
    with pytest.raises(UsageError, match=r"10\.8\.0\.1 is in none of the nodes' subnets"):
        plan.make("x", TWO, quorum="10.8.0.1")


def test_a_virtual_address_tells_how_wide_its_subnet_is():
    made = plan.make("x", {"a": ["10.9.0.1"], "b": ["10.9.3.2"]}, vips=["10.9.1.1/16"])
    assert made.subnets == ("10.9.0.0/16",)


def test_ipv6_links():
    made = plan.make("x", {"a": ["fd00:9::1"], "b": ["fd00:9::2"]}, quorum="fd00:9::3", vips=["fd00:9::64/64"])
    assert made.subnets == ("fd00:9::/64",)
    assert "fd00:9::1/64 dev eth0 nodad" in network.addresses(by_name(made)["a"].interfaces)


def test_the_client_and_extra_nodes_take_addresses_nobody_has():
    made = plan.make("x", TWO, quorum="10.9.0.9", vips=["10.9.0.254/24"], extra=2)
    used = [i.address.partition("/")[0] for m in made.machines for i in m.interfaces]
    used += [i.address.partition("/")[0] for i in made.client]
    used.append("10.9.0.254")
    assert len(set(used)) == len(used) == 4 + 1 + 4 + 2 + 1
    assert [m.role for m in made.machines] == ["data", "data", "extra", "extra", "quorum"]


def test_a_card_keeps_its_mac_and_no_two_share_one():
    first, second = plan.make("x", TWO), plan.make("x", TWO)
    assert first == second
    macs = [i.mac for m in first.machines for i in m.interfaces]
    assert len(set(macs)) == len(macs)
    assert all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_a_plan_survives_its_file():
    made = plan.make("x", TWO, quorum="10.9.0.9", extra=1)
    assert plan.Plan.from_json(made.to_json()) == made
    small = dataclasses.replace(made, disks=("/var/lib/mysql",), disk_mib=768)
    assert plan.Plan.from_json(json.loads(json.dumps(small.to_json()))) == small


def test_the_databases_datadirs_are_what_may_lie_on_disks_of_their_own():
    assert adapt.datadirs(topology()) == ("/var/lib/mysql",)


def test_an_unknown_node_is_named_with_the_known_ones():
    with pytest.raises(UsageError, match="lab x has no node 'db3'; it has db1, db2"):
        plan.make("x", TWO).machine("db3")


def test_interface_names_fit_the_kernel():
    assert len(network.port(99, 7)) <= 15


def test_cables_and_plugs_name_the_same_ports(tmp_path):
    machine = plan.make("x", TWO).machines[1]
    plugged = network.plug(1, machine.interfaces, tmp_path, up=True)
    for line in network.cable(1, 2, up=False).splitlines():
        assert f"link add {line.split()[2]} type veth" in plugged
    assert "down" in network.plug(1, machine.interfaces, tmp_path, up=False)


def test_fencing_and_tls_are_replaced_and_said_so():
    made = adapt.plan("x", topology())
    changed, notes = adapt.adapt(topology(), made)
    assert {n.fence.agent for n in changed.nodes.values()} == {"fence_lab"}
    assert changed.nodes["a"].fence.parameters["plug"] == "a"
    assert changed.quorum.device.tls == "off"
    assert changed.lab
    assert [note.partition(":")[0] for note in notes] == ["fencing", "quorum device"]
    assert "replaced" in notes[0]


def test_secrets_elsewhere_on_this_machine_are_not_used():
    changed, _ = adapt.adapt(topology(), adapt.plan("x", topology()))
    assert changed.authkey == "file:etc-corosync-key"


def test_extra_nodes_carry_no_service():
    made = adapt.plan("x", topology(), extra=1)
    changed, notes = adapt.adapt(topology(), made)
    assert "algorithm lms" in notes[-1]
    assert changed.nodes["extra1"].id == 5
    assert changed.nodes["extra1"].links == (by_name(made)["extra1"].address,)
    assert changed.services["db"].nodes == ("a", "b")


def test_extra_nodes_end_a_two_node_cluster():
    text = REAL.replace("{device: {host: 192.0.2.9, tls: required}}", "{two_node: true}")
    changed, _ = adapt.adapt(topology(text), adapt.plan("x", topology(text), extra=1))
    assert not changed.quorum.two_node


def test_what_each_machine_starts_at_boot():
    made = plan.make("x", TWO, quorum="10.9.0.9")
    assert seed.units(by_name(made)["db1"], made) == [
        "corosync.service",
        "corosync-qdevice.service",
        "pacemaker.service",
    ]
    assert seed.units(by_name(made)["quorum"], made) == ["corosync-qnetd.service"]
    assert "corosync-qdevice.service" not in seed.units(plan.make("x", TWO).machines[0], plan.make("x", TWO))


def test_the_configuration_on_disk_is_hidden_and_pacemakers():
    made = plan.make("x", TWO)
    cib = next(f for f in seed.files(made.machines[0], made) if f.path.endswith("cib.xml"))
    assert (cib.mode, cib.owner, cib.group) == (0o600, "hacluster", "haclient")
