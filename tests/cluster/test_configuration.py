"""Generated configurations as Pacemaker's and crmsh's own programs see them, and applying them to a cluster that runs.

The tools run in a node of a lab, so that this machine needs no cluster packages (their daemons would start with them).
"""

import json
import re
from pathlib import Path

import pytest
from hafailover.crm import generate
from hafailover.crm import topology as topologies
from hafailover.crm.formats import cib, crmsh
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Options
from labs import lab_of
from lxml import etree

NAME = "conftest"
EXAMPLES = sorted((Path(__file__).parents[2] / "vagrant" / "topologies").glob("*.yml"))
PROGRAM = "/usr/local/bin/hafailover"

TOPOLOGY = """\
version: 1
lab: true
cluster: {name: conf, encryption: off, detection: {token: 1s}}
nodes:
  n1: {id: 1, links: [10.79.0.1], fence: {agent: fence_lab, plug: n1}}
  n2: {id: 2, links: [10.79.0.2], fence: {agent: fence_lab, plug: n2}}
quorum: {device: {host: 10.79.0.3, tls: off}}
vips:
  one: {ip: 10.79.0.50/24}
"""
TWO = TOPOLOGY + "  two: {ip: 10.79.0.51/24}\n"


@pytest.fixture(scope="module")
def lab():
    with lab_of(NAME, TOPOLOGY, Options(sets=("mariadb",))) as made:
        yield made


@pytest.fixture
def run(lab):
    def run(*argv, input=None, node="n1"):
        return lab.exec(node, [str(word) for word in argv], timeout=120, input=input)

    return run


@pytest.fixture
def put(run):
    def put(path, text):
        assert run("sh", "-c", f"cat > {path}", input=text).returncode == 0
        return path

    return put


@pytest.fixture
def apply(run, put):
    def apply(text, *options, node="n1"):
        put("/tmp/t.yml", text)
        return run(PROGRAM, "apply", "/tmp/t.yml", *options, node=node)

    yield apply
    # Each test leaves the cluster as it found it.
    assert apply(TOPOLOGY, "--yes").returncode == 0


def live(run):
    return etree.fromstring(run("cibadmin", "-Q").stdout.encode())


def normal(element):
    """An element without the order of its children and attributes."""
    return (
        element.tag,
        tuple(sorted(element.attrib.items())),
        tuple(sorted(normal(child) for child in element)),
    )


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request):
    return generate.configuration(topologies.load(request.param))


def test_pacemaker_finds_nothing_wrong_with_what_is_generated(example, run, put):
    put("/tmp/g.xml", cib.text(example))
    up = [word for node in example.nodes for word in ("--node-up", node.name)]
    simulated = run("crm_simulate", "--xml-file", "/tmp/g.xml", *up, "--simulate", "--save-output", "/tmp/up.xml")
    assert simulated.returncode == 0, simulated.stderr
    verified = run("crm_verify", "--xml-file", "/tmp/up.xml", "--verbose")
    assert (verified.returncode, verified.stdout, verified.stderr.strip()) == (0, "", "")


def test_crmsh_loads_the_text_to_the_same_cib(example, run, put):
    whole = cib.tree(example)
    empty = cib.tree(example)
    for section in empty.find("configuration"):
        if section.tag != "nodes":
            section.clear()
    empty.set("crm_feature_set", "3.16.1")
    empty.set("have-quorum", "1")
    put("/tmp/empty.xml", etree.tostring(empty, encoding="unicode"))
    put("/tmp/g.crm", crmsh.text(example))
    loaded = run("env", "CIB_file=/tmp/empty.xml", "crm", "-F", "configure", "load", "update", "/tmp/g.crm")
    assert loaded.returncode == 0, loaded.stderr
    # crmsh knows our agents from their meta-data: no unknown parameter, no too short timeout.
    complaints = [line for line in loaded.stderr.splitlines() if "ERROR" in line or "imeout" in line]
    assert complaints == []
    result = etree.fromstring(run("cat", "/tmp/empty.xml").stdout.encode())

    def sections(root):
        return sorted(normal(one) for one in root.find("configuration") if len(one))

    assert sections(result) == sections(whole)


def test_crmsh_reads_back_every_value_as_it_was_written(run, put):
    values = [
        "a b",
        'x"y',
        "it's",
        "a\\b",
        "$HOME",
        "#x",
        "",
        "a;b",
        "@x",
        "{x}",
        "a=b",
        "`x`",
        "*",
        "<a>",
        "role",
    ]
    text = cib.text(generate.configuration(topologies.load(DEFAULT_TOPOLOGY)))
    root = etree.fromstring(text.encode())
    pairs = root.find(".//primitive/instance_attributes")
    for number, value in enumerate(values):
        etree.SubElement(pairs, "nvpair", id=f"{pairs.get('id')}-p{number}", name=f"p{number}", value=value)
    for section in root.findall("configuration/constraints"):
        section.clear()
    put("/tmp/v.crm", crmsh.text(cib.read(root)))
    put(
        "/tmp/v.xml",
        '<cib crm_feature_set="3.16.1" have-quorum="1" validate-with="pacemaker-3.7" epoch="1" num_updates="0" '
        'admin_epoch="0"><configuration><crm_config/><nodes/><resources/><constraints/></configuration><status/></cib>',
    )
    run("env", "CIB_file=/tmp/v.xml", "crm", "-F", "configure", "load", "update", "/tmp/v.crm")
    after = etree.fromstring(run("cat", "/tmp/v.xml").stdout.encode())
    read = {pair.get("name"): pair.get("value") for pair in after.iter("nvpair")}
    assert [read.get(f"p{number}") for number in range(len(values))] == values


