"""The service type memcached: its files, its edits of the distribution's file, and that nothing fails over because of it."""

from __future__ import annotations

import pytest
from hafailover.crm import generate, render
from hafailover.crm.edits import flags, flags_set
from hafailover.crm.errors import UsageError
from hafailover.crm.services import memcached
from hypothesis import given
from hypothesis import strategies as st
from topologies import BASE, changed, parse

CACHE = changed(("services:\n", "services:\n  cache: {type: memcached}\n"))
DEBIAN = b"""\
# memcached default config file
-d
logfile /var/log/memcached.log
# -v
-m 64
-p 11211
-u memcache

# Specify which IP address to listen on.
-l 127.0.0.1

# -c 1024
-P /var/run/memcached/memcached.pid
"""


def topology(options=""):
    return parse(changed(("{type: memcached}", f"{{type: memcached{options}}}"), text=CACHE))


def edited(old=DEBIAN, options="", node="db1"):
    (edit,) = (edit for edit in render.edits(topology(options), node) if edit.path == memcached.PATH)
    return edit.edit(old)


def active(content):
    return [line for line in content.decode().splitlines() if line.startswith("-")]


def test_the_distributions_file_is_changed_where_it_must_be():
    assert (
        edited().decode()
        == """\
# memcached default config file
-d
logfile /var/log/memcached.log
# -v
-m 64
-p 11211
-u memcache

# Specify which IP address to listen on.
# hafailover replaced: -l 127.0.0.1
# hafailover set -l:
-l 10.77.0.11,127.0.0.1

# -c 1024
-P /var/run/memcached/memcached.pid
# hafailover set -U:
-U 0
# hafailover set -c:
-c 4224
"""
    )


def test_every_node_listens_on_its_own_address():
    assert "-l 10.77.0.12,127.0.0.1" in active(edited(node="db2"))


def test_everywhere_means_no_address_because_several_would_add_up():
    everywhere = edited(options=", listen: all")
    assert not [line for line in active(everywhere) if line.startswith("-l")]
    assert b"# hafailover replaced: -l 127.0.0.1" in everywhere


def test_an_edit_repeats_and_is_taken_back():
    once = edited(options=", memory: 512")
    assert edited(once, ", memory: 512") == once
    assert "-m 512" in active(once)
    assert edited(once) == edited()
    assert memcached.undo(once) == DEBIAN
    undone = parse(BASE)
    (undo,) = (edit for edit in render.edits(undone, "db1") if edit.path == memcached.PATH)
    assert undo.undo and undo.edit(once) == DEBIAN
    assert undo.edit(b"-l 127.0.0.1\n") == b"-l 127.0.0.1\n"


def test_spellings_that_mean_the_same_are_found():
    old = b"--listen=127.0.0.1\n--port 11311\n-c1024\n-l ::1\n-s /run/m.sock\n-v\n"
    assert active(edited(old)) == ["-l 10.77.0.11,127.0.0.1", "-p 11211", "-c 4224", "-v", "-U 0", "-m 64"]
    assert memcached.undo(edited(old)) == old


def test_a_file_without_an_end_of_line_or_no_file():
    assert edited(b"-v").startswith(b"-v\n# hafailover set -l:\n")
    assert active(edited(b""))[0] == "-l 10.77.0.11,127.0.0.1"


LINE = st.sampled_from(
    [
        "-l 127.0.0.1",
        "-l ::1",
        "--listen=10.0.0.1",
        "-p 11211",
        "--port 1",
        "-c 4224",
        "-U 0",
        "-m64",
        "-v",
        "# -c 1024",
        "",
        "  -p  5 # why",
    ]
)


@given(st.lists(LINE, max_size=12))
def test_any_file_of_options_is_edited_repeatably_and_comes_back(lines):
    old = "".join(f"{line}\n" for line in lines).encode()
    once = edited(old)
    assert edited(once) == once
    assert memcached.undo(once) == old
    for flag, value in (("-p", "11211"), ("-U", "0"), ("-c", "4224"), ("-m", "64"), ("-l", "10.77.0.11,127.0.0.1")):
        assert [flags._flag(line.encode(), memcached._LONG)[1] for line in active_of(once, flag)] == [value]


def active_of(content, flag):
    return [line for line in content.decode().splitlines() if flags._flag(line.encode(), memcached._LONG)[0] == flag]


def test_what_is_no_text_is_refused():
    with pytest.raises(UsageError, match="not a text file"):
        flags_set(b"\x00", {"-p": "1"}, {}, "x")


def test_an_ipv6_link_stands_in_brackets():
    text = CACHE
    for old, new in (("10.77.0.11", "fd00::11"), ("10.77.0.12", "fd00::12"), ("10.77.0.100/24", "fd00::100/64")):
        text = changed((old, new), text=text)
    (edit,) = (edit for edit in render.edits(parse(text), "db1") if edit.path == memcached.PATH)
    assert "-l [fd00::11],127.0.0.1" in active(edit.edit(DEBIAN))


def test_systemd_allows_as_many_files_as_connections_need():
    found = memcached.SERVICE_TYPE.files(
        topology(", connections: 65535").services["cache"], topology(), "db1", lambda reference: b""
    )
    assert [(file.path, file.mode) for file in found] == [(memcached.DROP_IN, 0o644)]
    assert found[0].content.decode().endswith("[Service]\nLimitNOFILE=65663\n")
    assert "-c 65663" in active(edited(options=", connections: 65535"))


def test_further_options_take_their_place():
    assert {"-I 4m", "-t 8"} <= set(active(edited(b"-I 1m\n", ", options: ['-I 4m', '-t=8']")))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (", options: ['-U 11211']", "UDP stays off"),
        (", options: ['--listen=0.0.0.0']", "write listen beside options"),
        (", options: ['-c1024']", "write connections beside options"),
        (", options: ['-I 4m; reboot']", "an option such as"),
        (", options: ['verbose']", "an option such as"),
        (", patience: 60s", "between 500ms and 10s"),
        (", connections: 3", "from 16 to"),
        (", clients: [everybody]", "an address, or a network such as"),
        (", clients: [192.0.2.1/24]", "an address, or a network such as"),
        (", port: 3306", "3306 is used by service"),
        ("}\n  other: {type: memcached, port: 11311", "the unit memcached.service is used by service cache"),
    ],
)
def test_what_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        topology(options)


def test_no_failure_of_a_cache_moves_or_fences_anything():
    configuration = generate.configuration(topology())
    (cache,) = (found for found in configuration.primitives() if found.id == "cache")
    on_fail = {op.name: dict(op.attributes).get("on-fail") for op in cache.operations}
    assert on_fail == {"start": None, "stop": "ignore", "monitor": None}
    assert not [one for one in configuration.constraints if "cache" in one.id]
