"""What hafailover generated comes back whole: generate, import, generate gives the same configuration."""

import pytest
import yaml
from hafailover.crm import corosync, corosync_conf, generate, importing, local, topology, yamldoc
from hafailover.crm.commands import import_
from hafailover.crm.commands.import_ import command
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.local import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from topologies import EXAMPLES, changed, invoke, parse


def imported(wanted, with_corosync=True):
    """What import makes of the configuration, and the corosync.conf, of ``wanted``."""
    root = cib.parse(cib.text(generate.configuration(wanted)), "cib.xml")
    conf = corosync_conf.parse(corosync.text(wanted), "corosync.conf") if with_corosync else None
    return importing.run(root, "cib.xml", conf)


def again(found):
    return topology.parse(yamldoc.parse(found.text, "imported.yml"))


def same(wanted, found):
    """The configuration and the corosync.conf of both topologies, which must be the same to the letter."""
    assert found.lacking == ()
    result = again(found)
    assert cib.text(generate.configuration(result)) == cib.text(generate.configuration(wanted))
    assert [str(one) for one in found.differences] == []
    return result


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_comes_back_from_what_it_generates(path):
    wanted = topology.load(path)
    result = same(wanted, imported(wanted))
    ours = corosync.text(wanted).replace("system {\n    allow_knet_handle_fallback: yes\n}\n", "")
    assert corosync.text(result).replace("system {\n    allow_knet_handle_fallback: yes\n}\n", "") == ours


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_without_corosync_conf_it_is_said_what_is_not_known(path):
    found = imported(topology.load(path), with_corosync=False)
    said = " ".join(map(str, found.notes))
    assert "--corosync" in said
    changes = [str(one) for one in found.differences if one.kind not in ("property", "meta attribute", "parameter")]
    assert changes == []


NAMES = st.sampled_from(["db", "a", "web-1", "on", "null", "x_y", "Q", "true", "e1", "n"])
TIMES = st.sampled_from(["500ms", "1s", "90s", "2m"])


