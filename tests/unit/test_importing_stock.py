"""Clusters that people built by hand with stock agents, in the style of what is published about them, and what import makes of them."""

import json
import subprocess
from pathlib import Path

import cluster_image
import pytest
from hafailover.crm import corosync_conf, generate, importing, topology, validate, yamldoc
from hafailover.crm.commands.import_ import command
from hafailover.crm.formats import cib
from lxml import etree
from topologies import invoke

DATA = Path(__file__).parent / "data" / "import"
CIBS = sorted(DATA.glob("*.xml"))


def imported(name):
    conf = DATA / f"{name}.corosync.conf"
    return importing.run(
        cib.load(str(DATA / f"{name}.xml")).root, name, corosync_conf.read(conf) if conf.exists() else None
    )


def told(found, kind):
    return [str(note) for note in found.notes if note.kind == kind]


def differs(found):
    return [str(one) for one in found.differences]


@pytest.mark.parametrize("path", CIBS, ids=lambda path: path.stem)
def test_the_sources_are_cibs_as_pacemaker_knows_them(path):
    assert validate.validate(cib.load(str(path)).root, path.name) is None


@pytest.mark.parametrize("path", CIBS, ids=lambda path: path.stem)
def test_crm_verify_takes_the_sources_and_what_is_made_of_them(path, tmp_path):
    cluster_image.need()
    found = imported(path.stem)
    (tmp_path / "source.xml").write_bytes(etree.tostring(cib.load(str(path)).root))
    files = ["source.xml"]
    if not found.lacking:
        made = generate.configuration(topology.parse(yamldoc.parse(found.text, "t.yml")))
        (tmp_path / "result.xml").write_text(cib.text(made))
        files.append("result.xml")
    for name in files:
        root = etree.parse(str(tmp_path / name)).getroot()
        up = [f"--node-up={node.get('uname')}" for node in root.iter("node") if node.get("type") != "remote"]
        script = (
            f"crm_simulate -x {name} {cluster_image.quoted(*up)} -O up.xml >/dev/null; crm_verify -x up.xml -V 2>&1"
        )
        done = cluster_image.run(tmp_path, script)
        errors = [line for line in done.stdout.splitlines() if "error:" in line.lower() and "not installed" not in line]
        assert isinstance(done, subprocess.CompletedProcess) and errors == [], done.stdout


@pytest.mark.parametrize("path", CIBS, ids=lambda path: path.stem)
def test_no_secret_is_printed_and_each_has_its_file(path):
    assert "s3cr3t" in path.read_text() or path.stem == "stackstorm-guide"
    for output in ("text", "json"):
        result = invoke(command, path, "-o", output)
        assert result.exit_code in (1, 4), result.output
        assert "s3cr3t" not in result.stdout + result.stderr


@pytest.mark.parametrize("path", CIBS, ids=lambda path: path.stem)
def test_every_resource_and_constraint_of_the_source_is_accounted_for(path):
    """Each is in the result under some name, or a sentence names it."""
    found = imported(path.stem)
    root = cib.load(str(path)).root
    everything = found.text + " ".join(differs(found)) + " ".join(map(str, found.notes))
    for element in root.find("configuration/resources").iter("primitive"):
        assert element.get("id") in everything
    if found.compared:
        for element in root.find("configuration/constraints"):
            kept = {
                "c_ip_on_master",
                "o_mysql_before_ip",
                "o2",
                "c2",
                "c3",
                "mq-then-st2",
                "mq-then-timers",
                "web-with-st2",
            }
            kept |= {
                "colocation-db-ip-mysql-master-INFINITY",
                "order-mysql-master-db-ip-mandatory",
                "c-public-management",
            }
            kept |= {"singles", "cli-ban-p_ip_mysql-on-db2"}
            assert element.get("id") in kept or element.get("id") in everything


def test_a_replicating_pair_becomes_a_mariadb_service_with_its_address():
    found = imported("mysql-pair")
    assert found.lacking == ()
    assert found.data["nodes"]["db1"] == {"id": 1, "links": ["192.168.122.11"]}
    assert found.data["services"]["p_mysql"]["type"] == "mariadb"
    assert found.data["services"]["p_mysql"]["replication"] == {"user": "repl_user"}
    assert found.data["vips"]["p_ip_mysql"] == {"ip": "192.168.122.100/24", "nic": "eth0", "follows": "p_mysql.primary"}
    assert found.data["lab"] is True
    assert any("never promotes a server that may miss an acknowledged write" in one for one in told(found, "becomes"))
    assert any("replication_passwd" in one and "p_mysql-replication" in one for one in told(found, "secret"))
    assert sorted(told(found, "state"))[-2:] == ["node db2: is in standby", "p_ip_mysql: is banned from db2"]
    changes = differs(found)
    assert "cluster property no-quorum-policy: ignore becomes stop" in changes
    assert "p_mysql: parameter max_slave_lag=60 is not carried over" in changes
    assert "p_mysql: operation start: timeout 120 s becomes timeout 300 s" in changes
    assert any(one.startswith("l_mysql_db1: place: p_mysql-clone Promoted rather on db1 (score 50)") for one in changes)
    # What both have is no difference.
    assert not any("p_ip_mysql with p_mysql-clone" in one or "p_ip_mysql start after" in one for one in changes)


