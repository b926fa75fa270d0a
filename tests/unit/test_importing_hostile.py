"""Import of what nobody should have written: every output loads or says why not, nothing ends in a traceback, and it ends soon."""

import os
import time

import pytest
import yaml
from hafailover.crm import corosync_conf, importing, topology, yamldoc
from hafailover.crm.commands.import_ import command
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree
from topologies import invoke

NODES = '<node id="1" uname="a"/><node id="2" uname="b"/>'
CONF = """totem {
    version: 2
    cluster_name: c
}
nodelist {
    node {
        name: a
        nodeid: 1
        ring0_addr: 10.0.0.1
    }
    node {
        name: b
        nodeid: 2
        ring0_addr: 10.0.0.2
    }
}
quorum {
    provider: corosync_votequorum
    two_node: 1
}
"""
EVIL = (
    "x: y\n- z", "on", "1.0", "0x1", "~", "null", "true", "- a", "#", "a #b", "'", '"', "{", "}", "[", "&a", "*a", "!!str", "%", "@", "`",
    "\u2028", "\x85", "\u202e", "é", "a" * 300, " ", "", "fence-a", "a b; rm -rf /", "$(x)", "file:/etc/shadow", "|", ">", "?", "=", "<<",
)  # fmt: skip


def document(resources="", constraints="", nodes=NODES, properties=""):
    root = etree.fromstring(
        '<cib validate-with="pacemaker-3.7"><configuration><crm_config><cluster_property_set id="o"/></crm_config><nodes/>'
        "<resources/><constraints/></configuration><status/></cib>"
    )
    for path, xml in (("nodes", nodes), ("resources", resources), ("constraints", constraints)):
        root.find(f"configuration/{path}").extend(etree.fromstring(f"<x>{xml}</x>"))
    root.find("configuration/crm_config/cluster_property_set").extend(etree.fromstring(f"<x>{properties}</x>"))
    return root


def pair(name, value):
    return etree.Element("nvpair", id=f"i{abs(hash((name, value)))}", name=name, value=value)


def primitive(id, agent, **params):
    one = etree.Element("primitive", id=id)
    parts = agent.split(":")
    one.set("class", parts[0])
    if len(parts) == 3:
        one.set("provider", parts[1])
    one.set("type", parts[-1])
    found = etree.SubElement(one, "instance_attributes", id=f"{id}-ia")
    found.extend([pair(name, value) for name, value in params.items()])
    return one


def clone(id, member, **meta):
    one = etree.Element("clone", id=id)
    found = etree.SubElement(one, "meta_attributes", id=f"{id}-ma")
    found.extend([pair(name.replace("_", "-"), value) for name, value in meta.items()])
    one.append(member)
    return one


def checked(root):
    """Import ``root``; what is printed is YAML as it should be, and loads exactly when that is said."""
    found = importing.run(root, "c.xml", corosync_conf.parse(CONF))
    read = yamldoc.parse(found.text, "t.yml")
    assert read.data == found.data
    assert set(yaml.safe_load(found.text)) <= {
        "version",
        "lab",
        "cluster",
        "nodes",
        "fencing",
        "quorum",
        "vips",
        "services",
    }
    try:
        topology.parse(read)
        assert found.lacking == ()
    except UsageError:
        assert found.lacking != ()
    assert all(one.isprintable() for one in found.text.splitlines())
    return found


@pytest.mark.parametrize("word", EVIL, ids=ascii)
def test_whatever_a_name_or_value_is_the_file_means_what_it_should(word):
    root = document()
    resources = root.find("configuration/resources")
    resources.append(primitive(f"p{word}", "ocf:heartbeat:IPaddr2", ip="10.0.0.9", cidr_netmask="24", nic=word))
    resources.append(
        primitive(word or "empty", "stonith:fence_x", pcmk_host_list="a", plug=word, port=word, **{"o" + word: "1"})
    )
    resources.append(
        clone(
            f"c{word}", primitive(f"m{word}", "ocf:heartbeat:mysql", datadir=word, socket=f"/{word}"), promotable="true"
        )
    )
    resources.append(primitive(f"z{word}", "systemd:x" + word.replace("\n", "")))
    root.find("configuration/constraints").append(
        etree.Element(
            "rsc_colocation",
            {"id": word or "e", "rsc": f"p{word}", "with-rsc": f"c{word}", "with-rsc-role": word, "score": word},
        )
    )
    root.find("configuration/crm_config/cluster_property_set").append(pair("cluster-name", word))
    root.find("configuration/crm_config/cluster_property_set").append(pair(f"x{word}", word))
    checked(root)


