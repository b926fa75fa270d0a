"""Lint's rules that look at a node's files of Tomcat and mod_jk."""

from __future__ import annotations

import pytest
from hafailover.crm.lint import jk_files
from hafailover.crm.lint.node_files import NodeFiles
from lint_facts import TOMCAT, conf, facts, found, put

# -- Tomcat --------------------------------------------------------------------------------------------------------------------------

XML = """<Server><Service name="Catalina"><Connector port="8080" protocol="HTTP/1.1"/>
<Connector port="8009" protocol="AJP/1.3" {secret}/>
<Engine name="Catalina" defaultHost="localhost" {route}><Host name="localhost"/></Engine></Service></Server>"""
WORKERS = """worker.list=wlb,jk-status
worker.template.type=ajp13
worker.template.port=8009
worker.jvm1.reference=worker.template
worker.jvm1.host=10.0.0.1
{secret}
worker.jvm2.reference=worker.template
worker.jvm2.host=10.0.0.2
worker.wlb.type=lb
worker.jk-status.type=status
{status}
"""


def installed(
    root, route='jvmRoute="jvm1"', connector='secret="hunter2"', worker="worker.jvm1.secret=hunter2", status=""
):
    put(root, "/var/lib/tomcat10/conf/server.xml", XML.format(secret=connector, route=route))
    put(root, "/etc/libapache2-mod-jk/workers.properties", WORKERS.format(secret=worker, status=status))


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ('jvmRoute="jvm1"', None),
        ('jvmRoute="jvm2"', "jvmRoute is 'jvm2', and mod_jk calls this Tomcat 'jvm1'"),
        ("", "jvmRoute is not given"),
    ],
)
def test_a_route_that_no_worker_has(tmp_path, route, said):
    installed(tmp_path, route)
    result = found("L32", facts(TOMCAT, node=tmp_path, corosync=conf()))
    assert len(result) == (said is not None)
    for where, text, fix in result:
        assert where == "a: /var/lib/tomcat10/conf/server.xml:3"
        assert said in text
        assert fix == 'jvmRoute="jvm1"'


@pytest.mark.parametrize(
    ("connector", "worker", "said"),
    [
        ('secret="hunter2"', "worker.jvm1.secret=hunter2", None),
        ('requiredSecret="hunter2"', "worker.jvm1.secret=hunter2", None),
        ('secretRequired="false"', "", None),
        ('secret="hunter2"', "worker.jvm1.secret=hunter3", "have different secrets"),
        ('secret="hunter2"', "", "there is none at /etc/libapache2-mod-jk/workers.properties:4"),
        ("", "worker.jvm1.secret=hunter2", "there is none at /var/lib/tomcat10/conf/server.xml:2"),
        ('secret="hunter2"', "worker.template.secret=hunter2", None),
    ],
)
def test_a_secret_that_only_one_knows(tmp_path, connector, worker, said):
    installed(tmp_path, connector=connector, worker=worker)
    result = found("L32b", facts(TOMCAT, node=tmp_path, corosync=conf()))
    assert len(result) == (said is not None)
    assert all(said in text for _, text, _ in result)
    assert "hunter" not in str(result)
    assert "hunter" not in repr(jk_files.workers(NodeFiles(tmp_path), []))


@pytest.mark.parametrize(
    ("config", "status", "flagged"),
    [
        ("JkMount /jk-status jk-status\n", "", True),
        ("JkMount /jk-status jk-status\n", "worker.jk-status.read_only=True", False),
        ("JkMount /jk-status jk-status\n<Location /jk-status>\nRequire ip 10.0.0.1\n</Location>\n", "", False),
        ("<Location /jk-status>\nJkMount jk-status\nRequire ip 10.0.0.1\n</Location>\n", "", False),
        ("<Location /jk-status>\nJkMount jk-status\n</Location>\n", "", True),
        ("<Location /jk-status>\nJkMount jk-status\nOrder deny,allow\nDeny from all\nAllow from 127.0.0.1\n</Location>\n", "", False),
        ("<Location /jk-status>\nJkMount jk-status\nRequire all granted\n</Location>\n", "", True),
        ("JkMount /jk-status jk-status\n<Location /other>\nRequire ip 10.0.0.1\n</Location>\n", "", True),
        ("# JkMount /jk-status jk-status\n", "", False),
        ("JkMount /app/* wlb\n", "", False),
    ],
)  # fmt: skip
def test_a_status_worker_that_is_open_to_everybody(tmp_path, config, status, flagged):
    installed(tmp_path, status=status)
    put(tmp_path, "/etc/apache2/mods-enabled/jk.conf", config)
    assert bool(found("L32c", facts(TOMCAT, node=tmp_path, corosync=conf()))) is flagged


@pytest.mark.parametrize(
    "xml",
    ["", "<Server", "<Server><Service/></Server>", '<!DOCTYPE x [<!ENTITY a "b">]><Server/>', "<a>" * 6000, "\0"],
)
def test_a_server_xml_that_is_none(tmp_path, xml):
    installed(tmp_path)
    put(tmp_path, "/var/lib/tomcat10/conf/server.xml", xml)
    for code in ("L32", "L32b"):
        assert found(code, facts(TOMCAT, node=tmp_path, corosync=conf())) == []