@st.composite
def topologies(draw):
    """A small topology of services that go together, with every key that leaves a trace in a CIB."""
    count = draw(st.integers(2, 4))
    nodes = {f"n{number}": {"id": number + 1, "links": [f"10.0.0.{number + 1}"]} for number in range(count)}
    two = count == 2 and draw(st.booleans())
    data = {"version": 1, "cluster": {"name": draw(st.sampled_from(["c", "on", "c-1"]))}, "nodes": nodes}
    fenced = draw(st.sampled_from(["each", "all", "disks", "watchdog", "none"]))
    if fenced == "each":
        for node in nodes.values():
            node["fence"] = draw(fences())
    elif fenced == "all":
        data["fencing"] = draw(fences())
    elif fenced == "disks":
        data["fencing"] = {"sbd": {"devices": ["/dev/a", "/dev/b", "/dev/c"], **draw(keys(timeout=st.just("20s")))}}
    elif fenced == "watchdog" and not two:
        data["fencing"] = {"sbd": {"timeout": "40s"}}
    else:
        data["lab"] = True
    if count == 2:
        data["quorum"] = {"two_node": True} if two else {"device": {"host": "10.0.0.99"}}
    names = iter(draw(st.permutations(["db", "mq", "files", "mnt", "st2", "once", "app", "web", "cache", "vol"])))
    services, vips = {}, {}
    data.update(vips=vips, services=services)
    on = draw(st.sampled_from(["all", [*nodes][:2], [*nodes][::-1]]))
    db, mq, files, mnt, st2, once, app, web, cache, vol = names
    if draw(st.booleans()):
        services[db] = {
            "type": "mariadb",
            "on": on,
            **draw(keys(port=st.integers(3307, 3309), stall=TIMES, fence_first=st.booleans())),
        }
        services[db].update(
            draw(keys(datadir=st.just("/srv/db"), socket=st.just("/run/x.sock"), clone_rate=st.integers(0, 9)))
        )
        if draw(st.booleans()):
            services[db]["options"] = {"event_scheduler": "ON"}
        vips[f"{db}-ip"] = {"ip": "10.0.0.100/24", "follows": f"{db}.{draw(st.sampled_from(['primary', 'replica']))}"}
    if draw(st.booleans()):
        services[mq] = {
            "type": "rabbitmq",
            "on": on,
            "users": {"st2": {}},
            **draw(keys(port=st.just(5673), patience=st.just("9s"))),
        }
    if draw(st.booleans()):
        services[files] = {
            "type": "nfs-server",
            "disk": {
                "device": "/dev/vdb",
                "mount": "/srv/x",
                **draw(keys(fstype=st.just("xfs"), options=st.just("noatime,nodev"))),
            },
            "exports": {"a": {"fsid": 1}, "b": {"fsid": 7, "path": "/srv/x/c/d", "read_only": True}},
            **draw(keys(squash=st.sampled_from(["root", "none", "all"]), anon_gid=st.integers(0, 9), clients=CLIENTS)),
        }
        vips[f"{files}-ip"] = {"ip": "10.0.0.101/24", "follows": files, **draw(keys(nic=st.just("eth0")))}
        if draw(st.booleans()):
            services[mnt] = {
                "type": "nfs-mount",
                "from": files,
                "to": {"a": "/mnt/a", "b": {"export": "/srv/x/c", "directory": "/b"}},
            }
            services[mnt].update(
                draw(keys(on_server_move=st.just("remount"), patience=st.just("9s"), cover=st.just(False)))
            )
    if draw(st.booleans()):
        services[cache] = {"type": "memcached", "on": on, **draw(keys(port=st.just(11212), patience=st.just("2s")))}
    if draw(st.booleans()):
        services[app] = {
            "type": "tomcat",
            **draw(keys(port=st.just(8010), unit=st.just("t.service"), start_timeout=st.just("300s"))),
        }
        services[app].update(draw(keys(sessions=st.just("local"), drain=TIMES, workers=st.just({"n0": "jvm1"}))))
        if draw(st.booleans()):
            services[web] = {"type": "apache", "tomcats": app, **draw(keys(port=st.just(81), finish=TIMES))}
            vips["www"] = {"ip": "10.0.0.102/24", "follows": web, **draw(keys(drain=TIMES))}
    if draw(st.booleans()):
        volume = {
            "replica": draw(st.sampled_from([2, 3] if count > 2 else [2])),
            **draw(keys(mount=st.just("/v"), clients=VOLUME)),
        }
        volume.update(
            draw(keys(device=st.just("/dev/vdc"), options=st.just({"a.b": "on"}), ping_timeout=st.just("20s")))
        )
        services[vol] = {
            "type": "glusterfs",
            "volumes": {"one": volume, "two": {"replica": 2, **draw(keys(mount=st.just("/w")))}},
        }
    before = [
        name
        for name in (db, mq, files, mnt, cache, vol)
        if name in services and services[name].get("on") != [*nodes][:2]
    ]
    before = [
        f"{name}.primary" if name == db and vips[f"{db}-ip"]["follows"].endswith("primary") else name for name in before
    ]
    if draw(st.booleans()):
        deep = {"deep_check": {"interval": "10m", "parameters": {"x": 1, "y": "on"}}}
        services[st2] = {
            "type": "stackstorm",
            "units": draw(st.sampled_from(["active-active", ["st2api", "st2auth"]])),
            **draw(keys(drain=TIMES)),
        }
        services[st2].update(
            after=draw(st.lists(st.sampled_from(before), unique=True)) if before else [],
            **draw(st.sampled_from([{}, deep])),
        )
    if draw(st.booleans()):
        services[once] = {
            "type": "stackstorm",
            "units": draw(st.sampled_from(["singleton", ["st2timersengine"]])),
            "on": on,
        }
        services[once].update(after=draw(st.lists(st.sampled_from(before), unique=True)) if before else [])
        beside = [name for name in (files, db) if name in services]
        if beside and draw(st.booleans()):
            services[once]["with"] = beside[0]
    shuffled = draw(st.permutations(list(services)))
    data["services"] = {name: services[name] for name in shuffled}
    return data


@pytest.mark.parametrize("before", [["mq", "db.primary"], ["db", "mq"], ["mq"], ["db-ip", "mq"]])
def test_what_a_service_is_with_is_in_its_after_only_where_it_was(before):
    """StackStorm is told to look at what it comes after, which a role or an address of the same service may be the reason of."""
    wanted = parse(
        changed(
            ("vip:", "db-ip:"),
            (
                "  db: {type: mariadb}",
                "  db: {type: mariadb}\n  mq: {type: rabbitmq, users: {st2: {}}}\n"
                f"  once: {{type: stackstorm, units: singleton, after: {before}, with: db}}",
            ),
        )
    )
    same(wanted, imported(wanted))


def keys(**strategies):
    """Some of these keys, and not others."""
    return st.fixed_dictionaries({}, optional=strategies)


def fences():
    return keys(
        plug=st.sampled_from(["1", "0x1", "on", "1.0", "", "- a", "#", "a: b", "'", '"', "true", "~", "é", "{a}"]),
        password=st.just("file:secret"),
        delay=TIMES,
        max_delay=TIMES,
        lanplus=st.sampled_from([1, True, "yes"]),
        pcmk_host_check=st.just("static-list"),
    ).map(lambda some: {"agent": "fence_x", **some})


CLIENTS = st.sampled_from(["10.0.0.0/24", ["10.0.0.0/24", "@group"], "*"])
VOLUME = st.sampled_from([["10.9.9.9"], ["10.9.*"]])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(topologies())
def test_whatever_a_topology_generates_comes_back(data):
    try:
        wanted = topology.parse(yamldoc.parse(yaml.safe_dump(data), "t.yml"))
    except UsageError:
        return  # services that do not go together; test_topology says why
    same(wanted, imported(wanted))