TEXT = st.one_of(
    st.sampled_from(EVIL), st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
).filter(lambda text: all(c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") for c in text))
AGENTS = st.sampled_from(
    ["ocf:heartbeat:IPaddr2", "ocf:heartbeat:mysql", "ocf:heartbeat:galera", "ocf:heartbeat:Filesystem", "ocf:heartbeat:exportfs",
     "ocf:heartbeat:nfsserver", "ocf:heartbeat:apache", "ocf:heartbeat:tomcat", "ocf:heartbeat:rabbitmq-cluster", "systemd:memcached",
     "systemd:st2api", "systemd:st2timersengine", "systemd:glusterd", "stonith:fence_x", "stonith:fence_sbd", "ocf:hafailover:mariadb",
     "ocf:hafailover:vip", "ocf:hafailover:st2", "ocf:hafailover:nfsmount", "ocf:hafailover:glusterd", "ocf:hafailover:glustervolume",
     "ocf:hafailover:tomcat", "ocf:hafailover:apache", "ocf:hafailover:rabbitmq", "ocf:hafailover:memcached"]
)  # fmt: skip
PARAMS = st.dictionaries(
    st.sampled_from(
        ["ip", "cidr_netmask", "nic", "device", "directory", "fstype", "options", "fsid", "clientspec", "pcmk_host_list", "pcmk_host_map",
         "nodes", "units", "watch", "volume", "replica", "server", "export", "port", "ajp", "workers", "workers_file", "status",
         "deep_parameters",
         "password", "passwd", "datadir", "socket", "statusurl", "version", "drain", "pcmk_delay_max", "devices", "power_timeout"]
    ),
    st.one_of(TEXT, st.sampled_from(["a", "a:10.0.0.1 b:10.0.0.2", "10.0.0.9", "24", "/srv/x", "host:/x", "5s", "[]", "{}"])),
    max_size=6,
)  # fmt: skip


@st.composite
def roots(draw):
    root = document(nodes="")
    for name in draw(
        st.lists(st.one_of(st.sampled_from(["a", "b", "c.d"]), TEXT), min_size=1, max_size=3, unique=True)
    ):
        root.find("configuration/nodes").append(
            etree.Element("node", id=draw(st.sampled_from(["1", "2", "x", "99999999999"])), uname=name)
        )
    ids = draw(st.lists(TEXT, min_size=1, max_size=6))
    resources, around = root.find("configuration/resources"), []
    for id in ids:
        one = primitive(id, draw(AGENTS), **draw(PARAMS))
        kind = draw(st.sampled_from(["alone", "clone", "promotable", "group", "cloned group"]))
        if kind.endswith("group"):
            group = etree.Element("group", id=f"g{id}")
            group.append(one)
            group.append(primitive(f"{id}+", draw(AGENTS), **draw(PARAMS)))
            one = group
        if kind.startswith(("clone", "promotable")):
            one = clone(f"c{id}", one, promotable=str(kind == "promotable").lower())
        resources.append(one)
        around.append(one.get("id"))
    for number in range(draw(st.integers(0, 5))):
        first, second = draw(st.sampled_from(around)), draw(st.sampled_from(around))
        kind = draw(st.sampled_from(["rsc_order", "rsc_colocation", "rsc_location"]))
        about = {
            "rsc_order": {"first": first, "then": second, "first-action": draw(st.sampled_from(["start", "promote"]))},
            "rsc_colocation": {
                "rsc": first,
                "with-rsc": second,
                "score": "INFINITY",
                "with-rsc-role": draw(st.sampled_from(["Started", "Master"])),
            },
            "rsc_location": {"rsc": first, "node": "a", "score": draw(st.sampled_from(["-INFINITY", "5"]))},
        }[kind]
        root.find("configuration/constraints").append(etree.Element(kind, {"id": f"k{number}", **about}))
    return root


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(roots())
def test_any_mixture_of_agents_and_words_is_told_or_written(root):
    try:
        checked(root)
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("hello", "XML"),
        ("<cib/>", "CIB"),
        ("<cib><configuration/></cib>", "names no node"),
        ("<a><b></a>", "XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><cib>&a;</cib>', ""),
        ("<crm_mon/>", "CIB"),
    ],
)
def test_what_is_no_cib_is_refused_in_a_sentence(content, words, tmp_path):
    path = tmp_path / "c.xml"
    path.write_text(content)
    with pytest.raises(UsageError, match=f"(?i){words}"):
        command.main([str(path)], standalone_mode=False)


def test_a_file_that_cannot_be_read_or_two_sources_are_wrong_usage(tmp_path):
    for arguments in ([str(tmp_path / "none.xml")], [str(tmp_path)], [], ["--live", "x.xml"]):
        with pytest.raises(UsageError):
            command.main(arguments, standalone_mode=False)


def test_thousands_of_resources_are_imported_within_seconds():
    root = document()
    resources, constraints = root.find("configuration/resources"), root.find("configuration/constraints")
    for number in range(250):
        resources.append(
            primitive(
                f"ip{number}", "ocf:heartbeat:IPaddr2", ip=f"10.0.{number // 250}.{number % 250}", cidr_netmask="16"
            )
        )
        resources.append(primitive(f"u{number}", f"systemd:st2x{number}"))
        resources.append(
            clone(f"v{number}", primitive(f"w{number}", "ocf:hafailover:glusterd", nodes=f"a:10.0.0.1 {number}"))
        )
        constraints.append(etree.Element("rsc_order", id=f"o{number}", first=f"u{number}", then=f"ip{number}"))
    begin = time.process_time()
    found = checked(root)
    assert time.process_time() - begin < 10
    assert found.text.count("\n") < 1500 and "hafailover import -o json has them all" in found.text


def test_a_secret_inside_of_other_words_is_not_shown():
    root = document()
    hidden = {
        "additional_parameters": "--wsrep-sst-auth=root:s3cr3t",
        "url": "amqp://u:s3cr3t@host/",
        "x": "password=s3cr3t",
    }
    member = primitive("m", "ocf:heartbeat:galera", **hidden, my_password="s3cr3t", apikey="s3cr3t")
    root.find("configuration/resources").append(clone("c", member, promotable="true"))
    root.find("configuration/resources").append(
        primitive("f", "stonith:fence_x", pcmk_host_list="a b", api_token="s3cr3t")
    )
    found = checked(root)
    told = found.text + str(found.differences) + str(found.notes) + str(found.data)
    assert "s3cr3t" not in told and "additional_parameters" in told and "api_token" in told


HIDING = [
    ("ocf:heartbeat:tomcat", "statusurl", "http://admin:s3cr3t@127.0.0.1:8080/manager"),
    ("ocf:heartbeat:tomcat", "statusurl", "http://s3cr3t@127.0.0.1:8080/manager"),
    ("ocf:heartbeat:tomcat", "statusurl", "http://127.0.0.1:8080/manager?token=s3cr3t"),
    ("ocf:heartbeat:tomcat", "catalina_opts", "-Dpw:s3cr3t"),
    ("ocf:heartbeat:tomcat", "java_opts", "-Dx.keyStorePassword s3cr3t"),
    ("ocf:heartbeat:tomcat", "java_opts", "--whatever s3cr3t"),
    ("ocf:hafailover:st2", "api", "http://u:s3cr3t@127.0.0.1:9101/"),
    ("ocf:hafailover:st2", "deep_parameters", '{"password": "s3cr3t", "deep": 1}'),
    ("ocf:hafailover:st2", "deep_parameters", '{"note": "--pwd s3cr3t"}'),
    ("stonith:fence_x", "options", "-L ADMIN -U u -P s3cr3t"),
    ("stonith:fence_x", "cmd_args", "--pwd s3cr3t -p other"),
    ("stonith:fence_x", "ssh_credentials", "s3cr3t"),
    ("stonith:fence_x", "auth", "s3cr3t"),
    ("stonith:fence_x", "pin", "s3cr3t"),
    ("stonith:fence_x", "cookie_name", "s3cr3t"),
    ("ocf:heartbeat:galera", "additional_parameters", "--pwd=other -ps3cr3t"),
]


@pytest.mark.parametrize(("agent", "name", "value"), HIDING)
def test_no_form_of_a_secret_is_printed_anywhere(agent, name, value):
    root = document()
    extra = {"units": "active"} if "st2" in agent else {"pcmk_host_list": "a b"} if "fence" in agent else {}
    member = primitive("m", agent, **{name: value}, **extra)
    level = '<instance_attributes id="o8"><nvpair id="o7" name="OCF_CHECK_LEVEL" value="20"/></instance_attributes>'
    operations = f'<operations><op id="o9" name="monitor" interval="300s">{level}</op></operations>'
    member.append(etree.fromstring(operations))
    root.find("configuration/resources").append(member if "fence" in agent else clone("c", member))
    found = checked(root)
    assert "s3cr3t" not in "\n".join(map(str, (found.text, found.differences, found.notes, found.data, found.lacking)))
    assert "m: ocf:hafailover:st2 is not" not in str(found.differences)
    told = [one for one in found.notes if one.kind in ("secret", "left-out")]
    told += [one for one in found.differences if name in one.text]
    assert told, "nothing says that something is missing"


def test_secrets_among_mount_options_and_in_rules_are_not_printed():
    root = document(
        constraints='<rsc_location id="l" rsc="c1"><rule id="r" score="-INFINITY"><expression id="e" attribute="ldap_password" '
        'operation="eq" value="s3cr3t"/></rule></rsc_location>'
    )
    options = "name=admin,secret=s3cr3t"
    stock = primitive(
        "m1", "ocf:heartbeat:Filesystem", device="mon:/v", directory="/m/1", fstype="ceph", options=options
    )
    ours = primitive(
        "m2-x", "ocf:hafailover:nfsmount", server="192.0.2.9", export="/x", directory="/m/2", options=options
    )
    group = etree.Element("group", id="m2")
    group.append(ours)
    root.find("configuration/resources").extend([clone("c1", stock), clone("c2", group)])
    found = checked(root)
    assert "s3cr3t" not in "\n".join(map(str, (found.text, found.differences, found.notes, found.data, found.lacking)))
    assert found.data["services"]["m2"]["options"] == "name=admin,secretfile=/etc/hafailover/secrets/m2-mount"
    secret = [str(one) for one in found.notes if one.kind == "secret"]
    assert len(secret) == 2 and all("secretfile=" in one or "m2-mount" in one for one in secret)


def test_the_output_is_the_same_each_time():
    root = document()
    root.find("configuration/resources").append(clone("c", primitive("m", "ocf:heartbeat:mysql"), promotable="true"))
    assert checked(root).text == checked(root).text


def test_an_outcome_without_differences_ends_with_zero(tmp_path):
    from hafailover.crm import corosync, generate
    from topologies import parse

    wanted = parse()
    (tmp_path / "c.xml").write_text(cib.text(generate.configuration(wanted)))
    (tmp_path / "c.conf").write_text(corosync.text(wanted))
    result = invoke(command, tmp_path / "c.xml", "--corosync", tmp_path / "c.conf")
    assert result.exit_code == 0 and "generates the same configuration" in result.stderr


def test_more_nodes_than_corosync_takes_are_refused_in_a_sentence():
    root = document(nodes="".join(f'<node id="{number}" uname="n{number}"/>' for number in range(1, 386)))
    with pytest.raises(UsageError, match="385 nodes"):
        importing.run(root, "c.xml")


def test_a_pipe_that_nobody_writes_to_is_no_corosync_conf(tmp_path, monkeypatch):
    monkeypatch.setattr("hafailover.crm.bounded_file.PIPE_PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="nothing is written"):
        corosync_conf.read(tmp_path / "pipe")


def test_a_negative_watchdog_timeout_is_fencing_without_disks_too():
    root = document()
    root.find("configuration/crm_config/cluster_property_set").append(pair("stonith-watchdog-timeout", "-1"))
    assert "sbd" in checked(root).data["fencing"]
