"""The key ``external`` of a topology: what it means, and what is said of mistakes in it."""

import re

import pytest
from hafailover.crm import external, render
from hafailover.crm.errors import UsageError
from hafailover.crm.urls import Host
from topologies import changed, parse

MONGO = 'mongodb: {uri: "mongodb://m1,m2:27018,[fd00::3]/?replicaSet=rs0"}'


def written(text):
    return changed(("services:", f"external: {{{text}}}\nservices:"))


def loaded(text):
    return parse(written(text)).external


def test_nothing_outside():
    assert parse().external == external.External()


def test_mongodb():
    found = loaded(MONGO).mongodb
    assert found.hosts == (Host("m1", 27017), Host("m2", 27018), Host("fd00::3", 27017))
    assert [host.written for host in found.hosts] == ["m1:27017", "m2:27018", "[fd00::3]:27017"]
    assert (found.replica_set, found.plain, found.tls, found.arbiters) == ("rs0", False, False, ())
    found = loaded(
        'mongodb: {uri: "mongodb://a,b/st2?replicaset=r&tls=true&tlsCAFile=/ca", arbiters: [c], user: u, password: file:p}'
    ).mongodb
    assert (found.replica_set, found.tls, found.ca_file) == ("r", True, "/ca")
    assert found.arbiters == (Host("c", 27017),)
    assert (found.user, found.password) == ("u", "file:p")


def test_redis_rabbitmq_and_the_rest():
    found = loaded("redis: {url: 'redis://r1/2', password: file:r}").redis
    assert (found.hosts, found.sentinel, found.database, found.tls, found.password) == (
        (Host("r1", 6379),),
        None,
        2,
        False,
        "file:r",
    )
    found = loaded("redis: {hosts: [s1, 's2:1'], sentinel: st2}").redis
    assert (found.hosts, found.sentinel) == ((Host("s1", 26379), Host("s2", 1)), "st2")
    found = loaded("rabbitmq: {urls: ['amqp://q1/', 'amqps://q2/a%2Fb'], user: st2, password: file:q}").rabbitmq
    assert [(url.hosts[0], vhost) for url, vhost in found.nodes] == [(Host("q1", 5672), "/"), (Host("q2", 5671), "a/b")]
    found = loaded("mariadb: {host: my}, storage: {host: nas, port: 2050}")
    assert (found.mariadb, found.storage) == (Host("my", 3306), Host("nas", 2050))


def test_the_nodes_that_are_members():
    topology = parse(written('mongodb: {uri: "mongodb://db1,10.77.1.12,m3/?replicaSet=rs0"}'))
    assert external.mongodb_members(topology) == {"db1": "10.77.0.11", "db2": "10.77.1.12"}
    assert external.mongodb_members(parse()) == {}