def test_the_live_cluster_is_read_with_its_own_corosync_conf(tools, monkeypatch, tmp_path):
    wanted = parse()
    (tmp_path / "corosync.conf").write_text(corosync.text(wanted).replace("10.77.0.11", "db1-ring0"))
    (tmp_path / "hosts").write_text("127.0.0.1 localhost db1-ring0\n10.77.0.11 db1-ring0 # one\n")
    tools(cibadmin__query=[Result(0, cib.text(generate.configuration(wanted)), "")])
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(corosync_conf, "PATH", str(tmp_path / "corosync.conf"))
    monkeypatch.setattr(import_, "_HOSTS", tmp_path / "hosts")
    result = invoke(command, "--live")
    read = topology.parse(yamldoc.parse(result.stdout, "t.yml"))
    assert read.nodes["db1"].links == ("10.77.0.11", "10.77.1.11")
    # The name in corosync.conf is the one thing that changes.
    assert (
        result.exit_code == 4 and "node db1 links: db1-ring0 10.77.1.11 becomes 10.77.0.11 10.77.1.11" in result.stderr
    )


def test_where_no_cluster_runs_live_says_so(tools, monkeypatch):
    tools(cibadmin__query=[Result(102, "", "not connected")])
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(local, "may_ask_cluster", lambda: True)
    assert "not running on this node" in str(invoke(command, "--live").exception)


def test_a_planted_change_in_the_cib_is_told():
    """The comparison is no rubber stamp: each of these is one difference, in words."""
    wanted = parse()
    conf = corosync_conf.parse(corosync.text(wanted), "corosync.conf")
    for old, new, words in [
        ('timeout="300s"', 'timeout="301s"', "db: operation start: timeout 301 s becomes timeout 300 s"),
        ('value="INFINITY"', 'value="7"', "db: meta attribute migration-threshold: 7 becomes INFINITY"),
        (
            'value="/etc/hafailover/db.cred"',
            'value="/x"',
            "db: parameter credentials: /x becomes /etc/hafailover/db.cred",
        ),
        (
            'kind="Mandatory"',
            'kind="Optional"',
            "vip start after db-clone promote, if both happen is not in the topology",
        ),
        ('value="5min"', 'value="9min"', "cluster property cluster-recheck-interval: 9min becomes 5min"),
        (
            'name="resource-stickiness" value="100"',
            'name="resource-stickiness" value="0"',
            "resource-stickiness: 0 becomes 100",
        ),
        ('value="10.77.0.100"', 'value="10.77.0.100" ', ""),
    ]:
        text = cib.text(generate.configuration(wanted))
        assert old in text
        found = importing.run(cib.parse(text.replace(old, new, 1), "c"), "c", conf)
        said = [str(one) for one in found.differences]
        assert (len(said) >= 1 and any(words in one for one in said)) if words else said == []


def test_whatever_is_planted_into_a_cib_or_corosync_conf_is_told():
    wanted = parse()
    text, conf = cib.text(generate.configuration(wanted)), corosync.text(wanted)
    inner = '<rule id="r"/><nvpair id="n" name="timeout" value="9s"/>'
    default = f'<op_defaults><meta_attributes id="q">{inner}</meta_attributes></op_defaults>'
    for old, new, words in [
        ('name="monitor" ', 'name="monitor" start-delay="45s" ', "start-delay=45s is not in the topology"),
        ('kind="Mandatory"', 'kind="Mandatory" require-all="false"', "any of several is enough is not in the topology"),
        ("<rsc_colocation ", '<rsc_colocation influence="false" ', "(influence=false) is not in the topology"),
        ("<primitive ", '<primitive description="words" ', "description=words is not in the topology"),
        ("</nodes>", '<node id="r" uname="r" type="remote"/></nodes>', "a node of type remote is not in the topology"),
        ("<resources>", '<resources><template id="u" class="ocf" type="x"/>', "u: a template that no resource uses"),
        (
            "</constraints>",
            '<rsc_location id="p" rsc-pattern="none" node="x" score="5"/></constraints>',
            "p: rsc_location that",
        ),
        ("</configuration>", f"{default}</configuration>", "operation default: timeout, which a rule sets, is not"),
    ]:
        assert old in text
        found = importing.run(
            cib.parse(text.replace(old, new, 1), "c"), "c", corosync_conf.parse(conf, "corosync.conf")
        )
        assert words in "\n".join(map(str, found.differences)), words
    planted = corosync_conf.parse(conf.replace("nodeid: 1", "nodeid: 1\n    quorum_votes: 3", 1), "corosync.conf")
    found = importing.run(cib.parse(text, "c"), "c", planted)
    assert "quorum_votes: 3 becomes not set" in "\n".join(map(str, found.differences))
