"""What a topology makes of st2.conf and mongod.conf, and what is noticed of other files."""

import dataclasses

import pytest
from hafailover.crm import exports, external, mongod_conf, render, st2_conf
from hafailover.crm.commands import render as render_command
from hafailover.crm.edits import ini_set
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.files import FileEdit
from hafailover.crm.install_files import refuse_exposed
from hafailover.crm.topology import Service
from topologies import BASE, changed, invoke, parse

NODES = ("db1", "db2")
MQ = Service("mq", "rabbitmq", NODES, {"port": 5672, "vhosts": ["/"], "users": {"st2": {}, "ops": {}}})
WORKERS = Service("workers", "stackstorm", NODES, {}, after=("mq",))
SINGLE = Service("single", "stackstorm", NODES, {}, after=("mq",))
OUTSIDE = {
    "mongodb": {"uri": "mongodb://m1,m2,m3/?replicaSet=rs0", "user": "st2", "password": "file:mongo"},
    "redis": {"hosts": ["s1", "s2:2"], "sentinel": "st2", "password": "file:redis"},
    "rabbitmq": {"urls": ["amqp://q1/", "amqps://q2:1/a%2Fb"], "user": "o", "password": "file:q"},
}
SECRETS = {
    "file:mq-st2": b"p,w/@1",
    "file:mongo": b"p$w",
    "file:redis": b"r:w",
    "file:q": b"q",
    "file:own": b"own",
}


def topology(*services, **outside):
    return dataclasses.replace(
        parse(), services={service.name: service for service in services}, external=external.build(outside)
    )


def read(reference):
    return SECRETS[reference]


def settings(*services, **outside):
    return st2_conf.settings(
        topology(*services, **outside), [one for one in services if one.type == "stackstorm"], read
    )


def test_the_broker_in_the_cluster():
    assert settings(MQ, WORKERS) == {
        "messaging": {
            "cluster_urls": "amqp://st2:p%2Cw%2F%401@10.77.0.11:5672/,amqp://st2:p%2Cw%2F%401@10.77.0.12:5672/",
            "url": None,
        }
    }
    own = dataclasses.replace(
        MQ,
        nodes=("db2",),
        options={"port": 1, "vhosts": ["/"], "users": {"x": {"password": "file:own", "vhosts": ["st2"]}}},
    )
    assert settings(own, dataclasses.replace(WORKERS, after=(), beside="mq"))["messaging"]["cluster_urls"] == (
        "amqp://x:own@10.77.0.12:1/st2"
    )


def test_what_is_outside():
    assert settings(dataclasses.replace(WORKERS, after=()), **OUTSIDE) == {
        "messaging": {"cluster_urls": "amqp://o:q@q1:5672/,amqp://o:q@q2:1/a%2Fb?ssl=true", "url": None},
        # $ would name another option there.
        "database": {"host": "mongodb://m1,m2,m3/?replicaSet=rs0", "username": "st2", "password": "p$$w"},
        "coordination": {"url": "redis://:r%3Aw@s1:26379?sentinel=st2&sentinel_fallback=s2:2"},
    }
    # The broker that it comes after wins over one outside.
    assert "10.77.0.11" in settings(MQ, WORKERS, **OUTSIDE)["messaging"]["cluster_urls"]


def test_a_single_server_of_each():
    found = settings(WORKERS, mongodb={"uri": "mongodb://[fd00::1]:5"}, redis={"url": "rediss://r/3"})
    assert found == {
        "database": {"host": "fd00::1", "port": "5"},
        "coordination": {"url": "redis://r:6379?db=3&ssl=true"},
    }
    assert settings(WORKERS) == {}


