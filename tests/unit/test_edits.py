"""Edits of files that people write, too: what is named changes, everything else stays, and all of it can be taken back."""

import pytest
import yaml
from hafailover.crm.edits import block, hosts_set, ini_set, masked, yaml_data, yaml_set
from hafailover.crm.edits.mask import HIDDEN, difference
from hafailover.crm.errors import UsageError
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

ST2 = b"""\
# StackStorm, by hand
[messaging]
# URL of the messaging server.
url = amqp://guest:guest@127.0.0.1:5672//
# cluster_urls =  # comma separated list allowed here.

[database]
host: 127.0.0.1
; password = None
"""


def test_what_is_set_stands_below_its_commented_default_and_what_goes_is_kept_as_a_comment():
    new = ini_set(
        ST2, {"messaging": {"url": None, "cluster_urls": "amqp://a,amqp://b"}, "coordination": {"url": "redis://r"}}
    )
    assert (
        new.decode()
        == """\
# StackStorm, by hand
[messaging]
# URL of the messaging server.
# hafailover replaced: url = amqp://guest:guest@127.0.0.1:5672//
# cluster_urls =  # comma separated list allowed here.
# hafailover set cluster_urls:
cluster_urls = amqp://a,amqp://b

[database]
host: 127.0.0.1
; password = None
# hafailover added coordination:
[coordination]
# hafailover set url:
url = redis://r
"""
    )


def test_what_is_no_longer_wanted_goes_and_what_it_replaced_returns():
    new = ini_set(ST2, {"messaging": {"url": None, "cluster_urls": "x"}, "database": {"host": "db"}, "new": {"a": "b"}})
    assert ini_set(new, {}) == ST2
    assert ini_set(new, {"database": {"host": "other"}}) == ini_set(ST2, {"database": {"host": "other"}})


def test_a_persons_own_key_in_our_section_keeps_its_section():
    new = ini_set(ST2, {"coordination": {"url": "redis://r"}}) + b"lock_timeout = 5\n"
    assert ini_set(new, {}) == ST2 + b"[coordination]\nlock_timeout = 5\n"


def test_a_value_that_is_there_already_is_a_persons_and_stays():
    assert ini_set(ST2, {"database": {"host": "127.0.0.1"}}) == ST2
    assert ini_set(b"[a]\nk = 'v'\n", {"a": {"k": "v"}}) == b"[a]\nk = 'v'\n"


def test_a_value_of_ours_that_somebody_changed_is_set_again():
    new = ini_set(ST2, {"database": {"host": "db"}})
    assert ini_set(new.replace(b"host = db", b"host = elsewhere"), {"database": {"host": "db"}}) == new


def test_the_last_assignment_counts_also_in_a_second_section_of_the_name():
    twice = b"[A]\nk = 1\n[b]\n[a]\nk = 2\n  and more\n\nz = 3\n"
    assert ini_set(twice, {"a": {"k": "2"}}) == (
        b"[A]\nk = 1\n[b]\n[a]\n# hafailover replaced: k = 2\n# hafailover replaced:   and more\n"
        b"# hafailover set k:\nk = 2\n\nz = 3\n"
    )
    assert ini_set(twice, {"a": {"k": None}}).count(b"# hafailover replaced: ") == 3


def test_ends_of_lines_and_bytes_that_are_not_utf_8_stay():
    windows = b"[a]\r\n# caf\xe9\r\nk = 1\r\nz=2"
    assert ini_set(windows, {"a": {"k": "3", "y": "4"}}) == (
        b"[a]\r\n# hafailover set y:\r\ny = 4\r\n# caf\xe9\r\n# hafailover replaced: k = 1\r\n# hafailover set k:\r\nk = 3\r\nz=2"
    )
    assert ini_set(b"[a]\nk=1", {"a": {"k": "2"}}) == b"[a]\n# hafailover replaced: k=1\n# hafailover set k:\nk = 2\n"
    assert ini_set(b"", {"a": {"k": "2"}}) == b"# hafailover added a:\n[a]\n# hafailover set k:\nk = 2\n"