def test_secrets_of_others_are_asked_for_and_not_made_up(tmp_path):
    topology = parse(written("rabbitmq: {urls: ['amqp://q1/'], user: st2, password: file:q}"), str(tmp_path / "t.yml"))
    assert (("external", "rabbitmq", "password"), "file:q") in list(render.secret_references(topology))
    assert [path.name for path in render.create_secrets(topology)] == ["db-replication"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mongo: {}", "mongo: unknown key 'mongo'; allowed: mariadb, mongodb, rabbitmq, redis, storage; did you mean 'mongodb'?"),
        ("mongodb: {url: 'mongodb://a'}", "mongodb.url: unknown key 'url'; allowed: arbiters, password, uri, user; did you mean 'uri'?"),
        ("mongodb: {uri: 'http://a'}", "mongodb.uri: is not a URL of this kind; it begins with mongodb://"),
        ("mongodb: {uri: 'mongodb+srv://a.example/'}",
         "mongodb.uri: leaves its members to the DNS, which may fail when they are needed; write mongodb://HOST,HOST,HOST/"),
        ("mongodb: {uri: 'mongodb://a,b,c/'}", "mongodb.uri: names several hosts but no replica set; end it with /?replicaSet=NAME"),
        ("mongodb: {uri: 'mongodb://a,b/?replicaSet=r'}",
         "mongodb.uri: is a replica set of two voters: when one dies, the other is no majority and takes no writes; "
         "add a third member to it, or an arbiter, and name it in arbiters"),
        ("mongodb: {uri: 'mongodb://a,a:27017/?replicaSet=r'}", "mongodb.uri: names a host twice"),
        ("mongodb: {uri: 'mongodb://a:99999/'}", "mongodb.uri: names no host of the form HOST or HOST:PORT ([ADDRESS]:PORT for IPv6)"),
        ("mongodb: {uri: 'mongodb://[::x]/'}", "mongodb.uri: names no host of the form HOST or HOST:PORT ([ADDRESS]:PORT for IPv6)"),
        ("mongodb: {uri: 'mongodb://[1::2::3]/'}", "mongodb.uri: has something in brackets that is no IPv6 address"),
        ("mongodb: {uri: 'mongodb://a/?replicaSet='}", "mongodb.uri: has an empty replicaSet; name the set"),
        ("mongodb: {uri: 'mongodb://a', arbiters: [b]}", "mongodb.arbiters: is for a replica set, and the uri names none"),
        ("mongodb: {uri: 'mongodb://a,b/?replicaSet=r', arbiters: [a]}",
         "mongodb.arbiters: names a host of the uri too; an arbiter holds no data and stands only here"),
        ("mongodb: {uri: 'mongodb://a', user: u}",
         "mongodb.user: needs the other half of the account, too; give password: file:NAME"),
        ("redis: {}", "redis.url: give either url, for a single server, or hosts and sentinel"),
        ("redis: {hosts: [a, b]}",
         "redis.sentinel: is missing: hosts are sentinels, and the name by which they know the primary must be given"),
        ("redis: {url: 'redis://a/x'}", "redis.url: must end with the number of a database, or after the port"),
        ("redis: {url: 'redis://a,b'}", "redis.url: must name one host; write redis://HOST:PORT/DATABASE"),
        ("redis: {url: 'redis://a?db=1'}", "redis.url: has options, which are not known here; hosts and sentinel are keys of their own"),
        ("redis: {url: 'redis://a', sentinel: m}", "redis.sentinel: goes with hosts (the sentinels), not with url"),
        ("rabbitmq: {urls: [amqp://a], password: file:p}", "rabbitmq.user: is missing: the account that uses it"),
        ("rabbitmq: {urls: ['http://a'], user: u, password: file:p}",
         "rabbitmq.urls[0]: is not a URL of this kind; it begins with amqp:// or amqps://"),
        ("storage: {host: 'a b'}", "storage.host: is 'a b'; write text"),
        ("mariadb: {host: '-x'}", "mariadb.host: names no host of the form HOST or HOST:PORT ([ADDRESS]:PORT for IPv6)"),
    ],
)  # fmt: skip
def test_mistakes(text, said):
    with pytest.raises(UsageError) as caught:
        loaded(text)
    assert re.sub(r":10:\d+:", ":10:", str(caught.value).splitlines()[0]) == f"t.yml:10: external.{said}"


@pytest.mark.parametrize(
    "text",
    [
        'mongodb: {uri: "mongodb://st2:hunter2@m1/"}',
        'mongodb: {uri: "mongodb://st2:hunter2@m1/ x"}',
        'mongodb: {uri: "mongodb://st2:hunter2?#@m1/"}',
        'mongodb: {uri: "mongodb://m1/?tlsCertificateKeyFilePassword=hunter2"}',
        'redis: {url: "redis://:hunter2@r1:6379"}',
        'redis: {url: "redis://r1", password: hunter2}',
        'rabbitmq: {urls: ["amqp://st2:hunter2@q1/"], user: st2, password: file:q}',
    ],
)
def test_a_secret_in_the_topology_is_refused_and_not_repeated(text):
    with pytest.raises(UsageError) as caught:
        loaded(text)
    assert "hunter2" not in str(caught.value)
    assert re.match(r"t\.yml:10:\d+: external\.", str(caught.value))
