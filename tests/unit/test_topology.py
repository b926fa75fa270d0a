import ipaddress
import re

import pytest
import yaml
from hafailover.crm import topology, yamldoc
from hafailover.crm.errors import UsageError
from hafailover.crm.service import service_types
from hafailover.crm.topology import Detection
from hypothesis import given, settings
from hypothesis import strategies as st
from topologies import BASE, EXAMPLES, changed, parse


def error(text):
    """What is said about ``text``; columns and the lines with carets are tests of tests/unit/test_pointing.py."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    said = [line for line in str(caught.value).splitlines() if not re.match(r" +\d* \| ", line)]
    return "\n".join(re.sub(r"^(t\.yml:\d+):\d+:", r"\1:", line) for line in said)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_load(path):
    loaded = topology.load(path)
    assert all(service.nodes == tuple(loaded.nodes) for service in loaded.services.values())
    assert loaded.file == str(path)


def test_defaults_are_filled_in_and_nothing_derivable_is_asked_for():
    loaded = parse("""\
version: 1
cluster: {name: c1}
nodes:
  a: {id: 1, links: [192.0.2.1], fence: {agent: fence_x, ip: 192.0.2.9}}
  b: {id: 2, links: [192.0.2.2], fence: {agent: fence_x, ports: [1, 2], lanplus: true, max_delay: 5s}}
