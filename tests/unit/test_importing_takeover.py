"""The way docs/import.md goes from a cluster of others to a topology, in Pacemaker's simulator: what would stop is seen before."""

import copy
import subprocess
from pathlib import Path

import pytest
from hafailover.crm import corosync_conf, generate, importing, topology, validate, yamldoc
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.merge import merge
from lxml import etree
from test_importing_hostile import pair

DATA = Path(__file__).parent / "data" / "import"
TAKEN = ("p_ip_mysql", "ms_mysql")  # what another agent takes over, by the outermost resource


def source():
    """A pair with stock agents, all of it up, and a daemon that no topology takes."""
    root = cib.load(str(DATA / "mysql-pair.xml")).root
    for one in root.xpath("//nvpair[@name='standby']|//rsc_location[starts-with(@id, 'cli-')]"):
        one.getparent().remove(one)
    proxy = '<primitive id="p_proxy" class="systemd" type="haproxy"/>'
    root.find("configuration/resources").append(etree.fromstring(proxy))
    return root


@pytest.fixture
def simulate(pacemaker, tmp_path):
    def run(root, *options):
        (tmp_path / "in.xml").write_bytes(etree.tostring(root))
        argv = ["crm_simulate", "-x", tmp_path / "in.xml", "--simulate", "-O", tmp_path / "out.xml", *options]
        done = subprocess.run([str(one) for one in argv], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return etree.parse(str(tmp_path / "out.xml")).getroot(), done.stdout

    return run


@pytest.fixture
def running(simulate):
    return simulate(source(), "--node-up", "db1", "--node-up", "db2", "--quorum", "true")[0]


def maintained(root, on=True):
    """The same, in maintenance mode or no more."""
    root = copy.deepcopy(root)
    properties = root.find("configuration/crm_config/cluster_property_set")
    for one in properties.findall("nvpair[@name='maintenance-mode']"):
        properties.remove(one)
    if on:
        properties.append(pair("maintenance-mode", "true"))
    return root


def without_taken(root, refreshed):
    """The CIB when the resources that another agent takes over are deleted; ``refreshed``: their history as well."""
    root = copy.deepcopy(root)
    for id in TAKEN:
        for one in root.xpath(f"configuration/resources/*[@id='{id}']|configuration/constraints/*[@*='{id}']"):
            one.getparent().remove(one)
    for one in (
        root.xpath("status//lrm_resource[starts-with(@id, 'p_ip_mysql') or starts-with(@id, 'p_mysql')]")
        if refreshed
        else ()
    ):
        one.getparent().remove(one)
    return root


def wanted():
    found = importing.run(source(), "c.xml", corosync_conf.read(DATA / "mysql-pair.corosync.conf"))
    assert found.lacking == ()
    return topology.parse(yamldoc.parse(found.text, "t.yml"))


def actions(text):
    begin = text.index("Transition Summary:")
    end = text.find("Executing Cluster Transition:")
    return [line.strip(" *") for line in text[begin:end].splitlines()[1:] if line.strip()]


FOUND = (("p_ip_mysql", "db1", "0"), ("p_mysql", "db1", "8"), ("p_mysql", "db2", "0"))
"""What a probe answers: resource, node, exit code (8: it runs, promoted)."""


@pytest.fixture
def applied(simulate, running):
    """The cluster after step 5: still in maintenance mode, the topology is applied, and the agents have found what runs."""
    gone = without_taken(maintained(running), refreshed=True)
    gone.set("validate-with", "pacemaker-3.7")  # cibadmin --upgrade
    new = merge(gone, cib.tree(generate.configuration(wanted()))).tree
    probed, text = simulate(new)
    assert actions(text) == []
    for id, node, code in FOUND:
        (probe,) = probed.xpath(
            f"status/node_state[@uname='{node}']//lrm_resource[starts-with(@id, '{id}')]/lrm_rsc_op"
        )
        assert (probe.get("operation"), probe.get("interval"), probe.get("rc-code")) == ("monitor", "0", "7")
        probe.set("rc-code", code)
        probe.set("transition-magic", f"0:{code};{probe.get('transition-key')}")
    return probed


def test_what_is_deleted_and_not_forgotten_would_be_stopped_and_is_seen_before(simulate, running):
    deleted = without_taken(maintained(running), refreshed=False)
    assert actions(simulate(deleted)[1]) == []
    stopped = actions(simulate(maintained(deleted, on=False))[1])
    assert len(stopped) == 3 and all(one.startswith("Stop ") for one in stopped)
    forgotten = without_taken(maintained(running), refreshed=True)
    assert actions(simulate(maintained(forgotten, on=False))[1]) == []


def test_an_end_of_the_maintenance_before_the_primary_is_known_takes_its_address_away_and_is_seen_before(
    simulate, applied
):
    seen = actions(simulate(maintained(applied, on=False))[1])
    assert any(one.split()[:2] == ["Stop", "p_ip_mysql"] for one in seen)


def test_once_the_primary_is_known_nothing_stops_or_restarts(simulate, applied):
    known = copy.deepcopy(applied)
    for state in known.findall("status/node_state"):
        score = "100" if state.get("uname") == "db1" else "50"
        for old in state.findall("transient_attributes"):
            state.remove(old)
        attributes = etree.SubElement(
            etree.SubElement(state, "transient_attributes", id=state.get("id")), "instance_attributes"
        )
        attributes.set("id", f"status-{state.get('id')}")
        attributes.append(pair("master-p_mysql", score))
        attributes[-1].set("id", f"status-{state.get('id')}-master")
    seen = actions(simulate(maintained(known, on=False))[1])
    assert seen == []


def test_a_cib_in_old_words_is_upgraded_before_it_takes_a_topology(simulate, running):
    gone = without_taken(maintained(running), refreshed=True)
    merged = merge(gone, cib.tree(generate.configuration(wanted()))).tree
    with pytest.raises(UsageError, match="not valid under"):
        validate.validate(merged, "cib")
    merged.set("validate-with", "pacemaker-3.7")
    assert validate.validate(merged, "cib") is None