def test_quotes_keep_what_a_reader_would_strip():
    assert b'k = " x"\n' in ini_set(b"", {"a": {"k": " x"}})
    assert b"k = \"'x'\"\n" in ini_set(b"", {"a": {"k": "'x'"}})
    with pytest.raises(UsageError, match="one line of text"):
        ini_set(b"", {"a": {"k": "x\ny"}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF\r\x02\0\0", "st2.conf:1: is not a text file (it holds the byte 0x02); restore it from a backup"),
        (b"[a]\nb = 1\rc = 2\n", "st2.conf:2: has a carriage return inside of the line; remove it"),
        (b"[a]\nnonsense\n", "st2.conf:2: is neither a comment nor KEY = VALUE; correct it"),
        (b"[a]\n= 1\n", "st2.conf:2: is neither a comment nor KEY = VALUE; correct it"),
        (b"[a] # x\n", "st2.conf:1: is not a section; write [NAME] and nothing after it"),
        (b"[]\n", "st2.conf:1: is not a section; write [NAME] and nothing after it"),
        (b"k = 1\n", "st2.conf:1: a key stands before the first [SECTION]; put it into one"),
        (b"[a]\n k = 1\n", "st2.conf:2: begins with a blank but continues no value; remove the blank"),
    ],
)
def test_a_file_nobody_could_read(content, said):
    with pytest.raises(UsageError) as caught:
        ini_set(content, {"a": {"k": "v"}}, "st2.conf")
    assert str(caught.value) == said


# Any file, any values: pieces that make files of this kind likely, and our own marks among them.
PIECES = st.sampled_from(
    [b"[a]", b"[B]", b"[DEFAULT]", b"k = 1", b"k: 2", b"#k = 3", b"; z=", b"z=", b" more", b"", b"# \xff", b"x = 'y'",
     b"# hafailover set k:", b"# hafailover added a:", b"# hafailover replaced: k = 9", b"# hafailover replaced: # hafailover set z:",
     b"# hafailover replaced: [B]"]
)  # fmt: skip
EOLS = st.sampled_from([b"\n", b"\r\n"])
VALUES = st.dictionaries(
    st.sampled_from(["a", "b", "new"]),
    st.dictionaries(st.sampled_from(["k", "z", "x"]), st.none() | st.text("ab'\" ,=:#$é", max_size=6), max_size=3),
    max_size=3,
)


@st.composite
def files(draw, pieces=PIECES):
    eol = draw(EOLS)
    body = eol.join([*draw(st.lists(pieces, max_size=12))])
    return b"[a]" + eol + body + draw(st.sampled_from([b"", eol]))


def settled(edit, content, values):
    """The file with ``values``, which are set only once however often they are; None for a file that cannot be read at all."""
    try:
        once = edit(content, values)
    except UsageError:
        event("cannot be read")
        return None
    assert edit(once, values) == once
    return once


def effective(content):
    """What oslo.config would read: (section, key) → value."""
    found, section, key = {}, "", None
    for line in content.decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("["):
            section = line.rstrip()[1:-1]
            section, key = section if section == "DEFAULT" else section.lower(), None
        elif not line.strip() or line[0] in "#;":
            key = None
        elif line[0] in " \t":
            found[section, key].append(line.strip())
        else:
            at = min(place for place in (line.find("="), line.find(":")) if place >= 0)
            key, value = line[:at].strip(), line[at + 1 :].strip()
            found[section, key] = [
                value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
            ]
    return found


@settings(deadline=None)
@given(files(), VALUES, VALUES)
@example(b"[a]\n# hafailover added new:\n[new]", {"new": {"k": "1"}}, {})
def test_any_ini_file(content, values, others):
    once = settled(ini_set, content, values)
    if once is None:
        return
    clean = ini_set(content, {})
    wanted = {
        **effective(clean),
        **{
            (name.lower(), key): value and [value]
            for name, keys in values.items()
            for key, value in keys.items()
            if value is not None
        },
    }
    for name, keys in values.items():
        for key, value in keys.items():
            if value is None:
                wanted.pop((name, key), None)
    assert {key: value or [""] for key, value in effective(once).items()} == {
        key: value or [""] for key, value in wanted.items()
    }
    # Nothing is lost: what stood there returns, but for an end of the last line.
    assert ini_set(once, {}).rstrip(b"\r\n") == clean.rstrip(b"\r\n")
    assert ini_set(once, others).rstrip(b"\r\n") == ini_set(clean, others).rstrip(b"\r\n")


@settings(deadline=None)
@given(st.binary(max_size=60), VALUES)
def test_any_bytes(content, values):
    settled(ini_set, content, values)
    settled(yaml_set, content, {"net.bindIp": "::1", "x": 5})


MONGOD = b"""\
# mongod.conf
storage:
  dbPath: /var/lib/mongodb
#  engine:

# network interfaces
net:
  port: 27017
  bindIp: 127.0.0.1  # only here

#replication:
security:
"""


