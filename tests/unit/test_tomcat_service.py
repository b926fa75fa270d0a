"""The service types tomcat and apache: what is generated and rendered from a topology, and what is refused, with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hafailover.agents.tomcat import files
from hafailover.crm import generate, render, validate
from hafailover.crm.edits import directives_off
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from lxml import etree
from topologies import BASE, changed, parse

APP = "  app: {type: tomcat, after: [db.primary], workers: {db1: jvm1}}\n"
WEB = "  web: {type: apache, tomcats: app, mounts: [/client/*]}\n"
DEBIAN = (Path(__file__).parent / "data" / "server-debian-tomcat10.xml").read_bytes()
JK_CONF = b"<IfModule jk_module>\n\n    # a comment\n    JkWorkersFile /etc/w\n    JkLogLevel info\n    JkMount /x y\n</IfModule>\n"
TRIO = (
    ("  db2: {", "  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}\n  db2: {"),
    ("13, tls: off", "13, algorithm: lms, tls: off"),
)
VIP = ("services:", "  www: {ip: 10.77.0.101/24, follows: web, drain: 20s}\nservices:")


def made(services: str = APP + WEB, *replacements: tuple[str, str]) -> Any:
    return parse(changed(*replacements, text=BASE + services))


def primitives(topology: Any) -> dict[str, Any]:
    return {primitive.id: primitive for primitive in generate.configuration(topology).primitives()}


def rendered(tmp_path: Path, topology: Any, node: str = "db1") -> dict[str, Any]:
    topology = topology.with_secrets_dir(tmp_path)
    render.create_secrets(topology)
    return {file.path: file for file in render.render(topology, node)}


def server_xml(tmp_path: Path, topology: Any, node: str = "db1") -> bytes:
    topology = topology.with_secrets_dir(tmp_path)
    render.create_secrets(topology)
    (edit,) = (edit for edit in render.edits(topology, node) if edit.path.endswith("server.xml"))
    content: bytes = edit.edit(DEBIAN)
    return content


def test_both_run_on_every_node_and_know_one_another() -> None:
    configuration = generate.configuration(made())
    assert validate.validate(cib.tree(configuration), "t.yml") is None
    assert {"app-clone", "web-clone"} <= {resource.id for resource in configuration.resources}
    app = primitives(made())["app"]
    assert app.param("workers") == "db1:jvm1 db2:db2"
    assert app.param("status") == "http://10.77.0.11/jk-status http://10.77.0.12/jk-status"
    assert app.param("unit") == "tomcat10.service"


def test_no_number_of_failures_bans_a_node() -> None:
    for name in ("app", "web"):
        meta = cib.tree(generate.configuration(made())).find(f".//primitive[@id='{name}']/meta_attributes")
        values = {pair.get("name"): pair.get("value") for pair in meta}
        assert values["migration-threshold"] == "INFINITY"


def test_a_stop_has_time_for_all_that_it_waits_for() -> None:
    app = "  app: {type: tomcat, sessions: local, finish: 30s, term: 1m}\n"
    found = primitives(made(app + WEB.replace("mounts", "finish: 50s, mounts")))
    assert found["app"].param("drain") == "60s"
    assert {op.name: op.get("timeout") for op in found["app"].operations}["stop"] == "180s"
    assert {op.name: op.get("timeout") for op in found["web"].operations}["stop"] == "75s"


def test_an_address_of_apaches_drains_by_their_reload() -> None:
    found = primitives(made(APP + WEB, VIP))
    assert [found["www"].param(name) for name in ("drain", "drain_reload", "drain_url")] == [
        "20s",
        "apache2.service",
        "http://127.0.0.1/hafailover-alive",
    ]
    assert {op.name: op.get("timeout") for op in found["www"].operations}["stop"] == "40s"
    assert found["vip"].param("drain") is None


def test_workers_server_and_apache_agree(tmp_path: Path) -> None:
    topology = made()
    found = rendered(tmp_path, topology)
    workers_file = found["/etc/hafailover/web-workers.properties"]
    assert (workers_file.mode, workers_file.secret) == (0o600, True)
    workers = files.read_workers(workers_file.content.decode())
    assert workers["worker.wlb.balance_workers"] == "jvm1,db2"
    assert workers["worker.jvm1.host"] == "10.77.0.11"
    assert workers["worker.template.ping_mode"] == "A"
    assert workers["worker.template.connect_timeout"] == "2000"
    assert workers["worker.template.retries"] == "1", "a second attempt asks a JVM that hangs once more"
    assert workers["worker.wlb.error_escalation_time"] == "0", "what one request has found counts for all"
    assert workers["worker.template.recovery_options"] == "3"
    assert not any(key.endswith("read_only") for key in workers), "a read-only status worker cannot drain"
    for node, worker in (("db1", "jvm1"), ("db2", "db2")):
        server = files.read_server(server_xml(tmp_path, topology, node))
        assert files.disagreement(server, workers, worker, "8009", "server.xml") is None


def test_one_broken_answer_takes_no_session_from_its_tomcat(tmp_path: Path) -> None:
    found = rendered(tmp_path, made(APP.replace("tomcat,", "tomcat, sessions: local,") + WEB))
    text = found["/etc/hafailover/web-workers.properties"].content
    assert b"error_escalation_time" not in text
    assert b"worker.template.connect_timeout=10000\n" in text


def test_a_request_may_try_each_of_many_workers(tmp_path: Path) -> None:
    services = APP + WEB.replace("mounts", "balancer_options: {method: B}, mounts")
    found = rendered(tmp_path, made(services, *TRIO))
    workers = files.read_workers(found["/etc/hafailover/web-workers.properties"].content.decode())
    assert workers["worker.wlb.balance_workers"] == "jvm1,db3,db2"
    assert (workers["worker.wlb.lb_retries"], workers["worker.wlb.method"]) == ("3", "B")


def test_a_get_is_repeated_only_when_it_is_wanted(tmp_path: Path) -> None:
    found = rendered(tmp_path, made(APP + WEB.replace("mounts", "repeat: get, mounts")))
    workers = files.read_workers(found["/etc/hafailover/web-workers.properties"].content.decode())
    assert workers["worker.template.recovery_options"] == "19"


def test_the_status_worker_is_for_the_nodes_alone(tmp_path: Path) -> None:
    web = WEB.replace("mounts", "status_from: [192.0.2.9], mounts")
    text = rendered(tmp_path, made(APP + web))["/etc/apache2/conf-enabled/hafailover.conf"].content.decode()
    assert "JkMount /client/* wlb\n" in text
    assert "<Location /jk-status>\n  Require ip 127.0.0.1 ::1 10.77.0.11 10.77.0.12 192.0.2.9\n</Location>" in text


def test_sessions_are_replicated_to_every_other_node(tmp_path: Path) -> None:
    root = etree.fromstring(server_xml(tmp_path, made()))
    (cluster,) = root.iter("Cluster")
    assert cluster.get("channelSendOptions") == "6"
    (local,), others = cluster.iter("LocalMember"), list(cluster.iter("Member"))
    assert local.get("host") == "10.77.0.11"
    assert [(other.get("host"), other.get("uniqueId")) for other in others] == [
        ("10.77.0.12", "{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,2}")
    ]
    names = [one.get("className").rpartition(".")[2] for one in cluster.iter("Interceptor")]
    assert names.index("EncryptInterceptor") < names.index("TcpFailureDetector")


def test_a_member_number_is_told_in_signed_bytes(tmp_path: Path) -> None:
    topology = made(APP + WEB, ("db2: {id: 2,", "db2: {id: 65410,"))
    (member,) = etree.fromstring(server_xml(tmp_path, topology)).iter("Member")
    assert member.get("uniqueId").endswith(",-1,-126}")


@pytest.mark.parametrize("services", ["  app: {type: tomcat, sessions: local}\n", "  app: {type: tomcat, on: [db1]}\n"])
def test_nothing_is_replicated_without_a_reason(tmp_path: Path, services: str) -> None:
    assert b"<Cluster className" not in server_xml(tmp_path, made(services)).replace(
        b'<Cluster className="org.apache.catalina.ha.tcp.SimpleTcpCluster"/>', b""
    )


def test_a_person_is_told_what_replication_asks_of_the_application() -> None:
    assert any("<distributable/>" in note for note in render.notes(made()))
    assert not render.notes(made("  app: {type: tomcat, sessions: local}\n"))


def test_a_database_whose_move_needs_a_restart_is_watched() -> None:
    app = "  app: {type: tomcat, restart_on_move: [db]}\n"
    assert primitives(made(app))["app"].param("watch") == "db"


def test_a_tomcat_without_a_unit() -> None:
    app = "  app: {type: tomcat, home: /opt/tomcat, base: /srv/shop, user: shop}\n"
    found = primitives(made(app))["app"]
    assert [found.param(name) for name in ("unit", "catalina_home", "catalina_base", "user")] == [
        None,
        "/opt/tomcat",
        "/srv/shop",
        "shop",
    ]


def test_directives_that_may_be_given_once_are_commented_out_and_come_back() -> None:
    new = directives_off(JK_CONF, ("JkWorkersFile", "jkloglevel"), "jk.conf")
    assert new.splitlines()[3:6] == [
        b"# hafailover replaced:     JkWorkersFile /etc/w",
        b"# hafailover replaced:     JkLogLevel info",
        b"    JkMount /x y",
    ]
    assert directives_off(new, ("JkWorkersFile", "JkLogLevel"), "jk.conf") == new
    assert directives_off(new, (), "jk.conf") == JK_CONF


@pytest.mark.parametrize(
    ("services", "reason"),
    [
        ("  app: {type: tomcat, unit: t.service, home: /opt/t}\n", "services.app.home: and unit exclude each other"),
        ("  app: {type: tomcat, workers: {db1: a, db2: a}}\n", "a is the worker of two nodes"),
        ("  app: {type: tomcat, workers: {db1: wlb}}\n", "wlb is the name of something else in workers.properties"),
        (
            '  app: {type: tomcat, workers: {db1: "a\\n"}}\n',
            "services.app.workers.db1: is 'a\\n'; write letters, digits, - and _",
        ),
        ("  app: {type: tomcat, workers: {db1: a.b}}\n", "is 'a.b'; write letters, digits, - and _"),
        (
            APP + WEB.replace("mounts", "balancer_options: {type: x}, mounts"),
            "balancer_options.type: follows from the Tomcats",
        ),
        (
            APP + WEB.replace("mounts", 'balancer_options: {"a\\nb": x}, mounts'),
            "write a key of mod_jk, such as method",
        ),
        ("  app: {type: tomcat, workers: {db9: a}}\n", "services.app.workers.db9: unknown node 'db9'"),
        ("  app: {type: tomcat, session_port: 8009}\n", "services.app.session_port: is the port of AJP"),
        ("  app: {type: tomcat, restart_on_move: [app]}\n", "unknown database 'app'; allowed: db"),
        ("  web: {type: apache, tomcats: db}\n", "services.web.tomcats: unknown service of type tomcat 'db'"),
        (APP + "  web: {type: apache, tomcats: app, mounts: [/jk-status]}\n", "is the path of the status worker"),
        (APP + "  web: {type: apache, tomcats: app, detect: 50ms}\n", "services.web.detect: is shorter than 100ms"),
        (APP + "  app2: {type: tomcat, port: 8010, session_port: 4001}\n", "conf/server.xml is used by service app"),
    ],
)
def test_what_is_refused(services: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        made(services)
    assert reason in str(caught.value)


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app-sessions").write_text("not hexadecimal")
    (tmp_path / "app-sessions").chmod(0o600)
    with pytest.raises(UsageError, match="must be 32, 48 or 64 hexadecimal digits"):
        server_xml(tmp_path, made())
