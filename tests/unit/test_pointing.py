"""Mistakes shown where they stand, and never with a secret."""

import pytest
from hafailover.crm import yamldoc
from hafailover.crm.errors import UsageError
from hafailover.crm.pointing import Place, excerpt, may_be_secret
from hypothesis import example, given, settings
from hypothesis import strategies as st
from topologies import BASE, changed, parse


def refused(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    return str(caught.value)


# A mistake, and how it is shown.
SHOWN = {
    "value": (
        ("id: 2", "id: two"),
        "t.yml:6:13: nodes.db2.id: is 'two'; write a whole number from 1 to 65535\n"
        "    6 |   db2: {id: two, links: [10.77.0.12, 10.77.1.12]}\n"
        "      |             ^^^",
    ),
    "key": (
        ("id: 2, links", "id: 2, link"),
        "    6 |   db2: {id: 2, link: [10.77.0.12, 10.77.1.12]}\n"
        "      |                ^^^^",
    ),
    "item": (
        ("10.77.1.12", "10.77.1.1234"),
        "    6 |   db2: {id: 2, links: [10.77.0.12, 10.77.1.1234]}\n"
        "      |                                    ^^^^^^^^^^^^",
    ),
    "missing": (("id: 2, ", ""), "    6 |   db2: {links: [10.77.0.12, 10.77.1.12]}\n      |   ^^^"),
    "wide characters and tabs": (
        ("{name: c1", "{name: 日本\t,\tport: 1"),
        "    3 | cluster: {name: 日本 , port: ***, secrets_dir: s, encryption: off}\n"
        "      |                 ^^^^\n",
    ),
    "twice": (
        ("services:", "nodes: {}\nvips: {}\nservices:"),
        "t.yml:10:1: nodes: is given twice (first in line 4)\n   10 | nodes: {}\n      | ^^^^^\n"
        "t.yml:11:1: vips: is given twice (first in line 8)\n   11 | vips: {}\n      | ^^^^",
    ),
    "syntax": (
        ("{name: c1", "{name: [c1"),
        "    3 | cluster: {name: [c1, secrets_dir: s, encryption: off}\n"
        "      |                                                     ^",
    ),
    "tab": (
        ("  db2:", "\tdb2:"),
        "; indent with spaces, not tabs\n    6 |  db2: {id: 2, links: [10.77.0.12, 10.77.1.12]}\n      | ^",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_the_line_is_shown_with_a_caret_below_the_place(name):
    replacement, shown = SHOWN[name]
    assert shown in refused(changed(replacement))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{name: c1,", "{vips: {}, name: c1,", "cluster.vips: unknown key 'vips'; allowed: authkey, detection, encryption, "
         "name, secrets_dir; 'vips' belongs to the top level of the file"),
        ("vips:", "token: 3s\nvips:", "'token' belongs below cluster.detection"),
        ("vips:", "host: 10.77.0.13\nvips:", "'host' belongs below quorum.device or below external.mariadb or below "
         "external.storage"),
        ("quorum:", "  services:\n    db: {type: mariadb}\nquorum:", "nodes.services: services belongs "
         "to the top level of the file, not below nodes"),
        ("mariadb}", "mariadb, queues: mirrored}", "services.db.queues: unknown key 'queues'; "),
        ("mariadb}", "mariadb, queues: mirrored}", "'queues' belongs below services.NAME (type rabbitmq)"),
        ("mariadb}", "mariadb, password: file:x}", "'password' belongs below services.NAME.replication (type mariadb)"),
        ("follows:", "Follows:", "vips.vip.Follows: unknown key 'Follows'; allowed: drain, follows, ip, nic; did you mean 'follows'?"),
        ("vips:", "two_node: true\nvips:", "'two_node' belongs below quorum"),
        ("10.77.0.100/24,", "10.77.0.100/24, nic: 'eth0:0',", "vips.vip.nic: is 'eth0:0'; write the name of an interface such as eth0"),
        ("host: 10.77.0.13", "host: bad_host", "quorum.device.host: is 'bad_host'; write an address, or a host name of"),
        ("db1: {id: 1, links: [10.77.0.11, 10.77.1.11]}", "db1: {id: 1, links: [10.77.0.11, 10.77.1.11]",
         "did not find expected ',' or '}' (opened in line 5)"),
        ("secrets_dir", "secrets-dir", "did you mean 'secrets_dir'?"),
    ],
)  # fmt: skip
def test_a_key_is_told_where_it_belongs(old, new, said):
    text = changed((old, new))
    if "  services:" in new:
        text = text.replace("\nservices:\n  db: {type: mariadb}\n", "\n")
    assert said in refused(text).replace(" or below services.NAME.users.NAME (type rabbitmq)", "")


def test_mistakes_of_different_parts_are_told_at_once():
    text = changed(("id: 2", "id: two"), ("mariadb}", "mariadb, port: x}")) + "external: {redis: {url: x}}\nfoo: 1\n"
    said = [line for line in refused(text).splitlines() if line.startswith("t.yml:")]
    assert [line.split(":")[1] for line in said] == ["6", "11", "12", "13"]


def test_a_node_may_have_the_name_of_a_key():
    said = refused(changed(("db1:", "lab:"), ("id: 1", "id: one")))
    assert "nodes.lab.id: is 'one'" in said
    assert "belongs" not in said


def test_what_is_missing_because_of_its_place_is_not_told_twice():
    said = refused(BASE.replace("\nnodes:\n  db1", "\nNodes:\n  db1"))
    assert "did you mean 'nodes'?" in said
    assert "is missing" not in said


# Where a secret is in the file, in every way that a person may write one; the mistake beside it is another one.
LEAKS = [
    ("id: 1,", "id: 1, fence: {agent: fence_x, password: hunter2},"),
    ("id: 1,", "id: x, fence: {agent: fence_x, password: hunter2},"),
    ("id: 1,", "id: x, fence: {agent: fence_x, passwd: 'hunter2, or, so}', ip: 1},"),
    ("id: 1,", "id: x, fence: {agent: fence_x, password: 'hunt\n    hunter2', ip: {}},"),
    ("id: 1,", "id: x, fence: {agent: fence_x, paswrod: hunter2},"),
    ("mariadb}", "mariadb, replication: hunter2}"),
    ("mariadb}", "mariadb, replication: {password: hunter2}}"),
    ("mariadb}", "mariadb, replication: {pwd: hunter2}}"),
    ("mariadb}", "mariadb, replication: {pwd: {x: hunter2}}}"),
    ("mariadb}", "mariadb, replication: {pasword: hunter2}}"),
    ("mariadb}", "mariadb, replication: {password: *hunter2}}"),
    ("mariadb}", "mariadb, replication: {password: !hunter2 x}}"),
    ("mariadb}", "mariadb, replication: {password: hunter2: x}}"),
    ("mariadb}", "mariadb, replication: {password: [hunter2]}, port: x}"),
    ("mariadb}", 'mariadb, replication: {password: "hunter2}}'),
    (
        "  db: {type: mariadb}",
        "  db:\n    type: mariadb\n    replication:\n      password: |\n        hunter2\n       x: [1",
    ),
    ("  db: {type: mariadb}", "  db:\n    type: mariadb\n    replication:\n      password:\n        hunter2"),
    ("  db: {type: mariadb}", "  db:\n    type: mariadb\n    replication:\n      password:\n        hunter2: {"),
    ("  db: {type: mariadb}", "  db: {type: mariadb}\nexternal: {rabbitmq: {urls: ['amqp://u:hunter2@h/'], x: 1}}"),
    ("name: c1", "name: c1, authkey: hunter2"),
    ("name: c1", "name: 'c 1', authkey: hunter2"),
    ("name: c1", "name: 'c 1', auth_key: hunter2"),
    ("name: c1", "name: 'c\x001', authkey: hunter2"),
    ("mariadb}", "mariadb, replication: {password hunter2}}"),
    ("mariadb}", "mariadb, replication: {password hunter2, x: [}}"),
    ("id: 1,", 'id: 1, fence: {agent: fence_x, password: "hunter2\\nhunter2"},'),
    ("id: 1,", "id: 1, fence: {agent: fence_x, password: {hunter2: hunter2}},"),
    ("  db: {type: mariadb}", "  db:\n    type: mariadb\n    replication:\n      password: |\n\t\thunter2"),
    ("  db: {type: mariadb}", "  db:\n    type: mariadb\n    replication:\n      password: |\n     [ hunter2"),
    ("mariadb}", "mariadb, replication: {pw: @hunter2}}"),
    ("mariadb}", "mariadb, pw: [@hunter2]}"),
    ("  db: {type: mariadb}", "  db: {type: mariadb}\nexternal: {x: {pw: hunter2}}"),
    ("mariadb}", "mariadb, optons: {bindpw: hunter2}}"),
    ("mariadb}", "mariadb, optons: {x: hunter2}}"),
    ("mariadb}", "mariadb, optons: {x: [hunter2, 'hunter2']}, port: x}"),
    ("mariadb}", "mariadb, optons: hunter2, port: x}"),
    ("  db: {type: mariadb}", "  db:\n    type: mariadb\n    optons:\n      x: hunter2\n      y: |\n        hunter2"),
    *(
        ("mariadb}", f"mariadb, {key}: hunter2, port: x}}")
        for key in ("psk", "access_key", "shared_key", "master-key", "bindpw")
    ),
]


@pytest.mark.parametrize(("old", "new"), LEAKS)
def test_a_secret_is_not_shown(old, new):
    assert "hunter2" not in refused(changed((old, new)))


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "passwd",
        "snmp_priv_passwd",
        "paswrod",
        "secret",
        "erlang_cookie",
        "authkey",
        "api_key",
        "pw",
        "bindpw",
        "psk",
        "access_key",
        "shared_key",
        "master-key",
        "Passwort_key",
    ],
)
def test_names_of_secrets(key):
    assert may_be_secret(key)