def test_one_edit_for_all_services_of_a_node():
    both = topology(MQ, WORKERS, dataclasses.replace(SINGLE, nodes=("db2",)))
    found = [
        (node, service.name, edit.path, edit.mode, edit.group, edit.secret)
        for node in NODES
        for service in (WORKERS, SINGLE)
        for edit in st2_conf.edits(both.services[service.name], both, node, read)
    ]
    assert found == [(node, "workers", "/etc/st2/st2.conf", 0o640, "st2", True) for node in NODES]
    (edit,) = st2_conf.edits(both.services["workers"], both, "db1", read)
    new = edit.edit(b"[messaging]\nurl = amqp://guest:guest@127.0.0.1:5672/\n")
    assert b"# hafailover replaced: url = amqp://guest:guest@127.0.0.1:5672/\n" in new
    assert edit.edit(new) == new
    with pytest.raises(UsageError, match=r"/etc/st2/st2\.conf:1: is not a text file"):
        edit.edit(b"\x7fELF\0")


def test_a_broker_without_an_account_for_stackstorm():
    def said(**users):
        mq = dataclasses.replace(MQ, options={**MQ.options, "users": users})
        assert "cluster_urls" in settings(mq, WORKERS).get("messaging", {}) or set(users) != {"st2"}
        return [(problem.path, problem.message) for problem in st2_conf.problems(WORKERS, topology(mq, WORKERS))]

    message = "mq has no account for StackStorm: give it users: {st2: {}} (of several, the one named st2 is used)"
    assert said() == said(a={}, b={}) == [(("after",), message)]
    assert said(st2={}) == []
    assert list(st2_conf.problems(WORKERS, topology(WORKERS))) == []


def test_what_is_worth_a_note():
    once = dataclasses.replace(SINGLE, options={"units": "singleton"})
    (coordination, database) = st2_conf.notes(topology(MQ, WORKERS, once))
    assert coordination.startswith("workers: StackStorm on several nodes needs a coordination service")
    assert database.startswith("workers: every node needs the same MongoDB")
    assert st2_conf.notes(topology(MQ, WORKERS, **OUTSIDE)) == []
    assert st2_conf.notes(topology(MQ, dataclasses.replace(WORKERS, nodes=("db1",)))) == []


# mongod.conf
MONGOD = b"net:\n  port: 27017\n  bindIp: 127.0.0.1\n"
MEMBER = ("services:", 'external: {mongodb: {uri: "mongodb://db1,10.77.1.12,m3/?replicaSet=rs0"}}\nservices:')


def edit(node):
    (found,) = mongod_conf.edits(parse(changed(MEMBER)), node)
    return found.edit


def test_a_member_listens_where_its_peers_look_for_it_and_knows_its_set():
    new = edit("db1")(MONGOD)
    assert b"\n  bindIp: 127.0.0.1,10.77.0.11\n" in new
    assert b"\nreplication:\n  # hafailover set replSetName:\n  replSetName: rs0\n" in new
    assert edit("db1")(new) == new
    assert b"\n  bindIp: 127.0.0.1,10.77.1.12\n" in edit("db2")(MONGOD)
    assert mongod_conf.edits(parse(), "db1") == []


@pytest.mark.parametrize(
    "net",
    ["bindIp: 0.0.0.0", "bindIp: 'localhost, 10.77.0.11'", "bindIp: db1,localhost", "bindIpAll: true", 'bindIp: "*"'],
)
def test_a_member_that_listens_there_already_is_left_alone(net):
    content = f"net:\n  {net}\nreplication: {{replSetName: rs0}}\n".encode()
    assert mongod_conf.edited(content, "10.77.0.11", "db1", None) == content


def test_a_set_is_not_renamed():
    with pytest.raises(UsageError) as caught:
        edit("db1")(MONGOD + b"replication:\n  replSetName: other\n")
    assert str(caught.value) == (
        "/etc/mongod.conf: replication.replSetName is 'other', and external.mongodb.uri says 'rs0'; "
        "correct the one that is wrong (a set that has data cannot be renamed)"
    )


def test_no_mongodb_here_and_one_that_is_too_old():
    assert edit("db1")(b"") == b""
    with pytest.raises(
        UsageError, match=r"is in the format before MongoDB 2\.6 \(KEY = VALUE\); write it as YAML first"
    ):
        edit("db1")(b"# old\nbind_ip = 127.0.0.1\nport = 27017\n")


