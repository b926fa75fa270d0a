"""Lint's rules that look at a node's files, and how those are read: nothing hangs, nothing is followed too far, no secret is said."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace

import pytest
from hafailover.crm import firewall, lint, render, topology
from hafailover.crm.lint import units
from hafailover.crm.lint.broker_files import guessable
from hafailover.crm.lint.node import NodeFacts
from hafailover.crm.lint.node_files import MAX_BYTES, NodeFiles, assignments
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_facts import DB, MQ, TOMCAT, clone, conf, facts, found, of_topology, primitive, put
from topologies import EXAMPLES

# -- reading -----------------------------------------------------------------------------------------------------------------------


def test_only_regular_files_of_a_sensible_size_are_read(tmp_path):
    put(tmp_path, "/etc/small", "x")
    put(tmp_path, "/etc/huge", "x" * (MAX_BYTES + 1))
    os.mkfifo(tmp_path / "etc" / "pipe")
    (tmp_path / "etc" / "zero").symlink_to("/dev/zero")
    (tmp_path / "etc" / "round").symlink_to("round")
    (tmp_path / "etc" / "up").symlink_to("../../../../../../etc/small")
    (tmp_path / "etc" / "absolute").symlink_to("/etc/small")
    files = NodeFiles(tmp_path)
    assert [files.text(f"/etc/{name}") for name in ("small", "up", "absolute")] == ["x"] * 3
    assert [files.text(f"/etc/{name}") for name in ("huge", "pipe", "zero", "round", "none", "")] == [None] * 6
    assert files.text("relative") is None
    assert files.text("/etc/\0") is None
    assert files.matching("/etc/s*") == ["/etc/small"]
    assert files.names("/none") == []


@pytest.mark.parametrize(
    ("fstype", "read"), [("nfs4", False), ("fuse.glusterfs", False), ("ext4", True), ("fuse.lxcfs", True)]
)
def test_a_file_system_that_may_hang_is_not_touched(tmp_path, fstype, read):
    put(tmp_path, "/srv/x", "there")
    (tmp_path / "link").symlink_to("/srv/x")
    put(tmp_path, "/mountinfo", f"36 35 0:1 / {tmp_path}/srv rw - {fstype} server:/x rw\n")
    files = NodeFiles(tmp_path, str(tmp_path / "mountinfo"))
    assert (files.text("/srv/x") is not None, files.text("/link") is not None) == (read, read)
    assert bool(files.names("/srv")) is read


def test_names_that_a_shell_reads():
    text = "A=1\n# B=2\nexport C='x y' # z\nD=\"q\"\nE=5 # five\nA=3\nno name=4\n"
    assert assignments(text) == {"A": "3", "C": "x y", "D": "q", "E": "5"}


# -- what starts at boot -----------------------------------------------------------------------------------------------------------


def enable(root, unit, directory="/etc/systemd/system/multi-user.target.wants"):
    put(root, f"/lib/systemd/system/{unit}", "[Service]\n")
    link = root / directory.lstrip("/") / unit
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/lib/systemd/system/{unit}")


@pytest.mark.parametrize(
    "directory", ["/etc/systemd/system/multi-user.target.wants", "/usr/lib/systemd/system/graphical.target.requires"]
)
def test_a_unit_that_boots_by_itself(tmp_path, directory):
    enable(tmp_path, "mariadb.service", directory)
    ((where, text, fix),) = found("L25", facts(DB, node=tmp_path))
    assert where == f"a: {directory}/mariadb.service"
    assert (
        text
        == "mariadb.service is started at boot too, and resource db (ocf:heartbeat:mysql) is the cluster's to start"
    )
    assert fix == "systemctl disable mariadb.service"


def test_an_alias_is_what_it_stands_for_and_a_masked_unit_does_not_start(tmp_path):
    enable(tmp_path, "mariadb.service")
    (tmp_path / "etc/systemd/system/mysql.service").symlink_to("/lib/systemd/system/mariadb.service")
    assert len(found("L25", facts(primitive("db", "systemd:mysql"), node=tmp_path))) == 1
    (tmp_path / "etc/systemd/system/mariadb.service").symlink_to("/dev/null")
    assert found("L25", facts(primitive("db", "systemd:mysql"), node=tmp_path)) == []


def test_a_target_counts_where_a_boot_reaches_it(tmp_path):
    enable(tmp_path, "mariadb.service", "/etc/systemd/system/shop.target.wants")
    assert found("L25", facts(DB, node=tmp_path)) == []
    enable(tmp_path, "shop.target")
    assert len(found("L25", facts(DB, node=tmp_path))) == 1


def test_units_that_are_nobodys_business(tmp_path):
    enable(tmp_path, "cron.service")
    enable(tmp_path, "mariadb.service", "/etc/systemd/system/rescue.target.wants")
    assert found("L25", facts(DB, primitive("x", "systemd:other"), node=tmp_path)) == []


def test_the_action_runners_are_found(tmp_path):
    enable(tmp_path, "st2actionrunner@1.service")
    ((_, text, _),) = found("L25", facts(primitive("w", "ocf:hafailover:st2", units="active"), node=tmp_path))
    assert text.startswith("st2actionrunner@1.service is started at boot too, and resource w")


MOUNT = primitive("fs", "ocf:heartbeat:Filesystem", directory="/srv/st 2/")


@pytest.mark.parametrize(
    ("line", "flagged"),
    [
        (r"/dev/x /srv/st\0402 ext4 defaults 0 2", True),
        (r"/dev/x /srv/st\0402 ext4 noauto 0 2", False),
        (r"/dev/x /srv/st\0402 ext4 noauto,x-systemd.automount 0 2", True),
        (r"# /dev/x /srv/st\0402 ext4 defaults 0 2", False),
        ("/dev/x /srv ext4 defaults", False),
        ("nonsense", False),
        ("UUID=1 none swap sw", False),
    ],
)
def test_a_mount_that_boots_by_itself(tmp_path, line, flagged):
    put(tmp_path, "/etc/fstab", f"# comment\n{line}\n")
    result = found("L25b", facts(MOUNT, node=tmp_path))
    assert bool(result) is flagged
    for where, _, fix in result:
        assert where == "a: /etc/fstab:2"
        assert fix == "sed -i '2s/^/# mounted by the cluster: /' /etc/fstab && systemctl daemon-reload"


def test_a_mount_unit_that_boots_by_itself(tmp_path):
    enable(tmp_path, r"srv-st\x202.mount", "/etc/systemd/system/local-fs.target.wants")
    ((_, text, _),) = found("L25b", facts(MOUNT, node=tmp_path))
    assert r"is mounted at boot too, by srv-st\x202.mount" in text
    assert units.unescaped(r"srv-my\x2ddata") == "/srv/my-data"


# -- brokers -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("/etc/rabbitmq/rabbitmq.conf", "cluster_partition_handling = pause_minority\n", "pause_minority pauses both"),
        ("/etc/rabbitmq/conf.d/10.conf", "default_queue_type = quorum\n", "every new queue is a quorum queue"),
        ("/etc/rabbitmq/rabbitmq.conf", "cluster_formation.node_type = ram\n", "in memory alone"),
        (
            "/etc/rabbitmq/rabbitmq.config",
            "[{rabbit, [{cluster_partition_handling, pause_minority}]}].",
            "pause_minority",
        ),
        (
            "/etc/rabbitmq/rabbitmq.config",
            "[{rabbit, [{cluster_nodes, {['rabbit@a', 'rabbit@b'], ram}}]}].",
            "in memory alone",
        ),
        ("/etc/rabbitmq/rabbitmq.conf", "cluster_partition_handling = autoheal\n", None),
        ("/etc/rabbitmq/rabbitmq.conf", "# cluster_partition_handling = pause_minority\n", None),
        ("/etc/rabbitmq/rabbitmq.config", "% {cluster_partition_handling, pause_minority}\n[].", None),
        ("/etc/rabbitmq/rabbitmq.config", "[{rabbit, [{cluster_nodes, {['rabbit@a'], disc}}]}].", None),
    ],
)
def test_two_brokers(tmp_path, path, text, said):
    put(tmp_path, path, text)
    result = found("L26", facts(MQ, node=tmp_path))
    assert len(result) == (said is not None)
    assert all(said in one and where.startswith(f"a: {path}:1") for where, one, _ in result)
    assert found("L26", facts(MQ, node=tmp_path, nodes=("a", "b", "c"))) == [], "a third broker makes a majority"
    assert found("L26", facts(node=tmp_path)) == [], "no broker is the cluster's"


def test_quorum_queues_in_definitions(tmp_path):
    put(tmp_path, "/etc/rabbitmq/rabbitmq.conf", "load_definitions = /etc/rabbitmq/d.json\n")
    data = {"queues": [{"name": "q1", "arguments": {"x-queue-type": "quorum"}}, {"name": "q2", "arguments": {}}, 3]}
    put(tmp_path, "/etc/rabbitmq/d.json", json.dumps(data))
    ((where, text, _),) = found("L26", facts(MQ, node=tmp_path))
    assert where == "a: /etc/rabbitmq/d.json"
    assert text == "'q1' are quorum queues, which stop when one of two brokers is lost"
    put(tmp_path, "/etc/rabbitmq/d.json", "[" * 300000)
    assert found("L26", facts(MQ, node=tmp_path)) == []


def test_mirrored_queues_on_version_4(tmp_path):
    put(tmp_path, "/usr/lib/rabbitmq/lib/rabbitmq_server-4.0.2/x", "")
    mirrored = clone(
        "c", primitive("mq", "ocf:heartbeat:rabbitmq-cluster", set_policy='ha-all "^ha" \'{"ha-mode":"all"}\'')
    )
    assert found("L27", facts(mirrored, node=tmp_path)) == [
        (
            "mq",
            "set_policy mirrors queues (ha-mode), and the brokers are RabbitMQ 4.0",
            "# take ha-mode and its kin out of set_policy:\ncrm configure edit mq",
        )
    ]
    assert found("L27", facts(MQ, node=tmp_path)) == []
    put(tmp_path, "/etc/d.json", json.dumps({"policies": [{"name": "ha", "definition": {"ha-mode": "all"}}]}))
    ours = clone("c", primitive("mq", "ocf:hafailover:rabbitmq", definitions="/etc/d.json", version="4.1"))
    ((where, text, fix),) = found("L27", facts(ours, node=tmp_path))
    assert fix == "# in /etc/d.json, on every node, take out of policy 'ha': ha-mode"
    assert (where, text) == ("a: /etc/d.json", "policy 'ha' has ha-mode, and the brokers are RabbitMQ 4.1")
    old = clone("c", primitive("mq", "ocf:hafailover:rabbitmq", definitions="/etc/d.json", version="3.10"))
    assert found("L27", facts(old, node=tmp_path)) == []


@pytest.mark.parametrize(
    ("cookie", "said"),
    [
        ("QXJKPLMNWRTYBVCXZASD", None),
        ("3f9c1d2e7a8b4c5d6e7f8091a2b3c4d5", None),
        ("secret", "has 6 characters"),
        ("openstack-rabbit-secret-cookie", "words that everybody tries"),
        ("abababababababababababab", "made of 2 different characters"),
        ("\n", "is empty"),
    ],
)
def test_a_cookie_that_is_easy_to_guess(tmp_path, cookie, said):
    put(tmp_path, "/var/lib/rabbitmq/.erlang.cookie", cookie)
    result = found("L33c", facts(MQ, node=tmp_path))
    assert len(result) == (said is not None)
    assert all(said in text for _, text, _ in result)
    assert not any(cookie.strip() and cookie in str(one) for one in result)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200))
def test_any_cookie_has_an_answer(cookie):
    assert guessable(cookie) is None or isinstance(guessable(cookie), str)


# -- anything ------------------------------------------------------------------------------------------------------------------------

ALL = [
    "/etc/fstab", "/etc/exports", "/etc/mysql/my.cnf", "/etc/rabbitmq/rabbitmq.conf", "/etc/rabbitmq/rabbitmq.config",
    "/etc/rabbitmq/d.json", "/var/lib/rabbitmq/.erlang.cookie", "/var/lib/tomcat10/conf/server.xml", "/etc/mongod.conf",
    "/etc/libapache2-mod-jk/workers.properties", "/etc/apache2/mods-enabled/jk.conf", "/etc/st2/st2.conf", "/etc/memcached.conf",
    "/etc/redis/redis.conf", "/etc/default/sbd", "/etc/exports.d/a.exports",
]  # fmt: skip
LINES = st.sampled_from(
    ["[mysqld]", "server_id", "bind-address=", "!includedir /etc", "!include /etc/mysql/my.cnf", "/srv x(", '"', "/srv -",
     "worker.a.b.type=", "worker.a.reference=worker.a", "worker..=", "<Location", "<Location >", "</Location>", "JkMount", "JkMount a b",
     "Require",
     "a.b = ", "{", "[", "&a [*a]", "host = mongodb://@/?", "<x y='", "net: {bindIp: [1]}", "a: !!python/object:os.system x", "-l",
     "bind ", "\\",
     "default_queue_type = quorum", "load_definitions = /etc/rabbitmq/d.json", "SBD_WATCHDOG_TIMEOUT=²", "\ufffd", "x" * 3000]
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(LINES, max_size=6).map("\n".join), min_size=len(ALL), max_size=len(ALL)))
def test_any_files_are_looked_at_without_a_break_down(tmp_path_factory, texts):
    root = tmp_path_factory.mktemp("root")
    for path, text in zip(ALL, texts):
        put(root, path, text)
    cluster = [
        DB, MQ, TOMCAT, MOUNT, primitive("w", "ocf:hafailover:st2", units="active"), primitive("c", "systemd:memcached"),
        primitive("r", "ocf:heartbeat:redis"), primitive("m", "systemd:mongod"),
    ]  # fmt: skip
    report = lint.examine(facts(*cluster, corosync=conf(), node=root, properties={"stonith-watchdog-timeout": "5"}))
    assert report.broken == ()


SERVER_XML = b"""<Server port="-1"><Service name="Catalina"><Connector port="8080" protocol="HTTP/1.1"/>
<Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine></Service></Server>
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_node_whose_files_are_what_render_writes_is_right(path, tmp_path):
    """What the page says of false alarms: no rule that looks at a node's files finds anything on any node of the example topologies."""
    text = re.sub(r"secrets_dir: *[^\s,}]+", f"secrets_dir: {tmp_path}/secrets", path.read_text())
    (tmp_path / "secrets").mkdir(mode=0o700)
    (tmp_path / path.name).write_text(text)
    wanted = topology.load(tmp_path / path.name)
    render.create_secrets(wanted)
    for name in re.findall(r"file:([\w.-]+)", text):
        secret = tmp_path / "secrets" / name
        if not secret.exists():
            secret.write_text("QXJKPLMNWRTYBVCXZASD")
            secret.chmod(0o600)
    for node in wanted.nodes:
        root = tmp_path / node
        for file in render.render(wanted, node):
            put(root, file.path, file.content.decode())
        for file in render.edits(wanted, node):
            there = root / file.path.lstrip("/")
            before = there.read_bytes() if there.exists() else SERVER_XML if there.name == "server.xml" else b""
            put(root, file.path, file.edit(before).decode())
        put(root, "/mountinfo", "")
        fragment = (root / firewall.PATH.lstrip("/")).read_bytes()
        here = NodeFacts(node, None, "", (), {}, fragment, NodeFiles(root, str(root / "mountinfo")))
        report = lint.examine(replace(of_topology(wanted), node=here))
        assert report.broken == ()
        on_node = {one.code for one in lint.known() if one.on_node} - {
            "L47",
            "L48",
        }  # nothing runs, and nothing filters here
        assert [one for one in report.findings if one.code in on_node] == []
        other = lint.examine(replace(of_topology(wanted), node=replace(here, fragment=b"")))
        assert [one.code for one in other.findings if one.code in on_node] == ["L45"]