@pytest.mark.parametrize(
    "key", ["token", "token_coefficient", "password_script", "secrets_dir", "public_key", "services", "port", "stall"]
)
def test_names_of_none(key):
    assert not may_be_secret(key)


def test_a_long_line_is_shown_in_part():
    text = changed(("mariadb}", "mariadb, on: [" + "db1, " * 300 + "7]}"))
    lines = refused(text).splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("   11 |"))
    assert len(lines[at]) < 130
    column = lines[at + 1].index("^")
    assert lines[at][column] in "o7"


@given(st.lists(st.text(max_size=30), max_size=4), st.integers(-2, 6), st.integers(-3, 40), st.integers(0, 40))
@example(["a\u202eb"], 1, 1, 1)
@settings(max_examples=100, deadline=None)
def test_any_place_of_any_text_can_be_shown(lines, line, column, width):
    shown = excerpt(lines, Place(line, max(1, column), max(1, width)))
    assert len(shown) in (0, 2)
    assert all(one.isprintable() for one in shown)


@given(st.text(alphabet="ab: -{}[]\n\t'\"|>&*!#,?%@`é日\u2028\x85", max_size=60))
@settings(max_examples=200, deadline=None)
def test_lines_are_counted_as_the_parser_counts_them(text):
    try:
        document = yamldoc.parse(text, "t.yml")
    except UsageError:
        return
    lines = yamldoc.split_lines(text)
    for place in document.values.values():
        assert lines[place.line - 1][place.column - 1 :]