# What is no longer wanted
def undo(text, path):
    (found,) = [edit for edit in render.edits(parse(text), "db1") if edit.path == path]
    return found


def test_a_node_that_is_no_member_any_more_gets_its_own_file_back():
    gone = undo(BASE, "/etc/mongod.conf")
    assert (gone.undo, gone.edit(edit("db1")(MONGOD)), gone.edit(MONGOD), gone.edit(b"")) == (True, MONGOD, MONGOD, b"")
    assert gone.edit(b"not: [our business") == b"not: [our business"
    gone = undo(BASE, "/etc/st2/st2.conf")
    own = b"[messaging]\nurl = x\n"
    assert gone.edit(ini_set(own, {"messaging": {"url": None, "cluster_urls": "y"}, "a": {"b": "c"}})) == own
    assert not undo(changed(MEMBER), "/etc/mongod.conf").undo


def test_what_is_only_taken_back_is_not_listed(tmp_path):
    file = tmp_path / "t.yml"
    file.write_text(BASE)
    result = invoke(render_command.command, file, "--create-secrets")
    assert "db1: /etc/hosts is changed in places\n" in result.stdout
    assert "mongod.conf" not in result.stdout
    file.write_text(changed(MEMBER))
    assert "db1: /etc/mongod.conf is changed in places\n" in invoke(render_command.command, file).stdout


# /etc/exports
def test_an_export_that_a_service_makes_is_noticed(tmp_path):
    service = Service(
        "content",
        "nfs-server",
        ("db1",),
        {"disk": {"mount": "/srv/st2"}, "exports": {"packs": {"fsid": 1}, "venvs": {"fsid": 2, "path": "/srv/v v"}}},
    )
    (tmp_path / "etc/exports.d").mkdir(parents=True)
    (tmp_path / "etc/exports").write_text("# /srv/st2/packs\n/home *(rw)\n/srv/st2/packs/ \\\n   /srv/x *(rw)\n")
    (tmp_path / "etc/exports.d/a.exports").write_text('"/srv/v v" *(ro)\n/srv/v\\040v *(rw)\n')
    (first, second, third) = exports.notes(topology(service), "db1", tmp_path)
    assert first.startswith(f"{tmp_path}/etc/exports:3 exports /srv/st2/packs, which content does: ")
    assert second.startswith(f"{tmp_path}/etc/exports.d/a.exports:1 exports /srv/v v, which content does: ")
    assert third.startswith(f"{tmp_path}/etc/exports.d/a.exports:2 exports /srv/v v, ")
    assert exports.notes(topology(service), "db2", tmp_path) == []
    (tmp_path / "etc/exports.d/gone.exports").symlink_to(tmp_path / "nowhere")
    (tmp_path / "etc/exports.d/dir.exports").mkdir()
    assert exports.notes(topology(service), "db1", tmp_path) == [first, second, third], (
        "what cannot be read exports nothing"
    )


# Files that others may read
def test_no_password_is_put_into_a_file_that_everybody_reads(tmp_path):
    file = tmp_path / "st2.conf"
    values = {"messaging": {"url": "amqp://st2:password@h/"}}
    secret = FileEdit(str(file), lambda old: ini_set(old, values), 0o640, "root", "st2", secret=True)
    refuse_exposed(file, secret)
    file.write_text("[messaging]\n")
    file.chmod(0o644)
    with pytest.raises(HafailoverError) as caught:
        refuse_exposed(file, secret)
    assert str(caught.value) == (
        f"{file} can be read by everybody, and passwords belong into it: chgrp st2 {file} && chmod 0640 {file}"
    )
    nothing = dataclasses.replace(secret, edit=lambda old: ini_set(old, {}))
    for harmless in (nothing, dataclasses.replace(secret, mode=0o644), dataclasses.replace(secret, undo=True)):
        refuse_exposed(file, harmless)
    with pytest.raises(HafailoverError, match="can be read by everybody"):
        refuse_exposed(file, dataclasses.replace(nothing, exposes=lambda new: True))
    file.chmod(0o660)
    refuse_exposed(file, secret)