services: {db: {type: mariadb}}
""")
    assert (loaded.name, str(loaded.secrets_dir), loaded.authkey) == (
        "c1",
        "/etc/hafailover/secrets",
        "file:corosync-authkey",
    )
    assert loaded.detection.token == 3000
    assert loaded.quorum.two_node
    assert loaded.quorum.device is None
    assert loaded.services["db"].options["replication"] == {"user": "hafailover_repl"}
    assert loaded.services["db"].options["port"] == 3306
    assert loaded.nodes["a"].fence.parameters == {"ip": "192.0.2.9"}
    assert loaded.nodes["b"].fence.parameters == {"ports": "1,2", "lanplus": "true", "pcmk_delay_max": "5s"}


def test_everything_given_is_kept():
    loaded = parse(
        changed(
            ("encryption: off", "detection: {token: 1500ms, token_coefficient: 0ms, knet_ping_timeout: 2s}"),
            ("tls: off", "tls: on, port: 5404, timeout: 2s, sync_timeout: 20s, tie_breaker: 2"),
            ("10.77.0.100/24, follows: db.primary", "fd00::64/64, nic: bond0"),
        )
    )
    assert (loaded.detection.token, loaded.detection.token_coefficient) == (1500, 0)
    assert (loaded.detection.knet_ping_timeout, loaded.detection.consensus) == (2000, None)
    device = loaded.quorum.device
    assert (device.tls, device.port, device.timeout, device.sync_timeout, device.tie_breaker) == (
        "on",
        5404,
        2000,
        20000,
        "2",
    )
    assert loaded.vips["vip"].interface == ipaddress.ip_interface("fd00::64/64")
    assert loaded.vips["vip"].nic == "bond0"


@pytest.mark.parametrize(
    ("written", "found"),
    [("default", Detection(3000, None, None, None, None)), ("fast", Detection(300, 0, None, 500, 2000))],
)
def test_a_word_for_the_detection_of_dead_nodes(written, found):
    assert parse(changed(("encryption: off", f"detection: {written}"))).detection == found


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("fst", "cluster.detection: unknown value 'fst'; allowed: default, fast; did you mean 'fast'?"),
        ("3", "cluster.detection: is 3; write default, fast, or a mapping of times"),
        ("{tokn: 3s}", "unknown key 'tokn'"),
        ("{token: 3}", "write a time with its unit"),
    ],
)
def test_other_words_for_it(written, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        parse(changed(("encryption: off", f"detection: {written}")))


def test_secrets_dir_is_relative_to_the_file(tmp_path):
    file = tmp_path / "t.yml"
    file.write_text(BASE)
    assert topology.load(file).secrets_dir == tmp_path / "s"
    assert topology.load(file).with_secrets_dir("/elsewhere").secrets_dir.as_posix() == "/elsewhere"


# What is replaced in the right topology, and what is said about it.
MISTAKES = [
    ("links:", "link:", "5: nodes.db1.link: unknown key 'link'; allowed: fence, id, links; did you mean 'links'?"),
    ("id: 2", "id: two", "6: nodes.db2.id: is 'two'; write a whole number from 1 to 65535"),
    ("id: 2", "id: 0", "6: nodes.db2.id: is 0; write a whole number from 1 to 65535"),
    ("id: 2", "id: true", "6: nodes.db2.id: is true; write a whole number from 1 to 65535"),
    ("id: 2", "id: 1", "6: nodes.db2.id: 1 is the id of db1 too; every node needs its own"),
    ("id: 2, ", "", "6: nodes.db2.id: is missing: its number, for ever; also the server_id of its databases"),
    ("10.77.1.12", "10.77.0.11", "6: nodes.db2.links[1]: 10.77.0.11 is an address of db1 too"),
    ("10.77.1.12", "10.77.0.300", "6: nodes.db2.links[1]: is '10.77.0.300'; write an IP address such as"),
    ("10.77.1.12", "fd00::1", "6: nodes.db2.links[1]: fd00::1 and 10.77.1.11 of db1 are the same link"),
    (", 10.77.1.12", "", "6: nodes.db2.links: every node needs the same number of links: 1 here, 2 for db1"),
    ("[10.77.0.12, 10.77.1.12]", "10.77.0.12", "6: nodes.db2.links: is '10.77.0.12'; write a list of one to eight"),
    ("follows: db.", "follows: dbx.", "9: vips.vip.follows: unknown service 'dbx'; allowed: db; did you mean 'db'?"),
    ("db.primary", "db.master", "9: vips.vip.follows: unknown role 'master'; allowed: primary, replica"),
    (
        "follows: db",
        "follow: db",
        "9: vips.vip.follow: unknown key 'follow'; allowed: drain, follows, ip, nic; did you mean",
    ),
    ("/24", "", "9: vips.vip.ip: is '10.77.0.100'; write an address with its prefix such as 192.0.2.10/24"),
    ("/24", "/255.255.255.0", "9: vips.vip.ip: is '10.77.0.100/255.255.255.0'; write an address with its prefix"),
    ("10.77.0.100", "10.88.0.100", "9: vips.vip.ip: no link of db1, db2 is in 10.88.0.0/24, so the interface cannot"),
    ("10.77.0.100", "10.77.0.12", "9: vips.vip.ip: 10.77.0.12 is the address of node db2 too"),
    ("10.77.0.100", "10.77.0.13", "9: vips.vip.ip: 10.77.0.13 is the address of the quorum device too"),
    ("10.77.0.100", "10.77.0.0", "9: vips.vip.ip: 10.77.0.0 is the network's own address, not one of a host"),
    ("type: mariadb", "type: maria", "11: services.db.type: unknown service type 'maria'; allowed: "),
    ("type: mariadb", "type: [a]", "11: services.db.type: is a list; write a service type"),
    ("type: mariadb", "", "11: services.db.type: is missing: what kind of service"),
    ("{type: mariadb}", "mariadb", "11: services.db: is 'mariadb'; write a mapping with the key type"),
    ("mariadb}", "mariadb, on: [db1, db9]}", "11: services.db.on: unknown node 'db9'; allowed: db1, db2"),
    ("mariadb}", "mariadb, on: some}", "11: services.db.on: is 'some'; write all, or a list of node names"),
    ("mariadb}", "mariadb, on: [db1]}", "11: services.db.on: names a single node; without a second one there is"),
    ("mariadb}", "mariadb, port: 99999}", "11: services.db.port: is 99999; write a whole number from 1 to 65535"),
    ("mariadb}", "mariadb, stall: 2}", "11: services.db.stall: is 2; write a time with its unit, such as 500ms"),
    ("mariadb}", "mariadb, stall: 0s}", "11: services.db.stall: must be longer than nothing"),
    ("mariadb}", "mariadb, datadir: var}", "11: services.db.datadir: is 'var'; write an absolute path"),
    ("mariadb}", "mariadb, version: 10.3}", "11: services.db.version: MariaDB 10.3.0 is too old: 10.5 or newer is"),
    ("mariadb}", "mariadb, version: new}", "11: services.db.version: is 'new'; write a version such as 10.11"),
    ("mariadb}", "mariadb}\n  db: {type: mariadb}", "12: services.db: is given twice (first in line 11)"),
    (
        "mariadb}",
        "mariadb}\n  d2: {type: mariadb}",
        "12: services.d2.datadir: /var/lib/mysql is used by service db on db1, db2 too",
    ),
    ("  vip:", "  db:", "9: vips.db: db is the name of a service too; resources need different names"),
    ("  vip:", "  1:", "9: vips.1: '1' cannot be used here: write a name of letters, digits, - and _"),
    ("  vip:", "  fence-x:", "9: vips.fence-x: names that begin with fence- are kept for fence devices"),
    (
        "services:",
        "service:",
        "10: service: unknown key 'service'; allowed: alerts, cluster, external, fencing, history, hooks, lab, lint, nodes, ",
    ),
    ("lab: true", "lab: yes", "2: lab: is 'yes'; write true or false"),
    ("lab: true", "lab: false", "5: nodes.db1: nothing can switch db1 off: give it fence, or give fencing for all"),
    ("version: 1", "version: 2", "1: version: unknown value 2; allowed: 1"),
    ("version: 1", "", "2: version: is missing: version of the topology language"),
    (
        "{name: c1, secrets_dir: s, encryption: off}",
        "c1",
        "3: cluster: is a plain value; write a mapping of name, secrets_dir",
    ),
    ("name: c1", "name: c 1", "3: cluster.name: is 'c 1'; write a name of letters, digits, - and _"),
    ("host: 10.77.0.13", "host: db1", "7: quorum.device.host: db1 is node db1; a device inside the cluster dies"),
    ("host: 10.77.0.13", "host: 10.77.1.11", "7: quorum.device.host: 10.77.1.11 is node db1; a device inside"),
    ("tls: off", "tls: maybe", "7: quorum.device.tls: unknown value 'maybe'; allowed: off, on, required"),
    ("tls: off", "tie_breaker: 7", "7: quorum.device.tie_breaker: no node has the id 7"),
    ("{device: {host: 10.77.0.13, tls: off}}", "{two_node: false}", "7: quorum.two_node: without it, or a device, two"),
    ("{device:", "{two_node: true, device:", "7: quorum.two_node: cannot be combined with a quorum device"),
    ("id: 1,", "id: 1, fence: {},", "5: nodes.db1.fence.agent: is missing: the fence agent"),
    ("id: 1,", "id: 1, fence: {agent: ipmi},", "5: nodes.db1.fence.agent: is 'ipmi'; write a fence agent such as"),
    (
        "id: 1,",
        "id: 1, fence: {agent: fence_x, identity_file: file:key},",
        "5: nodes.db1.fence.identity_file: cannot be read from a file; fence agents can do that with password",
    ),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES, ids=[f"{new or old}"[:40] for old, new, _ in MISTAKES])
def test_a_mistake_is_one_clear_sentence(old, new, said):
    message = error(changed((old, new)))
    first = message.splitlines()[0]
    assert first.startswith(f"t.yml:{said}")


@pytest.mark.parametrize(
    "text",
    [
        changed(("mariadb}", "mariadb, replication: {password: hunter2}}")),
        changed(("id: 1,", "id: 1, fence: {agent: fence_x, password: hunter2},")),
        changed(("name: c1", "name: c1, authkey: hunter2")),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text):
    message = error(text)
    assert "file:NAME" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("third", "device", "said"),
    [
        ("  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}\n", "device: {host: 10.77.0.13}", "ffsplit is for an even"),
        ("  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}\n", "two_node: true", "two_node: is for exactly two nodes"),
    ],
)
def test_quorum_fits_the_number_of_nodes(third, device, said):
    text = changed(("quorum:", third + "quorum:"), ("device: {host: 10.77.0.13, tls: off}", device))
    assert said in error(text)


def test_all_mistakes_are_listed_in_the_order_of_the_file_but_not_without_end():
    text = changed(("id: 1", "id: a"), ("tls: off", "tls: x"), ("/24", ""))
    assert [line.split(":")[1] for line in error(text).splitlines()] == ["5", "7", "9"]
    many = BASE + "".join(f"  s{number}: {{type: nothing}}\n" for number in range(50))
    assert error(many).splitlines()[-1] == "and 30 more"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "t.yml: is empty; a topology begins with: version: 1"),
        ("# only a comment\n", "t.yml: is empty"),
        ("- a\n", "t.yml:1: is a list; a topology is a mapping with the keys version, "),
        ("just text", "t.yml:1: is 'just text'"),
        ("a: b: c", "t.yml:1: is not valid YAML: mapping values are not allowed"),
        ("a: [1, 2", "t.yml:1: is not valid YAML: "),
        ("a: 1\n\ta: 2", "t.yml:2: is not valid YAML: "),
        ("a: \x00", "t.yml:1: holds a character that no YAML file may hold (U+0000); is it UTF-16?"),
        ("---\na: 1\n---\nb: 1\n", "t.yml:3: a second document begins here"),
        ("a: !!python/object/apply:os.system [id]", "t.yml:1: the tag tag:yaml.org,2002:python/object/apply:os.system"),
        ("a: *b", "t.yml:1: the alias *b has no anchor before it"),
        ("? [a, b]\n: 1", "t.yml:1: a key must be plain text"),
        ("a: &a [*a]", "t.yml:1: is nested deeper than 40 levels"),
        ("[" * 5000, "t.yml:1: is nested deeper than 40 levels"),
        ("a: {<<: {x: 1}}", "t.yml:1: merge keys (<<) are not taken; write the keys out"),
    ],
)
def test_what_is_no_topology(text, said):
    assert error(text).startswith(said)


def test_aliases_cannot_expand_without_end():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "aliases expand to more than 100000 values" in error(bomb)


def test_aliases_may_be_used():
    text = changed(
        ("db1: {id: 1,", "db1: {id: 1, fence: &f {agent: fence_x},"), ("db2: {id: 2,", "db2: {id: 2, fence: *f,")
    )
    assert parse(text).nodes["db2"].fence.agent == "fence_x"


def test_words_of_yaml_1_1_stay_words():
    text = changed(
        ("mariadb}", "mariadb, on: all, version: 10.10, options: {query_cache_type: OFF, x: 1:30, y: 0.50}}")
    )
    options = parse(text).services["db"].options
    assert options["version"] == "10.10"
    assert options["options"] == {"query_cache_type": "OFF", "x": "1:30", "y": "0.50"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (BASE.replace("c1", "c\xe9").encode("latin-1"), ":3: is not UTF-8 text (byte 0xe9); save it as UTF-8"),
        (b"#" * (1024 * 1024 + 1), ": is larger than 1024 KiB, which no such file needs"),
        (None, ": cannot be read: No such file or directory"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, content, said):
    file = tmp_path / "t.yml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        topology.load(file)
    assert str(caught.value) == f"{file}{said}"


def test_a_byte_order_mark_is_not_text(tmp_path):
    file = tmp_path / "t.yml"
    file.write_text(BASE, encoding="utf-8-sig")
    assert topology.load(file).name == "c1"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("rpl_semi_sync_slave_enabled", "1", "is set by hafailover itself"),
        ("Loose-Rpl-Semi-Sync-Master-Timeout", "10", "is set by hafailover itself"),
        ("init-rpl-role", "SLAVE", "is set by hafailover itself"),
        ("server-id", "7", "is set by hafailover itself"),
        ("sync_binlog", "0", "must be 1, not 0: a power failure"),
        ("innodb_flush_log_at_trx_commit", "2", "must be 1, not 2: a power failure"),
        ("READ_ONLY", "off", "must be ON, not off: a server that starts writable"),
        ("gtid_strict_mode", "0", "must be ON, not 0: without it diverged"),
        ("skip-gtid-strict-mode", "1", "turns gtid_strict_mode off"),
        ("log-slave-updates", "false", "must be ON, not False: a promoted replica"),
        ("skip_log_bin", "1", "turns log_bin off"),
        ("log_bin", "OFF", "turns log_bin off"),
        ("binlog_format", "MIXED", "must be ROW, not MIXED"),
        ("replicate-do-db", "x", "is a replication filter"),
        ("binlog_do_db", "x", "is a replication filter"),
        ("slave_skip_errors", "all", "hides that a replica differs"),
        ("slave_exec_mode", "IDEMPOTENT", "must be STRICT, not IDEMPOTENT"),
        ("relay_log_recovery", "1", "throws away received transactions"),
        ("skip_slave_start", "0", "must be ON, not 0"),
        ("wsrep_on", "1", "is Galera"),
        ("datadir", "/x", "is a key of the service"),
        ("innodb force", "1", "is not the name of a server option"),
    ],
)
def test_server_options_that_would_break_the_promise_are_refused(option, value, said):
    written = f"mariadb, options: {{{option}: {value}}}}}"
    assert f"t.yml:11: services.db.options.{option}: {said}" in error(changed(("mariadb}", written)))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("innodb_buffer_pool_size", "1G"),
        ("sync_binlog", "1"),
        ("read-only", "ON"),
        ("log_bin", "mysql-bin"),
        ("binlog_format", "row"),
        ("skip_name_resolve", "ON"),
        ("skip_read_only", "OFF"),
        ("slave_parallel_threads", "4"),
    ],
)
def test_harmless_server_options_are_taken(option, value):
    parse(changed(("mariadb}", f"mariadb, options: {{{option}: {value}}}}}")))


def test_fencing_can_be_replaced_and_the_text_follows():
    original = parse(changed(("lab: true\n", "fencing: {agent: fence_sbd, devices: [/dev/a, /dev/b]}\n")))
    other = original.with_fencing("fence_lab", {name: {"plug": name, "n": 1} for name in original.nodes})
    assert other.fencing is None
    assert other.nodes["db2"].fence == topology.Fence("fence_lab", {"plug": "db2", "n": "1"})
    assert parse(other.text).nodes == other.nodes
    assert original.nodes["db1"].fence is None
    with pytest.raises(UsageError, match="no fence parameters are given for node db2"):
        original.with_fencing("fence_lab", {"db1": {}})


def test_service_types_register_themselves():
    for name, kind in service_types().items():
        assert kind.name == name
        assert kind.summary.endswith(".")


def test_keys_have_positions_for_messages():
    document = yamldoc.parse(BASE, "t.yml")
    assert document.where(("nodes", "db2", "links", 1)) == (6, 36)
    assert document.where(("nodes", "db2", "nothing", "at", "all")) == (6, 3)
    assert document.where(("nothing",)) == (1, 1)


# Whatever is in the file: a topology, or a UsageError.
_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.floats(allow_nan=False))
_keys = st.sampled_from(
    (
        *("version", "lab", "cluster", "nodes", "fencing", "quorum", "vips", "services", "name", "id", "links"),
        *("fence", "agent", "device", "host", "ip", "follows", "type", "on"),
    )
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(_keys, st.text(max_size=8)), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(_values)
@settings(max_examples=100, deadline=None)
def test_any_data_is_a_topology_or_an_error_for_a_person(data):
    text = yaml.safe_dump(data, allow_unicode=True)
    try:
        parse(text)
    except UsageError as refused:
        assert str(refused).startswith("t.yml")


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_topology_or_an_error_for_a_person(text):
    try:
        parse(text)
    except UsageError as refused:
        assert str(refused).startswith("t.yml")


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_part_of_a_right_topology_may_be_replaced_by_anything(data):
    written = yaml.safe_load(BASE.replace("off", "'off'"))
    here = written
    while True:
        key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        if isinstance(here[key], (dict, list)) and here[key] and data.draw(st.booleans()):
            here = here[key]
            continue
        here[key] = data.draw(_values)
        break
    try:
        parse(yaml.safe_dump(written, allow_unicode=True))
    except UsageError as refused:
        assert all(re.match(r"t\.yml:|and | +\d* \| ", line) for line in str(refused).split("\n"))
