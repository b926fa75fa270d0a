"""A source of twice the size is twice the work to import, also one of which little loads: counted, as in test_scale."""

import pytest
from hafailover.crm import corosync, corosync_conf, generate, importing, topology, yamldoc
from hafailover.crm.formats import cib
from lxml import etree
from test_importing_hostile import CONF, clone, document, primitive
from test_scale import counted, scale

CONFIGURED = corosync_conf.parse(CONF)


def cluster(nodes, resources):
    """What hafailover made itself: all of it loads."""
    wanted = topology.parse(yamldoc.parse(scale.text(nodes, resources), "scale.yml"))
    root = cib.parse(cib.text(generate.configuration(wanted)), "scale.xml")
    return root, corosync_conf.parse(corosync.text(wanted), "corosync.conf")


def tie(kind, id, **about):
    return etree.Element(kind, {"id": id, **{name.replace("_", "-"): value for name, value in about.items()}})


def database(i, datadir=None):
    """One that can be beside others on its nodes."""
    apart = {"datadir": datadir or f"/srv/m{i}", "socket": f"/run/m{i}.sock", "replication_port": str(20000 + i)}
    return clone(f"c{i}", primitive(f"m{i}", "ocf:heartbeat:mysql", **apart), promotable="true")


def circles(count):
    """Each service waits for the one before it, and the first for the last; each address comes before its service, too."""
    root = document()
    resources, constraints = root.find("configuration/resources"), root.find("configuration/constraints")
    for i in range(count):
        resources.append(
            primitive(f"ip{i}", "ocf:heartbeat:IPaddr2", ip=f"10.{i // 200}.1.{i % 200}", cidr_netmask="8")
        )
        resources.append(database(i))
        constraints.append(tie("rsc_order", f"o{i}", first=f"ip{i}", then=f"c{i}"))
        constraints.append(tie("rsc_order", f"p{i}", first=f"c{(i + 1) % count}", then=f"c{i}"))
    return root, CONFIGURED


def chain(count):
    """The first service does not load, and each waits for the one before it."""
    root = document()
    resources, constraints = root.find("configuration/resources"), root.find("configuration/constraints")
    for i in range(count):
        resources.append(database(i, None if i else "no path"))
        if i:
            constraints.append(tie("rsc_order", f"o{i}", first=f"c{i - 1}", then=f"c{i}"))
    return root, CONFIGURED


def wrong(count):
    """Nothing of it loads, and no address of a node is known."""
    root = document()
    for i in range(count):
        resources = root.find("configuration/resources")
        resources.append(primitive(f"ip{i}", "ocf:heartbeat:IPaddr2", ip=f"999.{i}", cidr_netmask="8"))
        resources.append(
            clone(f"c{i}", primitive(f"m{i}", "ocf:heartbeat:mysql", datadir="no path"), promotable="true")
        )
    return root, None


def work(made):
    root, conf = made
    found = []
    calls = counted(lambda: found.append(importing.run(root, "c.xml", conf)))
    return calls, found[0]


# The loader tells a person no more than 200 things at once; the circles are beyond that.
@pytest.mark.parametrize(("shape", "count"), [(circles, 105), (chain, 50), (wrong, 50)])
def test_what_does_not_load_costs_no_more_than_its_size(shape, count):
    work(shape(5))  # whatever is remembered after the first time is remembered
    (small, _), (large, found) = work(shape(count)), work(shape(2 * count))
    assert found.compared and found.lacking
    assert large < 2.3 * small


def test_what_loads_costs_no_more_than_its_size():
    work(cluster(4, 20))
    (small, _), (large, found) = work(cluster(4, 60)), work(cluster(8, 120))
    assert found.compared and not found.lacking and not found.differences
    assert large < 2.3 * small


def test_the_largest_cluster_is_imported_within_seconds():
    made = cluster(32, 500)
    # Several times what it takes, for a machine that is busy.
    assert scale.measure(lambda: importing.run(made[0], "c.xml", made[1]), 1) < 5.0


def test_a_broken_chain_is_compared_but_for_its_first_link():
    found = importing.run(chain(6)[0], "c.xml", CONFIGURED)
    said = [str(one) for one in found.differences]
    assert "services.m0: could not be compared: the topology does not load with it" in said
    assert not any("services.m" in one and "services.m0" not in one for one in said)
