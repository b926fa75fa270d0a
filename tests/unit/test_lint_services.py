"""Lint's rules about addresses, failures, data, exports and secrets in a CIB: what each must flag, and what it must not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hafailover.crm import lint, topology
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.lint import Facts
from hafailover.crm.resolved import Resolved
from lint_facts import (
    clone,
    colocated,
    conf,
    configuration,
    facts,
    found,
    group,
    of_topology,
    ordered,
    places,
    primitive,
    put,
)
from topologies import BASE, EXAMPLES, changed, parse


def vip(name, ip, agent="ocf:heartbeat:IPaddr2", **more):
    return primitive(name, agent, ip=ip, **more)


# -- addresses -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "more", "flagged"),
    [
        ([vip("v1", "10.0.0.9"), vip("v2", "10.0.0.9", "ocf:hafailover:vip")], {}, ["v2"]),
        ([vip("v1", "10.0.0.9"), vip("v2", "10.0.0.8")], {}, []),
        ([vip("v1", "2001:db8::1"), vip("v2", "2001:0db8:0::1")], {}, ["v2"]),
        ([vip("v1", "10.0.1.2")], {"corosync": conf()}, ["v1"]),
        ([vip("v1", "10.0.1.3")], {"corosync": conf()}, []),
        ([vip("v1", "not an address"), vip("v2", "not an address")], {}, []),
    ],
)
def test_an_address_that_two_have(elements, more, flagged):
    assert places("L16", facts(*elements, **more)) == flagged


def test_the_other_owner_is_named():
    ((_, text, fix),) = found("L16", facts(vip("v1", "10.0.0.2"), corosync=conf()))
    assert text == "10.0.0.2 is the address of a link of b too"
    assert fix == "crm resource param v1 set ip <ANOTHER-ADDRESS>"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ip": "192.0.2.9", "cidr_netmask": "24"}, "192.0.2.0/24 has no link of any node in it"),
        ({"ip": "192.0.2.9", "cidr_netmask": "24", "nic": "eth5"}, None),
        ({"ip": "10.0.0.9", "cidr_netmask": "24"}, None),
        ({"ip": "10.0.0.9", "cidr_netmask": "255.255.255.0"}, None),
        ({"ip": "10.0.0.0", "cidr_netmask": "24"}, "10.0.0.0/24 is the network's own address"),
        ({"ip": "10.0.0.255", "cidr_netmask": "24", "nic": "eth0"}, "broadcast"),
        ({"ip": "10.9.9.9", "cidr_netmask": "32", "nic": "lo"}, None),
        ({"ip": "10.9.9.9"}, None),
        ({"ip": "10.0.0.9", "cidr_netmask": "wide"}, None),
    ],
)
def test_an_address_outside_of_every_network(given, said):
    texts = [
        text for _, text, _ in found("L16b", facts(primitive("v", "ocf:heartbeat:IPaddr2", **given), corosync=conf()))
    ]
    assert len(texts) == (said is not None)
    assert all(said in text for text in texts)


# -- failures and data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "defaults", "flagged"),
    [
        ({"migration-threshold": "3"}, {}, ["x"]),
        ({"migration-threshold": "3", "failure-timeout": "0"}, {}, ["x"]),
        ({"migration-threshold": "3", "failure-timeout": "60s"}, {}, []),
        ({"migration-threshold": "3"}, {"failure-timeout": "60s"}, []),
        ({"migration-threshold": "INFINITY"}, {}, []),
        ({}, {"migration-threshold": "3"}, ["rsc_defaults"]),
        ({}, {}, []),
    ],
)
def test_a_ban_for_ever(meta, defaults, flagged):
    assert places("L23", facts(primitive("x", "ocf:x:y", meta), defaults=defaults)) == flagged


def test_defaults_are_said_once():
    many = [primitive(f"x{number}", "ocf:x:y") for number in range(9)]
    ((_, text, fix),) = found("L23", facts(*many, defaults={"migration-threshold": "3"}))
    assert text == "after 3 failures, however long ago, x0, x1, x2, x3, x4 and 4 more are banned from a node"
    assert fix == "crm configure rsc_defaults failure-timeout=60s"


DISK = primitive("fs", "ocf:heartbeat:Filesystem", directory="/srv", device="/dev/x", fstype="ext4")
APP = primitive("app", "systemd:app")
DB = clone("db-clone", primitive("db", "ocf:heartbeat:mysql"), promotable="true")


@pytest.mark.parametrize(
    ("elements", "flagged"),
    [
        ([DISK, APP, colocated("app", "fs")], ["app-with-fs"]),
        ([DISK, APP, colocated("app", "fs"), ordered("fs", "app")], []),
        ([DISK, APP, colocated("app", "fs"), ordered("fs", "app", kind="Serialize")], ["app-with-fs"]),
        ([DISK, APP, colocated("app", "fs", score="100")], []),
        ([DISK, APP, colocated("fs", "app")], []),
        ([DISK, vip("v", "10.0.0.9"), colocated("v", "fs")], []),
        ([group("g", DISK, APP)], []),
        ([group("g", DISK), APP, colocated("app", "g"), ordered("fs", "app")], []),
        ([DISK, clone("c", APP), colocated("c", "fs")], []),
        ([DB, APP, colocated("app", "db-clone", with_rsc_role="Promoted")], ["app-with-db-clone"]),
        ([DB, APP, colocated("app", "db-clone", with_rsc_role="Promoted"), ordered("db-clone", "app", first_action="promote")], []),
        ([DISK, APP, vip("v", "10.0.0.9"), colocated("app", "fs"), ordered("fs", "v"), ordered("v", "app")], []),
    ],
)  # fmt: skip
def test_a_service_that_may_start_before_its_data(elements, flagged):
    assert places("L24", facts(*elements)) == flagged


def test_the_order_that_is_missing():
    ((_, text, fix),) = found("L24", facts(DB, APP, colocated("app", "db-clone", with_rsc_role="Promoted")))
    assert text == "app runs where db-clone (ocf:heartbeat:mysql) does, and may start before it"
    assert fix == "crm configure order app-after-db-clone Mandatory: db-clone:promote app:start"


@pytest.mark.parametrize(
    ("directory", "flagged"),
    [
        ("/opt/stackstorm", True),
        ("/opt/stackstorm/", True),
        ("//opt/./stackstorm", True),
        ("/opt/stackstorm/packs", False),
        ("/srv/opt/stackstorm", False),
        ("relative", False),
    ],
)
@pytest.mark.parametrize("agent", ["ocf:heartbeat:Filesystem", "ocf:hafailover:nfsmount"])
def test_a_mount_over_the_software(agent, directory, flagged):
    assert bool(found("L31", facts(primitive("m", agent, directory=directory)))) is flagged


# -- exports ---------------------------------------------------------------------------------------------------------------------


def export(name, directory, **more):
    return primitive(name, "ocf:heartbeat:exportfs", directory=directory, clientspec="10.0.0.0/24", **more)


@pytest.mark.parametrize(
    ("elements", "flagged"),
    [
        ([export("e", "/srv/a", options="rw")], ["e"]),
        ([export("e", "/srv/a", options="rw,fsid=7")], []),
        ([export("e", "/srv/a", fsid="7")], []),
        ([group("g", export("e", "/srv/a", fsid="7"), export("f", "/srv/b", fsid="7"))], ["f"]),
        ([group("g", export("e", "/srv/a", fsid="7"), export("f", "/srv/a", fsid="7"))], []),
        ([group("g", export("e", "/srv/a", fsid="root"), export("f", "/srv/b", options="fsid=0"))], ["f"]),
    ],
)
def test_an_export_without_a_number(elements, flagged):
    assert places("L30", facts(*elements)) == flagged


def test_a_number_that_is_free_is_proposed():
    ((_, _, fix),) = found("L30", facts(export("e", "/srv/a"), export("f", "/srv/b", fsid="1001")))
    assert fix == "crm resource param e set fsid 1002"


@pytest.mark.parametrize(
    ("line", "flagged"),
    [
        ("/srv/packs 10.0.0.0/24(rw,sync)", True),
        ("/srv/packs 10.0.0.0/24(rw,sync,fsid=7)", False),
        ("/srv/packs -fsid=7,rw 10.0.0.0/24", False),
        ('"/srv/my packs" *(rw)', True),
        ("/home 10.0.0.0/24(rw)", False),
        ("# /srv/packs 10.0.0.0/24(rw)", False),
        ("/srv/packs \\\n  a(rw,fsid=1) \\\n  b(rw)", True),
        ("/srv/packs", True),
        ("/srvx *(rw)", False),
    ],
)
@pytest.mark.parametrize("path", ["/etc/exports", "/etc/exports.d/st2.exports"])
def test_an_exports_file_without_a_number(tmp_path, path, line, flagged):
    put(tmp_path, path, line + "\n")
    result = found("L30b", facts(DISK, node=tmp_path))
    assert bool(result) is flagged
    assert all(where == f"a: {path}:1" for where, _, _ in result)


# -- secrets ---------------------------------------------------------------------------------------------------------------------

SECRET = "hunter2-it-is"


@pytest.mark.parametrize(
    ("agent", "given", "flagged"),
    [
        ("stonith:fence_x", {"password": SECRET}, True),
        ("stonith:fence_x", {"snmp_priv_passwd": SECRET}, True),
        ("stonith:fence_x", {"password_script": "/etc/x"}, False),
        ("stonith:fence_scsi", {"key": "abc1"}, False),
        ("ocf:heartbeat:mysql", {"replication_passwd": SECRET, "replication_user": "u"}, True),
        ("ocf:x:y", {"url": f"amqp://u:{SECRET}@h/"}, True),
        ("ocf:hafailover:mariadb", {"credentials": "/etc/hafailover/db.cred"}, False),
    ],
)
def test_a_secret_in_the_cib_is_named_and_never_said(agent, given, flagged):
    result = found("L33", facts(primitive("x", agent, **given)))
    assert bool(result) is flagged
    assert SECRET not in str(result)


def test_how_a_fence_device_reads_it_instead():
    ((where, text, fix),) = found("L33", facts(primitive("f", "stonith:fence_x", passwd=SECRET)))
    assert (where, text) == ("f", "passwd is a secret, written in plain")
    assert (
        fix == "crm resource param f set passwd_script /etc/hafailover/f-passwd && crm resource param f delete passwd"
    )


def test_how_pacemaker_reads_that_of_any_other_resource_from_a_file():
    ((_, _, fix),) = found("L33", facts(primitive("db", "ocf:heartbeat:mysql", replication_passwd=SECRET)))
    assert fix.splitlines()[1] == "cibsecret stash db replication_passwd"
    assert fix.startswith("# db is restarted; ")
    ((_, _, fix),) = found("L33", facts(primitive("f", "stonith:fence_x", snmp_priv_passwd=SECRET)))
    assert "f-snmp_priv_passwd" in fix or "cibsecret stash f snmp_priv_passwd" in fix
    # What cibsecret leaves behind is no secret.
    assert found("L33", facts(primitive("db", "ocf:heartbeat:mysql", replication_passwd="lrm://"))) == []
    # Hidden in the resource alone it would stay in the template.
    template = '<template id="t" class="ocf" provider="heartbeat" type="mysql"><instance_attributes id="i">'
    template += f'<nvpair id="n" name="replication_passwd" value="{SECRET}"/></instance_attributes></template>'
    made = configuration(primitive("db", "ocf:heartbeat:mysql"))
    made = re.sub(r'<primitive id="db"[^>]*?(/?)>', r'<primitive id="db" template="t"\1>', made)
    made = made.replace("<resources>", f"<resources>{template}")
    read = cib.read(cib.parse(made, "test"))
    ((_, _, fix),) = found("L33", Facts(None, None, read, Resolved(read)))
    assert fix.startswith("# replication_passwd comes from a template,") and "\n" not in fix


def test_a_secret_of_an_alert():
    pairs = '<instance_attributes id="i"><nvpair id="n" name="api_token" value="hunter2-it-is"/></instance_attributes>'
    alerts = f'<alerts><alert id="al" path="/x"><recipient id="re" value="y">{pairs}</recipient></alert></alerts>'
    root = cib.parse(configuration().replace("</configuration>", f"{alerts}</configuration>"), "test")
    made = cib.read(root)
    ((where, text, _),) = found("L33", Facts(None, None, made, Resolved(made)))
    assert (where, text) == ("re", "api_token of an alert is a secret, written in plain")


def test_a_secret_in_a_topology():
    # Where the loader looks, it refuses one; in a URL among other words it does not.
    text = changed(("{type: mariadb}", "{type: mariadb, options: {init_secret: hunter2-it-is, max_connections: 10}}"))
    with pytest.raises(UsageError, match=r"services\.db\.options\.init_secret: is a secret in plain") as refused:
        parse(text)
    assert SECRET not in str(refused.value)
    data = {**parse(BASE).data, "alerts": {"chat": {"api_token": SECRET}}}
    ((where, said, fix),) = found("L33b", Facts(topology=replace(parse(BASE), data=data)))
    assert where == "alerts.chat.api_token"
    assert SECRET not in said + fix
    assert found("L33b", of_topology(parse(BASE))) == []
    counted = "{type: mariadb, options: {old_passwords: 0, simple_password_check_digits: 1, key_buffer_size: 8M, ssl_key: k.pem}}"
    assert found("L33b", of_topology(parse(changed(("{type: mariadb}", counted))))) == []
    timed = changed(("encryption: off", "encryption: off, detection: {token: 1s}"))
    assert found("L33b", of_topology(parse(timed))) == []


# -- all of them -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_have_none_of_it(file):
    report = lint.examine(of_topology(topology.load(file)))
    assert [(one.code, one.where, one.text) for one in report.findings] == []
    assert report.broken == ()


def test_a_database_that_listens_to_itself_alone():
    text = changed(("{type: mariadb}", "{type: mariadb, bind_address: 127.0.0.1}"))
    ((where, said, fix),) = found("L29c", of_topology(parse(text)))
    assert (where, fix) == ("services.db.bind_address", "bind_address: 0.0.0.0")
    assert "mariadb listens on 127.0.0.1 alone" in said
    assert (
        found("L29c", of_topology(parse(changed(("{type: mariadb}", "{type: mariadb, bind_address: 10.77.0.11}")))))
        == []
    )
    bound = primitive("db", "ocf:heartbeat:mysql", additional_parameters="--bind-address=127.0.0.1 --x=y")
    assert places("L29c", facts(bound)) == ["db"]
    free = primitive("db", "ocf:heartbeat:mysql", additional_parameters="--bind-address=0.0.0.0")
    assert places("L29c", facts(free)) == []


def test_a_server_id_for_all():
    secret = "--server-id=1 --wsrep-sst-auth=sst:Geheim2"
    numbered = primitive("db", "ocf:heartbeat:mysql", additional_parameters=secret)
    ((where, text, fix),) = found("L29", facts(clone("c", numbered)))
    assert (where, text) == ("db", "additional_parameters gives every instance the server_id 1")
    assert fix == "# take --server-id out of additional_parameters:\ncrm configure edit db"
    assert "Geheim" not in text + fix
    alone = primitive("db", "ocf:heartbeat:mysql", additional_parameters="--server-id=1")
    ((_, _, fix),) = found("L29", facts(clone("c", alone)))
    assert fix == "crm resource param db delete additional_parameters"
    assert found("L29", facts(numbered)) == []
    assert found("L29", facts(clone("c", primitive("db", "ocf:heartbeat:mysql")))) == []


# -- secrets inside values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("additional_parameters", "--x=y --wsrep-sst-auth=sst:Geheim2"),
        ("options", "username=u,password=Geheim1"),
        ("primary_conninfo_opt", "password=Geheim7"),
        ("client_passwd", "/Xk29abcdEfG="),
        ("admin_auth", "x:y"),
    ],
)
def test_a_secret_inside_a_value_is_found_and_not_shown(name, value):
    ((where, said, fix),) = found("L33", facts(primitive("r", "ocf:heartbeat:anything", **{name: value})))
    assert (where, name in said) == ("r", True)
    assert value not in said + fix