def test_the_server_accepts_its_configuration_file_and_the_safety_settings_win(run, put):
    text = DEFAULT_TOPOLOGY.read_text().replace(
        "{type: mariadb}",
        '{type: mariadb, options: {max_connections: 77, sync_binlo: 0, init_connect: "SET @a=1 # x; y"}}',
    )
    from hafailover.crm import mariadb_options, yamldoc

    loaded = topologies.parse(yamldoc.parse(text, "t.yml"))
    node = next(iter(loaded.nodes.values()))
    put("/tmp/db.cnf", mariadb_options.defaults_file(loaded.services["db"], node))
    shown = run("mariadbd", "--defaults-file=/tmp/db.cnf", "--help", "--verbose", "--user=mysql")
    assert shown.returncode == 0, shown.stderr
    assert "unknown" not in shown.stderr.lower()
    found = dict(re.findall(r"^(\S+) +(.*)$", shown.stdout, re.MULTILINE))
    expected = {
        "max-connections": "77",
        "sync-binlog": "1",
        "server-id": str(node.id),
        "read-only": "TRUE",
        "log-bin": "mariadb-bin",
        "gtid-strict-mode": "TRUE",
        "log-slave-updates": "TRUE",
        "binlog-format": "ROW",
        "skip-slave-start": "TRUE",
        "rpl-semi-sync-slave-enabled": "FALSE",
        "rpl-semi-sync-master-wait-point": "AFTER_SYNC",
        "init-connect": "SET @a=1 # x; y",
    }
    assert {name: found.get(name) for name in expected} == expected


def test_a_nodes_files_are_installed_once_with_owner_and_mode(run, put):
    put("/root/t.yml", TOPOLOGY.replace("encryption: off", "secrets_dir: secrets, authkey: file:key"))
    run("cp", "-a", "/etc/corosync/corosync.conf", "/etc/hosts", "/root/")
    try:
        first = run(PROGRAM, "render", "/root/t.yml", "--install", "--create-secrets", "--diff")
        assert first.returncode == 0, first.stderr
        assert "+    crypto_cipher: aes256\n" in first.stdout
        assert "/etc/corosync/authkey: is new (a secret, not shown)" in first.stdout
        modes = run(
            "stat", "-c", "%a %U:%G", "/etc/corosync/authkey", "/etc/corosync/corosync.conf", "/root/secrets/key"
        )
        assert modes.stdout.split("\n")[:3] == ["400 root:root", "644 root:root", "600 root:root"]
        assert "10.79.0.2\tn2\n# END hafailover\n" in run("cat", "/etc/hosts").stdout
        second = run(PROGRAM, "render", "/root/t.yml", "--install", "--diff")
        assert (second.returncode, second.stdout) == (0, "")
        plain = run("runuser", "-u", "nobody", "--", PROGRAM, "render", "/etc/hafailover/topology.yml", "--install")
        assert plain.returncode == 2
    finally:
        run("cp", "-a", "/root/corosync.conf", "/etc/corosync/corosync.conf")
        run("cp", "-a", "/root/hosts", "/etc/hosts")
        run("rm", "-rf", "/etc/corosync/authkey", "/root/secrets")


def test_applying_twice_changes_nothing(apply, run):
    before = live(run)
    result = apply(TOPOLOGY)
    assert (result.returncode, result.stdout) == (
        0,
        "nothing to do: the cluster has this configuration already\n",
    )
    assert live(run).get("epoch") == before.get("epoch")


def test_a_dry_run_tells_and_changes_nothing(apply, run):
    before = live(run)
    result = apply(TWO, "--dry-run", "-o", "json")
    report = json.loads(result.stdout)
    assert result.returncode == 0
    assert [change["what"] for change in report["changes"]] == ["resource two (ocf:hafailover:vip)"]
    assert {key: value for key, value in report["effects"][0].items() if key != "node"} == {
        "action": "start",
        "resource": "two",
    }
    assert report["applied"] is False
    assert live(run).get("epoch") == before.get("epoch")