def test_stackstorms_units_become_one_service_for_each_node_and_one_that_runs_once():
    found = imported("stackstorm-guide")
    services = found.data["services"]
    assert services["workers"] == {"type": "stackstorm", "units": "active-active", "after": ["mq"]}
    assert services["single"]["units"] == ["st2timersengine", "st2sensorcontainer", "st2garbagecollector"]
    assert services["mq"] == {"type": "rabbitmq", "users": {"st2": {}}}
    assert found.data["vips"]["vip"]["follows"] == "workers"
    assert any("nginx" in one for one in told(found, "left-out"))
    assert any("nodes.st2-node.links" in one for one in found.lacking)
    assert any("devices" in one for one in found.lacking)
    assert found.compared


def test_what_a_management_pair_has_around_its_tomcats_is_kept():
    found = imported("cloudstack-pair")
    services = found.data["services"]
    assert services["cloudstack-management"]["after"] == ["db-ip"]
    assert services["WebSite"]["unit"] == "httpd.service"
    assert found.data["vips"]["ClusterIP"]["follows"] == "WebSite"
    assert found.data["nodes"]["cs1"]["fence"]["passwd"] == "file:fence-cs1-passwd"
    assert found.data["nodes"]["cs1"]["fence"]["delay"] == "15s"
    assert any("says prefix 32" in one for one in told(found, "assumed"))
    assert any("node cs1.example.org" in one for one in told(found, "left-out"))
    assert "resource default resource-stickiness: 200 becomes 100" in differs(found)
    assert any("links[0]" in one for one in found.lacking)


def test_gluster_with_floating_addresses():
    found = imported("gluster-ctdb")
    assert found.lacking == ()
    assert found.data["services"] == {"glusterd": {"type": "glusterfs", "volumes": {"vol01": {"mount": "/mnt/vol01"}}}}
    assert {vip["follows"] for vip in found.data["vips"].values()} == {"glusterd"}
    assert found.data["fencing"]["pcmk_host_map"] == "node01:1;node02:2;node03:3"
    assert "community" not in found.data["fencing"]
    left = told(found, "left-out")
    assert any("CTDB" in one for one in left) and any("community" in one for one in left)
    changes = differs(found)
    assert "c4: place: ip-b with ip-a (score -1000) is not in the topology" in changes
    assert "corosync.conf quorum.auto_tie_breaker: 1 becomes not set" in changes


def test_openstack_controllers_with_galera_templates_and_a_quorum_device():
    found = imported("openstack-pcs")
    assert found.lacking == ()
    assert {name: one["type"] for name, one in found.data["services"].items()} == {
        "galera": "mariadb",
        "rabbitmq": "rabbitmq",
        "memcached": "memcached",
    }
    assert found.data["quorum"]["device"] == {"host": "qdevice.example.org", "algorithm": "lms", "tls": "on"}
    assert found.data["nodes"]["controller02"]["fence"]["ipaddr"] == "172.16.0.2"
    assert any("which is no Galera: one server takes the writes" in one for one in told(found, "becomes"))
    assert "maintenance-mode: the cluster is in maintenance mode" in told(found, "state")
    changes = " | ".join(differs(found))
    for words in (
        "promoted-max: 3 becomes 1",
        "haproxy: systemd:haproxy is not in the topology",
        "l-rule: place: galera-clone by a rule",
    ):
        assert words in changes
    assert "section fencing-topology: 1 entry" in changes and "section alerts: 1 entry" in changes


def test_a_file_server_and_its_mounts():
    found = imported("nfs-group")
    assert found.lacking == ()
    server = found.data["services"]["g-nfs"]
    assert server["disk"] == {"device": "/dev/mapper/shared", "mount": "/srv/nfs", "fstype": "xfs"}
    assert server["exports"] == {"packs": {"fsid": 1}} and server["squash"] == "none" and "clients" not in server
    assert found.data["services"]["p-mount"] == {
        "type": "nfs-mount",
        "from": "g-nfs",
        "to": {"packs": "/opt/stackstorm/packs"},
    }
    assert found.data["fencing"]["max_delay"] == "7s"
    assert any("fsid=0" in one for one in told(found, "left-out"))


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ('class="ocf" provider="heartbeat" type="mysql"', "runs a database on one node at a time"),
        ('class="ocf" provider="linbit" type="drbd"', "replicated disks are not a service"),
        ('class="systemd" type="anything"', "no service type takes it"),
    ],
)
def test_what_nothing_takes_is_left_out_with_a_reason(agent, words):
    root = cib.parse(
        f'<cib validate-with="pacemaker-3.7"><configuration><crm_config/><nodes><node id="1" uname="a"/></nodes>'
        f'<resources><primitive id="x" {agent}/></resources><constraints/></configuration><status/></cib>',
        "c",
    )
    found = importing.run(root, "c")
    assert "services" not in found.data
    assert any(words in one for one in told(found, "left-out"))


def test_the_report_as_json_is_whole_and_the_exit_code_says_which_it_is():
    result = invoke(command, DATA / "gluster-ctdb.xml", "--corosync", DATA / "gluster-ctdb.corosync.conf", "-o", "json")
    report = json.loads(result.stdout)
    assert result.exit_code == report["exit_code"] == 4
    assert report["loads"] is True and report["compared"] is True
    assert {"kind", "where", "text"} == set(report["differences"][0])
    assert topology.parse(yamldoc.parse(report["topology"], "t.yml")).name == "files"
    without = invoke(command, DATA / "stackstorm-guide.xml", "-o", "json")
    assert without.exit_code == 1 and json.loads(without.stdout)["loads"] is False