def test_mongod_conf():
    new = yaml_set(MONGOD, {"net.bindIp": "127.0.0.1,10.0.0.1", "replication.replSetName": "rs0"})
    assert new == MONGOD.replace(
        b"  bindIp: 127.0.0.1  # only here\n",
        b"# hafailover replaced:   bindIp: 127.0.0.1  # only here\n  # hafailover set bindIp:\n  bindIp: 127.0.0.1,10.0.0.1\n",
    ) + (b"# hafailover added replication:\nreplication:\n  # hafailover set replSetName:\n  replSetName: rs0\n")
    assert yaml_set(new, {}) == MONGOD
    assert yaml_data(new)["net"]["bindIp"] == "127.0.0.1"
    assert yaml_set(MONGOD, {"net.port": 27017}) == MONGOD
    assert yaml_set(new + b"  oplogSizeMB: 5\n", {}) == MONGOD + b"replication:\n  oplogSizeMB: 5\n"


def test_a_mapping_that_is_empty_and_one_that_lacks_the_key():
    assert yaml_set(b"net:\nx: 1", {"net.tls.mode": "on"}) == (
        b'net:\n  # hafailover added tls:\n  tls:\n    # hafailover set mode:\n    mode: "on"\nx: 1'
    )
    assert yaml_set(b"net:\r\n    port: 1\r\n", {"net.bindIp": "::"}) == (
        b'net:\r\n    # hafailover set bindIp:\r\n    bindIp: "::"\r\n    port: 1\r\n'
    )
    assert yaml_set(b"text: |\n  a\n  b\nx: 1\n", {"text": "c"}) == (
        b"# hafailover replaced: text: |\n# hafailover replaced:   a\n# hafailover replaced:   b\n"
        b"# hafailover set text:\ntext: c\nx: 1\n"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"net: {port: 1}\n", "mongod.conf:1: net is written in braces; write one key per line, and no braces"),
        (b"{net: {port: 1}}", "mongod.conf:1: the whole is written in braces; write one key per line, and no braces"),
        (b"net: 5\n", "mongod.conf:1: net is not a mapping; it must hold bindIp"),
        (b"net:\n  bindIp: [a, b]\n", "mongod.conf:2: net.bindIp is not one value; write one"),
        (b"net:\n  a: 1\nnet:\n  b: 1\n", "mongod.conf:3: net is given twice; remove one"),
        (b"- a\n", "mongod.conf:1: is not a mapping of settings; restore it from a backup"),
        (
            b"net:\n\tport: 1\n",
            "mongod.conf:2: is not valid YAML: found character '\\t' that cannot start any token; correct it",
        ),
        (
            b"a: 1\n...\n",
            "mongod.conf: net.bindIp cannot be set here without a person; set it by hand and run this again",
        ),
        (b"\xd0\xcf\x11\0", "mongod.conf:1: is not a text file (it holds the byte 0x11); restore it from a backup"),
    ],
)
def test_yaml_that_cannot_be_changed(content, said):
    with pytest.raises(UsageError) as caught:
        yaml_set(content, {"net.bindIp": "::1"}, "mongod.conf")
    assert str(caught.value) == said


YAML_PIECES = st.sampled_from(
    [b"net:", b"  bindIp: 1", b"  # bindIp: 2", b"  port: 5", b"other: x", b"# \xff c", b"", b"  tls:", b"    mode: a", b"text: |",
     b"  line", b"# hafailover set bindIp:", b"# hafailover added net:", b"# hafailover replaced: net:", b"...", b"---", b"k: &a v"]
)  # fmt: skip
YAML_VALUES = st.dictionaries(
    st.sampled_from(["net.bindIp", "net.tls.mode", "replication.replSetName", "other", "text"]),
    st.text("ab: #'\"é,0", max_size=6) | st.booleans() | st.integers(0, 70000),
    max_size=4,
)


@settings(deadline=None)
@given(files(YAML_PIECES).map(lambda content: content.partition(b"\n")[2]), YAML_VALUES, YAML_VALUES)
def test_any_yaml_file(content, values, others):
    once = settled(yaml_set, content, values)
    if once is None:
        return
    clean = yaml_set(content, {})
    assert yaml_set(once, {}).rstrip(b"\r\n") == clean.rstrip(b"\r\n")
    read = yaml.safe_load(once.decode("utf-8", "replace")) or {}
    for path, value in values.items():
        data = read
        for part in path.split("."):
            data = data[part]
        assert data == value