def test_a_change_is_made_and_waited_for_and_taken_back(apply, run):
    result = apply(TWO, "--yes", "-o", "json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["applied"], report["not_running"]) == (True, [])
    assert "two" in run("crm_resource", "--locate", "--resource", "two").stdout
    removed = apply(TOPOLOGY, "--yes")
    assert "remove resource two (ocf:hafailover:vip)" in removed.stdout
    assert live(run).find(".//primitive[@id='two']") is None


def test_interrupting_a_service_needs_a_yes(apply, run):
    apply(TWO, "--yes")
    before = live(run).get("epoch")
    result = apply(TOPOLOGY)
    assert result.returncode == 2
    assert result.stderr.startswith("hafailover: this would interrupt running services (stop two on ")
    assert live(run).get("epoch") == before


def test_standby_maintenance_bans_and_strangers_stay(apply, run):
    run("crm_standby", "--node", "n2", "--update", "on")
    run("crm_attribute", "--name", "maintenance-mode", "--update", "true")
    run("crm_attribute", "--node", "n1", "--name", "hafailover-db-status", "--update", "STALE")
    run("crm_attribute", "-t", "crm_config", "-s", "hafailover-db", "-n", "hafailover-db-journal", "-v", "{}")
    run("crm_resource", "--ban", "--resource", "one", "--node", "n2")
    run("crm", "-F", "configure", "primitive", "his", "ocf:pacemaker:Dummy", "op", "monitor", "interval=9s")
    try:
        before = live(run).find("configuration")
        assert apply(TWO, "--yes", "--wait=30").returncode == 0
        assert apply(TOPOLOGY, "--yes", "--wait=30").returncode == 0
        assert normal(live(run).find("configuration")) == normal(before)
        texts = etree.tostring(before, encoding="unicode")
        for piece in (
            "standby",
            "maintenance-mode",
            "hafailover-db-status",
            "hafailover-db-journal",
            "cli-ban-one",
            'id="his"',
        ):
            assert piece in texts
    finally:
        run("crm_resource", "--clear", "--resource", "one")
        run("cibadmin", "--delete", "--xml-text", '<primitive id="his"/>')
        run("cibadmin", "--delete", "--xml-text", '<cluster_property_set id="hafailover-db"/>')
        run("crm_attribute", "--node", "n1", "--name", "hafailover-db-status", "--delete")
        run("crm_attribute", "--name", "maintenance-mode", "--delete")
        run("crm_standby", "--node", "n2", "--delete")


def test_what_does_not_get_to_run_is_said_with_its_reason(apply):
    result = apply(TOPOLOGY + "  bad: {ip: 10.79.0.52/24, nic: nosuchnic}\n", "--yes", "--wait=5")
    assert result.returncode == 4
    assert "the configuration is in the cluster, but after 5 s: bad is not running" in result.stderr
    assert "nosuchnic" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: conf", "name: other", "this is the cluster conf, and /tmp/t.yml describes other; nothing was changed"),
        (
            "n2: {id: 2",
            "n3: {id: 2",
            "n3 is to be added and n2 removed: do one after the other, each with its own apply. Nothing was changed",
        ),
    ],
)
def test_another_clusters_topology_is_refused(apply, old, new, said):
    result = apply(TOPOLOGY.replace(old, new).replace("n2", "n3" if new.startswith("n3") else "n2"), "--yes")
    assert result.returncode == 3
    assert said in result.stderr


def test_the_cluster_refuses_a_patch_of_a_configuration_that_has_changed_since(apply, run, put):
    """Two operators at once: the one who was slower is told, and nothing of his is half done."""
    put(
        "/tmp/race.py",
        "import sys\n"
        "sys.argv = ['hafailover', 'apply', '/tmp/t.yml', '--yes']\n"
        "import subprocess\n"
        "from types import ModuleType\n"
        f"package = sys.modules['hafailover'] = ModuleType('hafailover')\n"
        f"package.__path__ = [{str(Path(__file__).parents[2])!r}]\n"
        "from hafailover.crm import apply\n"
        "commit = apply.commit\n"
        "def late(*arguments):\n"
        "    subprocess.run(['cibadmin', '--delete', '--xml-text', '<primitive id=\"one\"/>'], check=True)\n"
        "    return commit(*arguments)\n"
        "apply.commit = late\n"
        "from hafailover.crm.cli import main\n"
        "main()\n",
    )
    put("/tmp/t.yml", TWO)
    result = run("/usr/bin/python3", "/tmp/race.py")
    assert result.returncode == 3
    assert "somebody else changed the cluster's configuration at the same time" in result.stderr
    assert live(run).find(".//primitive[@id='two']") is None


def test_without_a_cluster_or_root_it_says_so(run, put):
    put("/tmp/t.yml", TOPOLOGY)
    run("chmod", "644", "/tmp/t.yml")
    plain = run("runuser", "-u", "nobody", "--", PROGRAM, "apply", "/tmp/t.yml")
    assert plain.returncode == 2
    assert plain.stderr.count("\n") == 1 and "sudo" in plain.stderr
    run("systemctl", "stop", "pacemaker", node="n2")
    try:
        put_there = run("sh", "-c", "cat > /tmp/t.yml", input=TOPOLOGY, node="n2")
        assert put_there.returncode == 0
        stopped = run(PROGRAM, "apply", "/tmp/t.yml", node="n2")
        assert stopped.returncode == 1
        assert stopped.stderr == (
            "hafailover: the cluster is not running on this node; start it (systemctl start pacemaker) or go to a member\n"
        )
    finally:
        run("systemctl", "start", "pacemaker", node="n2")
