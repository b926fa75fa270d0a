"""Files that are no topology, on purpose or by accident: a sentence with the place, in bounded time and memory, never a traceback."""

import os
import re
import threading
import time

import pytest
from hafailover.crm import bounded_file, topology, yamldoc
from hafailover.crm.errors import UsageError
from hypothesis import given, settings
from hypothesis import strategies as st
from topologies import BASE

HEAD = "version: 1\nlab: true\ncluster: {name: c}\nnodes:\n  a: {id: 1, links: [192.0.2.1]}\n"
LIMIT = 10.0  # s of processor time; each takes less than 2 on a slow machine, and what is not bounded takes hours
LONGEST = 20_000  # characters of an error

HOSTILE = {
    "a list of nothing but openings": "[" * 1_000_000,
    "mappings in mappings": "{a: " * 250_000,
    "lists in lists": "- " * 500_000,
    "blocks in blocks": "".join(f"{' ' * depth}a:\n" for depth in range(1000)),
    "keys that are keys": "? " * 500_000,
    "aliases of aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)),
    "an alias to itself": "a: &a {b: *a}",
    "an alias to a long text, many times": f"x: &a {'b' * 500_000}\nnodes: [{'*a, ' * 50_000}]\n",
    "a long text": f"{HEAD}x: {'a' * 1_000_000}\n",
    "a long key": f"{HEAD}? {'a' * 1_000_000}\n: 1\n",
    "a long name": f"version: 1\ncluster: {{name: '{'a-' * 500_000}'}}\nnodes: {{}}\n",
    "a long number": f"version: 1\ncluster: {{name: c}}\nnodes: {{a: {{id: {'9' * 900_000}, links: [1]}}}}\n",
    "a URL of URLs": f"{HEAD}external: {{mongodb: {{uri: '{'://' * 300_000}'}}}}\n",
    "different things, each twice": f"version: 1\nnodes: {{a: {{id: 1, links: [{'{}, 1, ' * 8_000}]}}}}\n",
    "unknown keys": HEAD + "".join(f"k{number}: 1\n" for number in range(5_000)),
    "keys given twice": HEAD + "a: 1\n" * 5_000,
    "unknown services": HEAD + "services: {db: {type: mariadb, after: [" + ", ".join(f"s{n}" for n in range(4_000)) + "]}}\n",
    "names of secrets": f"{HEAD}x: {{{'password: a, ' * 5_000}\n",
    "tags": "!a " * 300_000,
    "directives": "%FOO x\n" * 100_000,
    "documents": "---\n" * 200_000,
    "a tag of Python": f"{HEAD}x: !!python/object/apply:os.system [touch /tmp/x]\n",
    "merge keys": f"{HEAD}x: {{<<: {{a: 1}}}}\n",
    "tabs": f"{HEAD}\t- x\n",
    "a vertical tab": f"{HEAD}x: '\x0b'\n",
    "escapes without end": 'x: "' + "\\" * 999_999,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_soon_and_shortly(name):
    before = time.process_time()
    with pytest.raises(UsageError) as caught:
        topology.parse(yamldoc.parse(HOSTILE[name], "t.yml"))
    assert time.process_time() - before < LIMIT
    said = str(caught.value)
    assert re.match(r"t\.yml(:\d+){0,2}: ", said)
    assert len(said) < LONGEST


FILES = {
    "UTF-16": (BASE.encode("utf-16"), ":1: is UTF-16 text; save it as UTF-8"),
    "UTF-16 without a mark": (BASE.encode("utf-16-le"), ":1:2: holds a character that no YAML file may hold (U+0000); is it UTF-16?"),
    "UTF-32": (BASE.encode("utf-32"), ":1: is UTF-16 text; save it as UTF-8"),
    "Latin-1": (BASE.replace("c1", "c\xe9").encode("latin-1"), ":3: is not UTF-8 text (byte 0xe9); save it as UTF-8"),
    "a NUL": (BASE.replace("c1", "c\x001").encode(), ":3:18: holds a character that no YAML file may hold (U+0000)"),
    "a program": (b"\x7fELF\x02\x01\x01" + bytes(range(256)), ":"),
    "10 MB": (b"a: 1\n" * 2_000_000, ": is larger than 1024 KiB, which no such file needs"),
    "nothing": (b"", ": is empty; a topology begins with: version: 1"),
    "a mark and nothing": (b"\xef\xbb\xbf", ": is empty; a topology begins with: version: 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_another_form(name, tmp_path):
    content, said = FILES[name]
    file = tmp_path / "t.yml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        topology.load(file)
    assert str(caught.value).startswith(f"{file}{said}")


def test_line_ends_of_other_systems_are_taken(tmp_path):
    file = tmp_path / "t.yml"
    for end in ("\r\n", "\r"):
        file.write_bytes(BASE.replace("\n", end).encode("utf-8-sig"))
        assert topology.load(file).name == "c1"


def refused(path):
    with pytest.raises(UsageError) as caught:
        topology.load(path)
    return str(caught.value)


def test_what_is_no_file(tmp_path, monkeypatch):
    assert refused(tmp_path) == f"{tmp_path}: is a directory; name the file in it"
    assert refused("/dev/zero") == "/dev/zero: is a device, not a file"
    assert "is no name of a file" in refused("a\x00b")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be read: Too many levels of symbolic links" in refused(loop)
    assert "cannot be read: File name too long" in refused("a" * 300)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(bounded_file, "PIPE_PATIENCE", 0.2)
    assert refused(pipe) == f"{pipe}: is a pipe into which nothing is written"
    keeper = os.open(pipe, os.O_RDWR)
    try:
        os.write(keeper, b"version: 1")
        assert refused(pipe) == f"{pipe}: is a pipe that does not end within 0.2 s"
    finally:
        os.close(keeper)


def test_a_file_of_others_cannot_be_read(tmp_path, monkeypatch):
    def deny(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(bounded_file.os, "open", deny)
    assert refused("t.yml") == "t.yml: cannot be read: Permission denied"


def test_a_pipe_may_be_slow(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keeper = os.open(pipe, os.O_RDWR)

    def write():
        for part in (BASE[:50], BASE[50:]):
            time.sleep(0.1)
            os.write(keeper, part.encode())
        time.sleep(0.1)
        os.close(keeper)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert topology.load(pipe).name == "c1"
    finally:
        writer.join()


# Pieces that mean something to a YAML parser, in any order: what a person, or a bad merge, may leave in a file.
_PIECES = st.sampled_from(
    (
        *("nodes:", "services:", "vips:", "fencing:", "cluster:", "version: 1"),
        *("db:", "password:", "sbd:", "type: mariadb", "on:"),
        *("\n", "\n  ", "\n    ", "\n\t", "- ", "? ", ": ", ", ", "[", "]", "{", "}", "|\n", ">-\n", "'", '"', "#", "&a ", "*a"),
        *("!!python/none ", "!x ", "<<: ", "%YAML 1.1\n", "---\n", "...\n", "\x00", "\ufeff", "\u2028", "\x85", "\r"),
        *("日本", "~", "1", "off"),
        *("192.0.2.1", "file:x", "5s", "a" * 200, "://u:p@h", "\U0001f600", "\ud800"),
    )
)  # fmt: skip


@given(st.lists(_PIECES, max_size=40).map("".join), st.integers(0, len(BASE)))
@settings(max_examples=100, deadline=None)
def test_anything_in_a_topology_is_an_error_for_a_person(piece, where):
    try:
        topology.parse(yamldoc.parse(BASE[:where] + piece + BASE[where:], "t.yml"))
    except UsageError as refused_:
        lines = str(refused_).split("\n")
        assert all(re.match(r"t\.yml(:\d+){0,2}: |and \d+ more| +\d* \| ", line) for line in lines), lines
        assert all(line.isprintable() for line in lines)


@given(st.binary(max_size=120))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_an_error_for_a_person(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.yml"
    file.write_bytes(content)
    with pytest.raises(UsageError):
        topology.load(file)