# /etc/hosts
NODES = {"db1": ["10.0.0.1", "10.0.1.1"], "db2": ["10.0.0.2", "10.0.1.2"]}
HOSTS_BLOCK = b"# BEGIN hafailover\n# Nodes of the cluster, written by hafailover.\n10.0.0.1\tdb1\n10.0.0.2\tdb2\n# END hafailover\n"


def test_a_name_that_leads_to_the_node_itself_is_taken_out_of_its_line():
    debian = (
        b"127.0.0.1\tlocalhost\n127.0.1.1\tdb1.example.com\tdb1 # installer\n10.0.1.2 db2\nfd00::2 db2\n192.0.2.9 db2\n"
    )
    new = hosts_set(debian, NODES)
    assert new == (
        b"127.0.0.1\tlocalhost\n"
        b"# hafailover replaced: 127.0.1.1\tdb1.example.com\tdb1 # installer\n# hafailover set 127.0.1.1:\n127.0.1.1 db1.example.com\n"
        b"10.0.1.2 db2\nfd00::2 db2\n# hafailover replaced: 192.0.2.9 db2\n" + HOSTS_BLOCK
    )
    assert hosts_set(new, NODES) == new
    assert hosts_set(new, {}).startswith(debian)


def test_the_block_has_one_place():
    assert hosts_set(b"", NODES) == HOSTS_BLOCK
    old = b"a\n# BEGIN hafailover\n10.9.9.9 db1\n# END hafailover\nb"
    assert hosts_set(old, NODES) == b"a\n" + HOSTS_BLOCK + b"b"
    assert block(b"x\r\ny", "two", ["l"]) == b"x\r\ny\r\n# BEGIN hafailover two\r\nl\r\n# END hafailover two\r\n"
    assert block(b"a\n# BEGIN hafailover\nl\n# END hafailover\n", "", []) == b"a\n"
    assert block(b"a", "", []) == b"a"


@pytest.mark.parametrize(
    "content",
    [
        b"a\n# BEGIN hafailover\n1.2.3.4 x\n",
        b"a\n# END hafailover\n",
        b"a\n# END hafailover\n# BEGIN hafailover\n",
        HOSTS_BLOCK * 2,
    ],
)
def test_half_a_block_is_not_guessed_at(content):
    with pytest.raises(
        UsageError, match=r'/etc/hosts:[12]: the lines "# BEGIN hafailover" and "# END hafailover" must stand'
    ):
        hosts_set(content, NODES)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([b"127.0.1.1 db1", b"# x", b"10.0.0.9\tdb2 alias \xff", b"", b"::1 localhost db1"]), max_size=6
    )
)
def test_any_hosts_file(lines):
    content = b"\n".join(lines)
    once = hosts_set(content, NODES)
    assert hosts_set(once, NODES) == once
    # And back, but for our block, which never has no lines while there is a cluster.
    assert hosts_set(once, {}).partition(b"# BEGIN hafailover")[0].rstrip(b"\n") == content.rstrip(b"\n")


# Showing differences
@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password = hunter2", f"password = {HIDDEN}"),
        ("# hafailover replaced: password: hunter2", f"# hafailover replaced: password: {HIDDEN}"),
        ("url = amqp://guest:guest@127.0.0.1:5672//", f"url = amqp://guest:{HIDDEN}@127.0.0.1:5672//"),
        ("u = amqp://a:b@h1:1/,amqp://a:p/@w@h2/", f"u = amqp://a:{HIDDEN}@h1:1/,amqp://a:{HIDDEN}@h2/"),
        ('kwargs = {"bind_password": "x"}', f'kwargs = {{"bind_password": {HIDDEN}'),
        ("url = redis://:geheim@r1:6379", f"url = redis://:{HIDDEN}@r1:6379"),
        ("host = mongodb://m1,m2/?replicaSet=rs0", "host = mongodb://m1,m2/?replicaSet=rs0"),
        ("mask_secrets = True", "mask_secrets = True"),
        ("token_ttl = 86400", "token_ttl = 86400"),
        ("password =", "password ="),
    ],
)
def test_a_secret_is_not_shown(line, shown):
    assert masked(line) == shown


def test_a_secret_that_changes_is_a_difference():
    lines = difference(b"[a]\npassword = one\nb = 1\n", b"[a]\npassword = two\nb = 1\n", "/etc/x", True)
    assert lines[3:] == [" [a]", f"-password = {HIDDEN}", f"+password = {HIDDEN}", " b = 1"]
    assert difference(b"", b"x\n", "/etc/x", False)[:2] == ["--- /dev/null", "+++ /etc/x"]
